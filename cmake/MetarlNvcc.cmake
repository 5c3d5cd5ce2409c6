# The CUDA compiler, called directly: for the package and, installed, for environments of one's own. CMake's own CUDA
# language is not used: CMake 3.25 does not know nvcc 13 and silently drops C++20.

set(METARL_CUDA "AUTO" CACHE STRING "Kernels for GPUs: AUTO (where an nvcc works), ON (an error where none does) or OFF")
set_property(CACHE METARL_CUDA PROPERTY STRINGS AUTO ON OFF)
if(NOT METARL_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "METARL_CUDA must be AUTO, ON or OFF, got '${METARL_CUDA}'")
endif()
# CMake takes this variable from the environment for languages that it knows only. ccache takes nvcc's objects.
if(NOT DEFINED CMAKE_CUDA_COMPILER_LAUNCHER AND DEFINED ENV{CMAKE_CUDA_COMPILER_LAUNCHER})
  set(CMAKE_CUDA_COMPILER_LAUNCHER "$ENV{CMAKE_CUDA_COMPILER_LAUNCHER}" CACHE STRING "A program before nvcc, such as ccache")
endif()
set(METARL_CUDA_DEFAULT_ARCHITECTURES "75")
set(METARL_CUDA_ARCHITECTURES "${METARL_CUDA_DEFAULT_ARCHITECTURES}" CACHE STRING
  "Compute capabilities to compile for, the last one also as PTX, or 'all'; the default is PTX alone, others take minutes")

# Sets METARL_CUDA_INCLUDE and METARL_CUDART, header folder and static runtime of METARL_NVCC, in the cache.
function(metarl_find_cuda_runtime)
  execute_process(COMMAND ${METARL_NVCC} --dryrun -c nvcc_works.cu WORKING_DIRECTORY ${PROJECT_BINARY_DIR}
    OUTPUT_VARIABLE text ERROR_VARIABLE text)
  string(REGEX MATCH "TOP=([^\n]+)" found "${text}")
  set(top "${CMAKE_MATCH_1}")
  string(REGEX MATCHALL "_TARGET_DIR_=[^\n]+" found "${text}")
  list(GET found -1 found)
  string(REPLACE "_TARGET_DIR_=" "" target "${found}")
  find_path(METARL_CUDA_INCLUDE cuda_runtime_api.h PATHS ${top}/${target}/include ${top}/include NO_DEFAULT_PATH)
  find_library(METARL_CUDART cudart_static PATHS ${top}/${target}/lib ${top}/lib64 ${top}/lib NO_DEFAULT_PATH)
  mark_as_advanced(METARL_CUDA_INCLUDE METARL_CUDART)
endfunction()

# metarl_find_nvcc(): sets METARL_NVCC, METARL_NVCC_VERSION and METARL_NVCC_USABLE. With METARL_CUDA=ON an nvcc that
# cannot be used is an error, with AUTO it is as if there were none.
function(metarl_find_nvcc)
  set(usable FALSE)
  set(why "")
  if(NOT METARL_CUDA STREQUAL "OFF")
    find_program(METARL_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin)
    if(NOT METARL_NVCC)
      set(why "no nvcc was found; put it on PATH or set CUDA_HOME")
    else()
      execute_process(COMMAND ${METARL_NVCC} --version OUTPUT_VARIABLE text ERROR_QUIET)
      string(REGEX MATCH "release ([0-9]+\\.[0-9]+)" found "${text}")
      set(version "${CMAKE_MATCH_1}")
      if(NOT found OR version VERSION_LESS 12.0)
        set(why "${METARL_NVCC} has version '${version}'; 12.0 or newer is needed")
      else()
        # Also a host compiler that this nvcc does not take shows here.
        if(NOT "${METARL_NVCC_TRIED}" STREQUAL "${METARL_NVCC} ${version}")
          file(WRITE ${PROJECT_BINARY_DIR}/nvcc_works.cu "#include <cstdint>\n__global__ void nothing() {}\n")
          execute_process(COMMAND ${METARL_NVCC} -std=c++20 -ptx nvcc_works.cu -o nvcc_works.ptx
            WORKING_DIRECTORY ${PROJECT_BINARY_DIR} RESULT_VARIABLE failed OUTPUT_VARIABLE errors ERROR_VARIABLE errors)
          if(NOT failed)
            set(METARL_NVCC_TRIED "${METARL_NVCC} ${version}" CACHE INTERNAL "")
          endif()
        endif()
        metarl_find_cuda_runtime()
        if(NOT "${METARL_NVCC_TRIED}" STREQUAL "${METARL_NVCC} ${version}")
          set(why "${METARL_NVCC} does not compile:\n${errors}")
        elseif(NOT METARL_CUDART OR NOT METARL_CUDA_INCLUDE)
          set(why "${METARL_NVCC} comes without cuda_runtime_api.h or libcudart_static.a")
        else()
          set(usable TRUE)
        endif()
      endif()
    endif()
    if(usable)
      message(STATUS "CUDA: ${METARL_NVCC} ${version}")
    elseif(METARL_CUDA STREQUAL "ON")
      message(FATAL_ERROR "METARL_CUDA=ON: ${why}")
    else()
      message(STATUS "CUDA: not built: ${why}")
    endif()
  endif()
  set(METARL_NVCC_USABLE ${usable} PARENT_SCOPE)
  set(METARL_NVCC_VERSION "${version}" PARENT_SCOPE)
