# metarl_add_cuda_module(<target> file...): the Python module of the CUDA backend around a device. The files implement
# csrc/cuda/device.h: a GPU in the package's _cuda, the emulator in the tests' _cuda_emulated.

include_guard(GLOBAL)
find_package(Python COMPONENTS Interpreter Development.Module REQUIRED)
# Outside of a build of the package nobody says where it is.
execute_process(COMMAND ${Python_EXECUTABLE} -m pybind11 --cmakedir OUTPUT_VARIABLE METARL_PYBIND11_DIR
  OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
find_package(pybind11 CONFIG REQUIRED HINTS ${METARL_PYBIND11_DIR})

function(metarl_optimize_for_size target)
  target_compile_options(${target} PRIVATE $<$<NOT:$<BOOL:${MSVC}>>:-Os>)
endfunction()

# What both modules share, compiled once. The work is the device's: templates are most of the host's code, and half as
# large with -Os.
add_library(metarl_cuda_host OBJECT EXCLUDE_FROM_ALL
  ${PROJECT_SOURCE_DIR}/csrc/core/streams_stored.cpp
  ${PROJECT_SOURCE_DIR}/csrc/cuda/env.cpp
  ${PROJECT_SOURCE_DIR}/csrc/cuda/open_env_library.cpp
  ${PROJECT_SOURCE_DIR}/csrc/cuda/replay.cpp
  ${PROJECT_SOURCE_DIR}/csrc/cuda/replay_streams.cpp
  ${PROJECT_SOURCE_DIR}/csrc/cuda/replay_tasks.cpp
  ${PROJECT_SOURCE_DIR}/csrc/cuda/tree.cpp)
metarl_configure_target(metarl_cuda_host)
metarl_optimize_for_size(metarl_cuda_host)

add_library(metarl_cuda_bindings OBJECT EXCLUDE_FROM_ALL
  ${PROJECT_SOURCE_DIR}/csrc/bindings/errors.cpp
  ${PROJECT_SOURCE_DIR}/csrc/bindings/task_mix.cpp
  ${PROJECT_SOURCE_DIR}/csrc/cuda_bindings/array_argument.cpp
  ${PROJECT_SOURCE_DIR}/csrc/cuda_bindings/call.cpp
  ${PROJECT_SOURCE_DIR}/csrc/cuda_bindings/device_array.cpp
  ${PROJECT_SOURCE_DIR}/csrc/cuda_bindings/env_arguments.cpp
  ${PROJECT_SOURCE_DIR}/csrc/cuda_bindings/stream_argument.cpp
  ${PROJECT_SOURCE_DIR}/csrc/cuda_bindings/tree_arguments.cpp
  ${PROJECT_SOURCE_DIR}/csrc/cuda_bindings/register_weights.cpp
  ${PROJECT_SOURCE_DIR}/csrc/cuda_bindings/register_replay.cpp
  ${PROJECT_SOURCE_DIR}/csrc/cuda_bindings/replay_options.cpp
  ${PROJECT_SOURCE_DIR}/csrc/cuda_bindings/replay_state.cpp
  ${PROJECT_SOURCE_DIR}/csrc/cuda_bindings/replay_tasks.cpp
  ${PROJECT_SOURCE_DIR}/csrc/cuda_bindings/register_env.cpp
  ${PROJECT_SOURCE_DIR}/csrc/cuda_bindings/register_tree.cpp)
metarl_configure_target(metarl_cuda_bindings)
metarl_configure_bindings(metarl_cuda_bindings)
metarl_optimize_for_size(metarl_cuda_bindings)
target_link_libraries(metarl_cuda_bindings PRIVATE pybind11::module)
# Each has a class of its own with methods of the same names.
set_source_files_properties(${PROJECT_SOURCE_DIR}/csrc/cuda_bindings/register_env.cpp
  ${PROJECT_SOURCE_DIR}/csrc/cuda_bindings/register_tree.cpp PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)

function(metarl_add_cuda_module target)
  pybind11_add_module(${target} MODULE NO_EXTRAS ${PROJECT_SOURCE_DIR}/csrc/cuda_bindings/module.cpp ${ARGN})
  metarl_configure_target(${target})
  target_link_libraries(${target} PRIVATE metarl_cuda_bindings metarl_cuda_host ${CMAKE_DL_LIBS})
  target_compile_definitions(${target} PRIVATE METARL_CUDA_MODULE=${target})
  metarl_optimize_for_size(${target})
endfunction()
