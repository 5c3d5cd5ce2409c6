// The stream that a call works on.
#pragma once

#include <pybind11/pybind11.h>

#include "cuda/device.h"

namespace metarl::cuda {

// A stream as DLPack's protocol numbers it. Throws ValueError for 0, which the protocol leaves open, and below.
Stream dlpack_stream(pybind11::handle stream);

struct StreamChoice {
  Stream stream;
  bool is_torch_current;  // what torch wrote is in order there
};

// The `stream` argument of a method: an integer as torch's `cuda_stream` has it, so 0 is the legacy default stream,
// too. None: torch's current stream on that device if torch is imported and uses CUDA, else the legacy default stream.
StreamChoice stream_argument(pybind11::handle stream, const Device& device);

// Whether torch is imported and an object is a tensor of it.
bool is_torch_tensor(pybind11::handle object);

// Of a device on which torch has a tensor: whether it is torch's current one, and torch's current stream there.
bool is_torch_device(const Device& device);
Stream torch_stream(const Device& device);

}  // namespace metarl::cuda
