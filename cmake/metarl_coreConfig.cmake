# find_package(metarl_core CONFIG): the target metarl_core::headers and the function metarl_add_environment.
# find_package(metarl_core CONFIG COMPONENTS core): also the target metarl::core, the whole core without Python, compiled
# as a static library of the calling project, at every instruction-set level (docs/installing.md).

include(${CMAKE_CURRENT_LIST_DIR}/MetarlIsaLevels.cmake)

if(NOT TARGET metarl_core::headers)
  add_library(metarl_core::headers INTERFACE IMPORTED)
  get_filename_component(_metarl_include "${CMAKE_CURRENT_LIST_DIR}/../include" ABSOLUTE)
  set_target_properties(metarl_core::headers PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${_metarl_include}")
  target_compile_features(metarl_core::headers INTERFACE cxx_std_20)
endif()
set(_METARL_CHECK_LEVELS ${CMAKE_CURRENT_LIST_DIR}/MetarlCheckLevels.cmake)

# metarl_add_environment(<target> file.cpp... [CUDA file.cu...]): a shared library for metarl_core.load_env_library. Every
# file is compiled once per instruction-set level, with METARL_ISA_NS set to its name; one of them holds
# METARL_ENVIRONMENTS(...). Warnings and definitions of your own go to <target>: the levels take them over.
# CUDA: nvcc compiles these files, of which one holds METARL_CUDA_ENVIRONMENTS(...), as PTX unless
# METARL_CUDA_ARCHITECTURES says otherwise; CUDA's runtime is linked in. Where no nvcc works, the library is built without,
# and with METARL_CUDA=ON it is an error.
function(metarl_add_environment target)
  cmake_parse_arguments(PARSE_ARGV 1 environment "" "" "CUDA")
  if("CUDA" IN_LIST environment_KEYWORDS_MISSING_VALUES)
    message(FATAL_ERROR "metarl_add_environment(${target} ...): CUDA must be followed by files for nvcc (file.cu)")
  endif()
  add_library(${target} MODULE)
  set_target_properties(${target} PROPERTIES PREFIX "" LINKER_LANGUAGE CXX)
  target_link_libraries(${target} PRIVATE metarl_core::headers)
  metarl_isa_levels(levels)
  foreach(level IN LISTS levels)
    set(objects ${target}_${level})
    add_library(${objects} OBJECT ${environment_UNPARSED_ARGUMENTS})
    set_target_properties(${objects} PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden
      VISIBILITY_INLINES_HIDDEN ON CXX_EXTENSIONS OFF)
    target_link_libraries(${objects} PRIVATE metarl_core::headers)
    # No contraction: results must be the same at every level. -O3 also in a debug build: the kernels rely on inlining.
    target_compile_options(${objects} PRIVATE -O3 -ffp-contract=off ${METARL_ISA_FLAGS_${level}}
      $<TARGET_PROPERTY:${target},COMPILE_OPTIONS>)
    target_compile_definitions(${objects} PRIVATE METARL_ISA_NS=${level}
      $<TARGET_PROPERTY:${target},COMPILE_DEFINITIONS>)
    target_include_directories(${objects} PRIVATE $<TARGET_PROPERTY:${target},INCLUDE_DIRECTORIES>)
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${objects}>)
    if(CMAKE_NM AND NOT level STREQUAL "baseline")
      add_custom_command(TARGET ${target} PRE_LINK COMMAND ${CMAKE_COMMAND} -DNM=${CMAKE_NM}
        "-DOBJECTS=$<JOIN:$<TARGET_OBJECTS:${objects}>,|>" -P ${_METARL_CHECK_LEVELS} VERBATIM)
    endif()
  endforeach()
  if(environment_CUDA)
    include(${CMAKE_CURRENT_FUNCTION_LIST_DIR}/MetarlNvcc.cmake)
    metarl_find_nvcc()
    if(METARL_NVCC_USABLE)
      _metarl_add_environment_kernels(${target} ${environment_CUDA})
    else()
      message(STATUS "${target}: built without kernels for GPUs (METARL_CUDA=${METARL_CUDA})")
    endif()
  endif()
endfunction()

# Adds to the library what nvcc makes of the files, and the runtime that launches it.
function(_metarl_add_environment_kernels target)
  find_package(Threads REQUIRED)
  metarl_nvcc_options(flags codes lowest)
  # What nvcc makes of pointers to members has parentheses that gcc wonders about.
  list(APPEND flags -Xcompiler=-Wno-parentheses)
  set(folders $<TARGET_PROPERTY:${target},INCLUDE_DIRECTORIES>)
  set(definitions $<TARGET_PROPERTY:${target},COMPILE_DEFINITIONS>)
  foreach(file IN LISTS ARGN)
    get_filename_component(source ${file} ABSOLUTE)
    string(MAKE_C_IDENTIFIER ${file} name)
    set(object ${CMAKE_CURRENT_BINARY_DIR}/${target}_${name}_cuda.o)
    add_custom_command(OUTPUT ${object}
      COMMAND ${CMAKE_CUDA_COMPILER_LAUNCHER} ${METARL_NVCC} ${flags} ${codes} "$<$<BOOL:${folders}>:-I$<JOIN:${folders},;-I>>"
        "$<$<BOOL:${definitions}>:-D$<JOIN:${definitions},;-D>>" -MD -MT ${object} -MF ${object}.d -c ${source} -o ${object}
      DEPENDS ${source} DEPFILE ${object}.d COMMENT "nvcc ${file}" VERBATIM COMMAND_EXPAND_LISTS)
    set_source_files_properties(${object} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
    target_sources(${target} PRIVATE ${object})
  endforeach()
  target_link_libraries(${target} PRIVATE ${METARL_CUDART} Threads::Threads ${CMAKE_DL_LIBS} rt)
  # Another runtime in the process must not stand in for this one.
  target_link_options(${target} PRIVATE LINKER:--exclude-libs,ALL)
endfunction()

foreach(component IN LISTS metarl_core_FIND_COMPONENTS)
  if(NOT component STREQUAL "core")
    set(metarl_core_FOUND FALSE)
    set(metarl_core_NOT_FOUND_MESSAGE "metarl_core has no component '${component}'; there is only 'core'")
    return()
  endif()
endforeach()
if("core" IN_LIST metarl_core_FIND_COMPONENTS)
  include(${CMAKE_CURRENT_LIST_DIR}/MetarlCore.cmake)
endif()
