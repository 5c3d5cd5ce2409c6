// The arguments of a draw, and the errors that the device found.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <vector>

#include "cuda/tree.h"

namespace metarl::cuda {

SamplingMode mode_argument(pybind11::handle stratified, pybind11::handle mode);
WeightNormalization normalization_argument(pybind11::handle name);

// Raises what the state's error stands for: IndexError, ValueError or BufferEmptyError.
[[noreturn]] void raise_device_error(const TreeState& state, std::int64_t capacity, const char* object);

}  // namespace metarl::cuda
