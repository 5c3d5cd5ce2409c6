// Results in device memory, as Python objects that other libraries read in place.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cuda/memory_pool.h"
#include "cuda/timeline.h"
#include "cuda_bindings/dlpack.h"

namespace metarl::cuda {

template <typename T>
struct DataTypeOf;
template <>
struct DataTypeOf<std::int64_t> {
  static constexpr dlpack::DataType value{dlpack::kInt, 64, 1};
};
template <>
struct DataTypeOf<float> {
  static constexpr dlpack::DataType value{dlpack::kFloat, 32, 1};
};
template <>
struct DataTypeOf<double> {
  static constexpr dlpack::DataType value{dlpack::kFloat, 64, 1};
};

// As NumPy names it: "int64".
std::string dtype_name(dlpack::DataType dtype);

using Shape = std::vector<std::int64_t>;
inline std::int64_t size_of(const Shape& shape) {
  std::int64_t size = 1;
  for (const std::int64_t axis : shape) size *= axis;
  return size;
}

// Contiguous, the last axis varies fastest.
struct DeviceArray {
  std::shared_ptr<Timeline> timeline;  // of the object whose calls write the array
  std::shared_ptr<void> memory;
  Shape shape;
  dlpack::DataType dtype;

  std::int64_t size() const { return size_of(shape); }
  std::size_t num_bytes() const { return static_cast<std::size_t>(size()) * dtype.bits / 8; }
};

void register_device_array(pybind11::module_& m);

}  // namespace metarl::cuda