endfunction()

# metarl_nvcc_options(<flags> <codes> <lowest>): sets flags to what every file is compiled with, codes to what an object
# holds (METARL_CUDA_ARCHITECTURES), and lowest to the lowest compute capability. With the default architectures that is PTX
# alone, which the driver makes machine code of when it first loads a kernel, and keeps: most GPUs would have to do so in
# any case, machine code is most of a module and most of nvcc's time.
function(metarl_nvcc_options flags_name codes_name lowest_name)
  set(architectures ${METARL_CUDA_ARCHITECTURES})
  if(architectures STREQUAL "all")
    set(architectures 75 80 86 89 90)
    if(METARL_NVCC_VERSION VERSION_GREATER_EQUAL 12.8)
      list(APPEND architectures 100 120)
    endif()
  endif()
  list(GET architectures 0 lowest)
  list(GET architectures -1 highest)
  set(codes "")
  foreach(architecture IN LISTS architectures)
    if(NOT architecture MATCHES "^[0-9]+[af]?$")
      message(FATAL_ERROR "METARL_CUDA_ARCHITECTURES must be 'all' or a list such as 80;90, got "
        "'${METARL_CUDA_ARCHITECTURES}'")
    endif()
    set(code sm_${architecture})
    if(architecture STREQUAL highest)
      set(code [${code},compute_${architecture}])
    endif()
    list(APPEND codes -gencode arch=compute_${architecture},code=${code})
  endforeach()
  if(METARL_CUDA_ARCHITECTURES STREQUAL METARL_CUDA_DEFAULT_ARCHITECTURES)
    set(codes -gencode arch=compute_${lowest},code=compute_${lowest})
  endif()
  # Kernels are most of the module; the driver unpacks them when they are loaded.
  if(METARL_NVCC_VERSION VERSION_GREATER_EQUAL 12.8)
    list(APPEND codes --compress-mode=size)
  endif()
  # No contraction, neither on the device nor on the host: see MetarlTargets.cmake.
  # What environments share with the CPU uses <bit> and <limits>. 111, 128, 549: a thread has one row, and nvcc finds
  # that loops over more are unreachable.
  set(flags -std=c++20 -O3 -fmad=false --expt-relaxed-constexpr -diag-suppress=111,128,549
    -Xcompiler=-ffp-contract=off,-fPIC,-fvisibility=hidden,-Wall)
  if(METARL_WERROR)
    list(APPEND flags -Werror=all-warnings)
  endif()
  set(${flags_name} ${flags} PARENT_SCOPE)
  set(${codes_name} ${codes} PARENT_SCOPE)
  set(${lowest_name} ${lowest} PARENT_SCOPE)
endfunction()
