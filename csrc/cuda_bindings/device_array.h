// Results in device memory, as Python objects that other libraries read in place.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <string>
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

template <>
struct DataTypeOf<std::uint64_t> {
  static constexpr dlpack::DataType value{dlpack::kUint, 64, 1};
};

// As NumPy names it: "int64".
std::string dtype_name(dlpack::DataType dtype);

// Contiguous.
struct DeviceArray {
  std::shared_ptr<Timeline> timeline;  // of the object whose calls write the array
  std::shared_ptr<void> memory;
  std::int64_t size;  // of all axes together
  dlpack::DataType dtype;
  std::vector<std::int64_t> shape;

  std::size_t num_bytes() const { return static_cast<std::size_t>(size) * dtype.bits / 8; }
};

std::unique_ptr<DeviceArray> new_device_array(const std::shared_ptr<Timeline>& timeline, MemoryPool& pool,
                                              dlpack::DataType dtype, std::vector<std::int64_t> shape, Stream stream,
                                              const std::string& purpose);

void register_device_array(pybind11::module_& m);

}  // namespace metarl::cuda
