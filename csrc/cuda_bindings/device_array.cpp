#include "cuda_bindings/device_array.h"

#include <pybind11/numpy.h>

#include <memory>
#include <string>

#include "bindings/arrays.h"
#include "bindings/built.h"
#include "cuda_bindings/stream_argument.h"

namespace metarl::cuda {
namespace {

using Array = Built<DeviceArray>;

// What an exported array keeps alive, and where its shape lies. No Python object: a consumer may drop it in any thread.
template <typename Managed>
struct Export {
  Managed managed{};
  std::shared_ptr<void> memory;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;
};

template <typename Managed>
Managed* exported(const DeviceArray& array) {
  auto* result = new Export<Managed>();
  result->memory = array.memory;
  result->shape = array.shape;
  result->strides.assign(array.shape.size(), 1);
  for (std::size_t d = array.shape.size(); d-- > 1;) result->strides[d - 1] = result->strides[d] * array.shape[d];
  const Device& device = array.timeline->device();
  result->managed.tensor =
      dlpack::Tensor{array.memory.get(),
                     {device.memory_type(), device.memory_type() == kHostMemory ? 0 : device.number()},
                     static_cast<std::int32_t>(array.shape.size()),
                     array.dtype,
                     result->shape.data(),
                     result->strides.data(),
                     0};
  result->managed.context = result;
  result->managed.deleter = [](Managed* managed) { delete static_cast<Export<Managed>*>(managed->context); };
  return &result->managed;
}

// A capsule that nobody took over frees what it holds.
template <typename Managed>
py::capsule capsule_of(Managed* managed, const char* name) {
  PyObject* capsule = PyCapsule_New(managed, name, [](PyObject* object) {
    const char* own = PyCapsule_GetName(object);
    if (own == nullptr || std::string_view(own).substr(0, 4) == "used") return;
    auto* held = static_cast<Managed*>(PyCapsule_GetPointer(object, own));
    held->deleter(held);
  });
  if (capsule == nullptr) {
    managed->deleter(managed);
    throw py::error_already_set();
  }
  return py::reinterpret_steal<py::capsule>(capsule);
}

py::tuple dlpack_device(Array self) {
  const Device& device = self->timeline->device();
  return py::make_tuple(device.memory_type(), device.memory_type() == kHostMemory ? 0 : device.number());
}

py::capsule to_dlpack(Array self, py::handle stream, py::handle max_version, py::handle dl_device, py::handle copy) {
  if (!dl_device.is_none() && !py::tuple(py::reinterpret_borrow<py::object>(dl_device)).equal(dlpack_device(self))) {
    throw py::buffer_error("dl_device is " + text_of(dl_device) + "; the array is on " +
                           self->timeline->device().name());
  }
  if (!copy.is_none() && py::cast<bool>(copy)) throw py::buffer_error("copy=True is not supported");
  // None is the legacy default stream, -1 asks for no order.
  const bool ordered = stream.is_none() || !py::reinterpret_borrow<py::object>(stream).equal(py::int_(-1));
  if (ordered) self->timeline->follow(stream.is_none() ? kLegacyStream : dlpack_stream(stream));
  if (!max_version.is_none()) {
    const auto version = py::tuple(py::reinterpret_borrow<py::object>(max_version));
    if (py::cast<int>(version[0]) >= 1) {
      auto* managed = exported<dlpack::ManagedVersioned>(*self);
      managed->version = dlpack::Version{1, 0};
      return capsule_of(managed, dlpack::kVersionedName);
    }
  }
  return capsule_of(exported<dlpack::Managed>(*self), dlpack::kName);
}

py::tuple shape_of(Array self) {
  py::tuple shape(self->shape.size());
  for (std::size_t d = 0; d < self->shape.size(); ++d) shape[d] = self->shape[d];
  return shape;
}

py::dict array_interface(Array self) {
  py::dict result;
  result["shape"] = shape_of(self);
  result["typestr"] = py::dtype(dtype_name(self->dtype)).attr("str");
  result["data"] = py::make_tuple(reinterpret_cast<std::uintptr_t>(self->memory.get()), false);
  result["strides"] = py::none();
  result["version"] = 3;
  // Whoever reads the array waits for what this stream has to do.
  result["stream"] = self->timeline->last_stream();
  return result;
}

py::array to_numpy(Array self, py::handle stream) {
  const py::array::ShapeContainer shape(self->shape.begin(), self->shape.end());
  py::array result(py::dtype(dtype_name(self->dtype)), shape);
  Device& device = self->timeline->device();
  const Stream on = stream_argument(stream, device).stream;
  self->timeline->follow(on);
  const std::size_t bytes = self->num_bytes();
  void* to = result.mutable_data();
  const auto memory = self->memory;
  if (bytes > 0) {
    const py::gil_scoped_release released;
    device.read(to, memory.get(), bytes, on);
  }
  return result;
}

// Part `index` along the first axis; it holds the memory of the whole.
std::unique_ptr<DeviceArray> part_of(Array self, std::int64_t index) {
  if (self->shape.empty()) throw py::index_error("an array without axes has no parts");
  const std::int64_t length = self->shape[0];
  const std::int64_t at = index < 0 ? index + length : index;
  if (at < 0 || at >= length) {
    throw py::index_error("index " + std::to_string(index) + " out of range for size " + std::to_string(length));
  }
  auto part = std::make_unique<DeviceArray>(*self);
  part->shape.erase(part->shape.begin());
  part->size = self->size / length;
  auto* const data = static_cast<std::byte*>(self->memory.get()) + part->num_bytes() * static_cast<std::size_t>(at);
  part->memory = std::shared_ptr<void>(self->memory, data);
  return part;
}

}  // namespace

std::string dtype_name(dlpack::DataType dtype) {
  if (dtype == dlpack::DataType{dlpack::kBool, 8, 1}) return "bool";
  const char* kind = dtype.code == dlpack::kInt       ? "int"
                     : dtype.code == dlpack::kUint    ? "uint"
                     : dtype.code == dlpack::kFloat   ? "float"
                     : dtype.code == dlpack::kComplex ? "complex"
                                                      : nullptr;
  if (kind == nullptr || dtype.lanes != 1) return "another dtype";
  return kind + std::to_string(dtype.bits);
}

std::unique_ptr<DeviceArray> new_device_array(const std::shared_ptr<Timeline>& timeline, MemoryPool& pool,
                                              dlpack::DataType dtype, std::vector<std::int64_t> shape, Stream stream,
                                              const std::string& purpose) {
  std::int64_t size = 1;
  for (const std::int64_t extent : shape) size *= extent;
  const std::size_t bytes = static_cast<std::size_t>(size) * dtype.bits / 8;
  return std::make_unique<DeviceArray>(
      DeviceArray{timeline, pool.take(bytes, stream, purpose), size, dtype, std::move(shape)});
}

void register_device_array(py::module_& m) {
  py::class_<DeviceArray>(m, "DeviceArray", py::module_local(),
                          R"(A result in device memory, contiguous. Other libraries use it without a copy:
``torch.from_dlpack(array)``, ``cupy.asarray(array)``.

The memory is used again after the last reference to it, from here or from there, is gone, by later calls on the same
stream. Who uses it on another stream keeps a reference until that work is done.)")
      .def(
          "__dlpack__", &to_dlpack, py::kw_only(), py::arg("stream") = py::none(), py::arg("max_version") = py::none(),
          py::arg("dl_device") = py::none(), py::arg("copy") = py::none(),
          R"(Export the array; ``stream`` (1 legacy default, 2 per-thread, or a ``cudaStream_t``; -1 none) goes on after the
calls that write it. With ``max_version=(1, 0)`` or newer the capsule is a versioned one.)")
      .def("__dlpack_device__", &dlpack_device)
      .def_property_readonly("__cuda_array_interface__", &array_interface)
      .def("numpy", &to_numpy, py::arg("stream") = py::none(), "Copy to a NumPy array; waits for the device.")
      .def("__len__", [](Array self) { return self->shape.at(0); })
      .def("__getitem__", &part_of, py::arg("index"), "Part ``index`` along the first axis, in the same memory.")
      .def_property_readonly("ndim", [](Array self) { return self->shape.size(); })
      .def_property_readonly("size", [](Array self) { return self->size; })
      .def_property_readonly("shape", &shape_of)
      .def_property_readonly("dtype", [](Array self) { return py::dtype(dtype_name(self->dtype)); })
      .def_property_readonly("device", [](Array self) { return self->timeline->device().name(); })
      .def("__repr__", [](Array self) {
        return "DeviceArray(shape=" + text_of(shape_of(self)) + ", dtype=" + dtype_name(self->dtype) + ", device='" +
               self->timeline->device().name() + "')";
      });
}

}  // namespace metarl::cuda
