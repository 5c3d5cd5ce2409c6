// What Python hands over of an environment, as metarl_core._core.BatchEnv tells it, and errors that the device found.
#pragma once

#include <pybind11/pybind11.h>

#include "cuda/env.h"
#include "cuda_bindings/device_array.h"

namespace metarl::cuda {

// The dtype that a description names: "float32".
dlpack::DataType dtype_named(const std::string& name);
std::int64_t bytes_of(dlpack::DataType dtype);

EnvDescription env_description(const pybind11::dict& told);
HostArrays host_arrays(const pybind11::dict& arrays);
// uint8 NumPy arrays of one axis.
pybind11::dict numpy_arrays(const HostArrays& arrays);

[[noreturn]] void raise_device_error(const EnvStatus& status, const EnvDescription& description);

}  // namespace metarl::cuda
