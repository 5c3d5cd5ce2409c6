# The package's kernels for GPUs, and what is linked with them. Included after MetarlNvcc.cmake.

# metarl_add_cuda_kernels(<target> [PTX_ONLY] file.cu...): compiles every file into an object and, for the tests, into PTX.
# PTX_ONLY: no object. Target properties METARL_CUDA_OBJECTS and METARL_CUDA_PTX hold the paths.
function(metarl_add_cuda_kernels target)
  cmake_parse_arguments(PARSE_ARGV 1 kernels "PTX_ONLY" "" "")
  metarl_nvcc_options(flags codes lowest)
  list(APPEND flags -I${PROJECT_SOURCE_DIR}/csrc/include -I${PROJECT_SOURCE_DIR}/csrc -I${METARL_INSTALLED_NAMES})
  set(objects "")
  set(ptx "")
  foreach(source IN LISTS kernels_UNPARSED_ARGUMENTS)
    get_filename_component(name ${source} NAME_WE)
    set(object ${PROJECT_BINARY_DIR}/cuda/${name}.o)
    set(assembly ${PROJECT_BINARY_DIR}/cuda/${name}.ptx)
    add_custom_command(OUTPUT ${object}
      COMMAND ${CMAKE_CUDA_COMPILER_LAUNCHER} ${METARL_NVCC} ${flags} ${codes} -MD -MT ${object} -MF ${object}.d -c ${PROJECT_SOURCE_DIR}/${source} -o ${object}
      DEPENDS ${PROJECT_SOURCE_DIR}/${source} DEPFILE ${object}.d COMMENT "nvcc ${source}" VERBATIM)
    add_custom_command(OUTPUT ${assembly}
      COMMAND ${METARL_NVCC} ${flags} -arch=compute_${lowest} -MD -MT ${assembly} -MF ${assembly}.d -ptx
        ${PROJECT_SOURCE_DIR}/${source} -o ${assembly}
      DEPENDS ${PROJECT_SOURCE_DIR}/${source} DEPFILE ${assembly}.d COMMENT "nvcc -ptx ${source}" VERBATIM)
    if(NOT kernels_PTX_ONLY)
      list(APPEND objects ${object})
    endif()
    if(METARL_TESTS)
      list(APPEND ptx ${assembly})
    endif()
  endforeach()
  # Apart, as who links the objects needs no PTX.
  add_custom_target(${target} ALL DEPENDS ${objects})
  add_custom_target(${target}_ptx ALL DEPENDS ${ptx})
  set_target_properties(${target} PROPERTIES METARL_CUDA_OBJECTS "${objects}" METARL_CUDA_PTX "${ptx}")
endfunction()

# metarl_link_cuda_runtime(<target> <kernels>...): the objects of metarl_add_cuda_kernels and the static runtime, which looks
# for a driver when it is first used. So the target loads where there is none, and no two runtimes' symbols meet.
function(metarl_link_cuda_runtime target)
  foreach(kernels IN LISTS ARGN)
    get_target_property(objects ${kernels} METARL_CUDA_OBJECTS)
    add_dependencies(${target} ${kernels})
    set_source_files_properties(${objects} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
    target_sources(${target} PRIVATE ${objects})
  endforeach()
  target_include_directories(${target} SYSTEM PRIVATE ${METARL_CUDA_INCLUDE})
  target_link_libraries(${target} PRIVATE ${METARL_CUDART} Threads::Threads ${CMAKE_DL_LIBS} rt)
endfunction()
