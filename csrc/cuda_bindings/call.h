// What the bound functions share: a call's stream, arguments and results.
#pragma once

#include <pybind11/pybind11.h>

#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bindings/built.h"
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
        was_given_(!stream.is_none()),
        on_(stream_argument(stream, device_)) {}
  Call(Tree& tree, py::handle stream) : Call(tree.timeline(), tree.pool(), stream) {}

  Stream stream() const { return on_.stream; }
  bool is_capturing() const { return device_.is_capturing(on_.stream); }
  DeviceView input(py::handle object, const char* name, std::initializer_list<dlpack::DataType> dtypes) {
    return held(object, device_argument(object, name, device_, on_, dtypes));
  }
  // Of any number of axes.
  DeviceView block(py::handle object, const std::string& name, dlpack::DataType dtype, Access access = Access::read) {
    return held(object, block_argument(object, name, device_, on_, dtype, access));
  }
  // Of exactly that shape; no dtypes: of any.
  DeviceView shaped(py::handle object, const std::string& name, const std::vector<dlpack::DataType>& dtypes,
                    const std::vector<std::int64_t>& shape, Access access = Access::read) {
    return held(object, shaped_argument(object, name, device_, on_, dtypes, shape, access));
  }
  // Memory for this call alone, which later calls on its stream use again.
  void* scratch(std::size_t bytes, const std::string& purpose) {
    scratch_.push_back(pool_.take(bytes, on_.stream, purpose));
    return scratch_.back().get();
  }
  template <typename T>
  T* output(py::handle object, const char* name, std::int64_t size) {
    const DeviceView view = output_argument(object, name, device_, on_, DataTypeOf<T>::value, size);
    return held(object, view).template as<T>();
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
  // What was given is not freed before the call is done with it. Who records a graph keeps it as long as the graph.
  void done() {
    if (owners_.empty() || device_.is_capturing(on_.stream)) return;
    for (auto& owner : owners_) timeline_->keep(std::move(owner));
  }

 private:
  DeviceView held(py::handle object, DeviceView view) {
    if (!is_used_in_order(object)) owners_.push_back(view.owner);
    return view;
  }
  // Whether the memory, if it is dropped now, is used again by work that comes after this call's on its stream. Of
  // torch that is so on its current stream; of other libraries nobody knows on which stream they work.
  bool is_used_in_order(py::handle object) const {
    if (was_given_) return false;
    if (py::isinstance<DeviceArray>(object)) {
      return built<DeviceArray>(object.ptr()).timeline->last_stream() == on_.stream;
    }
    return on_.is_torch_current && is_torch_tensor(object);
  }

  Device& device_;
  std::shared_ptr<Timeline> timeline_;
  MemoryPool& pool_;
  bool was_given_;  // the stream
  StreamChoice on_;
  std::vector<std::shared_ptr<void>> owners_;
  std::vector<std::shared_ptr<void>> scratch_;
};

}  // namespace metarl::cuda
