# metarl_add_cuda_module(<target> file...): the Python module of the CUDA backend around a device. The files implement
# csrc/cuda/device.h: a GPU in the package's _cuda, the emulator in the tests' _cuda_emulated.
function(metarl_add_cuda_module target)
  find_package(Python COMPONENTS Interpreter Development.Module REQUIRED)
  # Outside of a build of the package nobody says where it is.
  execute_process(COMMAND ${Python_EXECUTABLE} -m pybind11 --cmakedir OUTPUT_VARIABLE folder
    OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  find_package(pybind11 CONFIG REQUIRED HINTS ${folder})
  pybind11_add_module(${target} MODULE NO_EXTRAS
    ${PROJECT_SOURCE_DIR}/csrc/bindings/errors.cpp
    ${PROJECT_SOURCE_DIR}/csrc/bindings/task_mix.cpp
    ${PROJECT_SOURCE_DIR}/csrc/core/streams_stored.cpp
    ${PROJECT_SOURCE_DIR}/csrc/cuda/env.cpp
    ${PROJECT_SOURCE_DIR}/csrc/cuda/open_env_library.cpp
    ${PROJECT_SOURCE_DIR}/csrc/cuda/replay.cpp
    ${PROJECT_SOURCE_DIR}/csrc/cuda/replay_streams.cpp
    ${PROJECT_SOURCE_DIR}/csrc/cuda/replay_tasks.cpp
    ${PROJECT_SOURCE_DIR}/csrc/cuda/tree.cpp
    ${PROJECT_SOURCE_DIR}/csrc/cuda_bindings/array_argument.cpp
    ${PROJECT_SOURCE_DIR}/csrc/cuda_bindings/call.cpp
    ${PROJECT_SOURCE_DIR}/csrc/cuda_bindings/device_array.cpp
    ${PROJECT_SOURCE_DIR}/csrc/cuda_bindings/env_arguments.cpp
    ${PROJECT_SOURCE_DIR}/csrc/cuda_bindings/module.cpp
    ${PROJECT_SOURCE_DIR}/csrc/cuda_bindings/register_env.cpp
    ${PROJECT_SOURCE_DIR}/csrc/cuda_bindings/register_replay.cpp
    ${PROJECT_SOURCE_DIR}/csrc/cuda_bindings/replay_options.cpp
    ${PROJECT_SOURCE_DIR}/csrc/cuda_bindings/replay_state.cpp
    ${PROJECT_SOURCE_DIR}/csrc/cuda_bindings/replay_tasks.cpp
    ${PROJECT_SOURCE_DIR}/csrc/cuda_bindings/register_tree.cpp
    ${PROJECT_SOURCE_DIR}/csrc/cuda_bindings/register_weights.cpp
    ${PROJECT_SOURCE_DIR}/csrc/cuda_bindings/stream_argument.cpp
    ${PROJECT_SOURCE_DIR}/csrc/cuda_bindings/tree_arguments.cpp
    ${ARGN})
  metarl_configure_target(${target})
  target_link_libraries(${target} PRIVATE ${CMAKE_DL_LIBS})
  target_compile_definitions(${target} PRIVATE METARL_CUDA_MODULE=${target})
  target_precompile_headers(${target} PRIVATE <pybind11/pybind11.h> <pybind11/numpy.h> <pybind11/stl.h>)
  if(NOT MSVC)
    # The work is the device's; the bindings' templates are most of the module's host code, and half as large with -Os.
    # NumPy's flags are in two enumerations of pybind11's.
    target_compile_options(${target} PRIVATE -Os -Wno-deprecated-enum-enum-conversion)
  endif()
endfunction()
