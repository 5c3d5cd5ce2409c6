// What the bound functions share: a call's stream, arguments and results.
#pragma once

#include <pybind11/pybind11.h>

#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cuda/tree.h"
#include "cuda_bindings/array_argument.h"
#include "cuda_bindings/device_array.h"
#include "cuda_bindings/stream_argument.h"

namespace metarl::cuda {

namespace py = pybind11;

constexpr auto kInt64 = DataTypeOf<std::int64_t>::value;
constexpr auto kUint64 = DataTypeOf<std::uint64_t>::value;
constexpr auto kFloat32 = DataTypeOf<float>::value;
constexpr auto kFloat64 = DataTypeOf<double>::value;
constexpr std::int64_t kMostItems = (std::int64_t{1} << 31) - 1;

// The number of a device. Raises ValueError.
int device_number(py::handle device);

// Raises ValueError if there are too many items for a call.
void check_count(std::int64_t n, const char* name);

// The stream of a call that waits and reads back. Raises RuntimeError if it records a graph.
Stream waiting_stream(py::handle stream, Device& device);

// A call's stream, and what it holds until the device is done with it.
class Call {
 public:
  Call(const std::shared_ptr<Timeline>& timeline, MemoryPool& pool, py::handle stream)
      : device_(timeline->device()),
        timeline_(timeline),
        pool_(pool),
        keeps_(!stream.is_none()),
        on_(stream_argument(stream, device_)) {}
  Call(Tree& tree, py::handle stream) : Call(tree.timeline(), tree.pool(), stream) {}

  Stream stream() const { return on_.stream; }
  bool is_capturing() const { return device_.is_capturing(on_.stream); }
  DeviceView input(py::handle object, const char* name, std::initializer_list<dlpack::DataType> dtypes) {
    return held(device_argument(object, name, device_, on_, dtypes));
  }
  // Of any number of axes.
  DeviceView block(py::handle object, const std::string& name, dlpack::DataType dtype, Access access = Access::read) {
    return held(block_argument(object, name, device_, on_, dtype, access));
  }
  // Of exactly that shape; no dtypes: of any.
  DeviceView shaped(py::handle object, const std::string& name, const std::vector<dlpack::DataType>& dtypes,
                    const std::vector<std::int64_t>& shape, Access access = Access::read) {
    return held(shaped_argument(object, name, device_, on_, dtypes, shape, access));
  }
  // Memory for this call alone, which later calls on its stream use again.
  void* scratch(std::size_t bytes, const std::string& purpose) {
    owners_.push_back(pool_.take(bytes, on_.stream, purpose));
    return owners_.back().get();
  }
  template <typename T>
  T* output(py::handle object, const char* name, std::int64_t size) {
    return held(output_argument(object, name, device_, on_, DataTypeOf<T>::value, size)).template as<T>();
  }
  // A beta in memory is read when the work is done.
  void read_beta(py::handle beta, double* number, const double** memory);
  // A new result. A graph would keep its memory after it went back to the pool.
  py::object result(dlpack::DataType dtype, std::vector<std::int64_t> shape, const std::string& purpose, void** data) {
    if (device_.is_capturing(on_.stream)) {
      throw std::runtime_error("the stream records a graph, in which no memory can be allocated: pass out=");
    }
    auto array = new_device_array(timeline_, pool_, dtype, std::move(shape), on_.stream, purpose);
    *data = array->memory.get();
    return py::cast(std::move(array));
  }
  template <typename T>
  py::object result(std::int64_t size, const char* purpose, T** data) {
    void* memory = nullptr;
    py::object array = result(DataTypeOf<T>::value, {size}, purpose, &memory);
    *data = static_cast<T*>(memory);
    return array;
  }
  // On the stream that the library behind the arguments works on, its memory is used again in order. Elsewhere it must
  // not be freed before the call is done.
  void done() {
    if (!keeps_ || device_.is_capturing(on_.stream)) return;
    for (auto& owner : owners_) timeline_->keep(std::move(owner));
  }

 private:
  DeviceView held(DeviceView view) {
    if (keeps_) owners_.push_back(view.owner);
    return view;
  }

  Device& device_;
  std::shared_ptr<Timeline> timeline_;
  MemoryPool& pool_;
  bool keeps_;
  StreamChoice on_;
  std::vector<std::shared_ptr<void>> owners_;
};

}  // namespace metarl::cuda
