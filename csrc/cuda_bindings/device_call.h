// A method call on an object in device memory: its stream, its arrays, and what it holds until the device is done.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <vector>

#include "cuda_bindings/array_argument.h"
#include "cuda_bindings/device_array.h"
#include "cuda_bindings/stream_argument.h"

namespace metarl::cuda {

class DeviceCall {
 public:
  // An owner has device(), timeline() and pool(), and outlives the call.
  template <typename Owner>
  DeviceCall(const Owner& owner, pybind11::handle stream)
      : device_(owner.device()),
        timeline_(owner.timeline()),
        pool_(owner.pool()),
        keeps_(!stream.is_none()),
        on_(stream_argument(stream, owner.device())) {}

  Stream stream() const { return on_.stream; }
  bool is_capturing() const { return device_.is_capturing(on_.stream); }

  DeviceView input(pybind11::handle object, const char* name, std::initializer_list<dlpack::DataType> dtypes) {
    return held(device_argument(object, name, device_, on_, dtypes));
  }
  DeviceView input(pybind11::handle object, const char* name, const std::vector<dlpack::DataType>& dtypes,
                   const Shape& shape) {
    return held(shaped_argument(object, name, device_, on_, dtypes, shape));
  }
  template <typename T>
  T* output(pybind11::handle object, const char* name, std::int64_t size) {
    return held(output_argument(object, name, device_, on_, DataTypeOf<T>::value, size)).template as<T>();
  }
  void* output(pybind11::handle object, const char* name, const std::vector<dlpack::DataType>& dtypes,
               const Shape& shape) {
    return held(shaped_argument(object, name, device_, on_, dtypes, shape, Access::write)).data;
  }
  // A new result. A graph would keep its memory after it went back to the pool.
  template <typename T>
  pybind11::object result(std::int64_t size, const char* purpose, T** data) {
    void* memory = nullptr;
    pybind11::object made = result({size}, DataTypeOf<T>::value, purpose, &memory);
    *data = static_cast<T*>(memory);
    return made;
  }
  pybind11::object result(const Shape& shape, dlpack::DataType dtype, const char* purpose, void** data);

  // On the stream that the library behind the arguments works on, its memory is used again in order. Elsewhere it must
  // not be freed before the call is done.
  void done() {
    if (!keeps_ || is_capturing()) return;
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
