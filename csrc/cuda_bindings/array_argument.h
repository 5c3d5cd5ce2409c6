// Arrays of other libraries as arguments: device memory that is read, or written, in place.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cuda/device.h"
#include "cuda/timeline.h"
#include "cuda_bindings/dlpack.h"
#include "cuda_bindings/stream_argument.h"

namespace metarl::cuda {

// Holds its memory as long as it lives. Contiguous.
struct DeviceView {
  std::shared_ptr<void> owner;
  void* data = nullptr;
  std::int64_t size = 0;  // of all axes together
  dlpack::DataType dtype{};
  std::vector<std::int64_t> shape = {};

  template <typename T>
  T* as() const {
    return static_cast<T*>(data);
  }
};

enum class Access : std::uint8_t { read, write };

// A DeviceArray, or anything with __dlpack__ or __cuda_array_interface__. The stream goes on after what writes the
// array. Throws TypeError if it is none of these, in other memory than the device's or of another dtype than `dtypes`,
// and ValueError if it has several axes or gaps.
DeviceView device_argument(pybind11::handle object, const char* name, Device& device, const StreamChoice& on,
                           std::initializer_list<dlpack::DataType> dtypes, Access access = Access::read);

// Whether an object says that it lies in memory of the device: such are not copied.
bool is_on_device(pybind11::handle object, const Device& device);

// An array of that dtype with any number of axes. Raises as device_argument.
DeviceView block_argument(pybind11::handle object, const std::string& name, Device& device, const StreamChoice& on,
                          dlpack::DataType dtype, Access access = Access::read);

// An array of exactly that shape and one of the dtypes; no dtypes: of any. Raises as device_argument.
DeviceView shaped_argument(pybind11::handle object, const std::string& name, Device& device, const StreamChoice& on,
                           const std::vector<dlpack::DataType>& dtypes, const std::vector<std::int64_t>& shape,
                           Access access = Access::read);

std::string shape_text(const std::vector<std::int64_t>& shape);

// A result's place: device_argument of that size that may be written.
DeviceView output_argument(pybind11::handle object, const char* name, Device& device, const StreamChoice& on,
                           dlpack::DataType dtype, std::int64_t size);

}  // namespace metarl::cuda
