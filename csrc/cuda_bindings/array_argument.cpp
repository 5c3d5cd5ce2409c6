#include "cuda_bindings/array_argument.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <string>

#include "bindings/arrays.h"
#include "bindings/built.h"
#include "cuda_bindings/device_array.h"

namespace metarl::cuda {
namespace {

struct Found {
  DeviceView view;
  Shape strides;  // in elements; empty: compact
  bool read_only = false;

  int ndim() const { return static_cast<int>(view.shape.size()); }
  // The first stride that is not a compact array's, or 0. Where an axis has one element, its stride does not matter.
  std::int64_t gap() const {
    std::int64_t compact = 1;
    for (std::size_t axis = strides.size(); axis-- > 0;) {
      if (view.shape[axis] != 1 && strides[axis] != compact && view.size > 0) return strides[axis];
      compact *= view.shape[axis];
    }
    return 0;
  }
};

std::string type_of(py::handle object) { return type_name(object); }

[[noreturn]] void refuse_memory(const std::string& name, py::handle object, int type, int number,
                                const Device& device) {
  const std::string where = type == kHostMemory   ? "host memory"
                            : type == kCudaMemory ? "cuda:" + std::to_string(number)
                                                  : "memory of DLPack's device type " + std::to_string(type);
  throw py::type_error(name + " is a " + type_of(object) + " in " + where + "; must be on " + device.name());
}

template <typename Managed>
Found take(const py::object& capsule, const char* name, const char* used_name) {
  auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule.ptr(), name));
  if (managed == nullptr || PyCapsule_SetName(capsule.ptr(), used_name) != 0) throw py::error_already_set();
  const dlpack::Tensor& tensor = managed->tensor;
  Found found;
  found.view.owner = std::shared_ptr<void>(managed, [](void* held) {
    auto* ours = static_cast<Managed*>(held);
    if (ours->deleter == nullptr) return;
    // The owner may be a Python object.
    const py::gil_scoped_acquire lock;
    ours->deleter(ours);
  });
  found.view.data = static_cast<std::byte*>(tensor.data) + tensor.byte_offset;
  found.view.dtype = tensor.dtype;
  found.view.shape.assign(tensor.shape, tensor.shape + tensor.ndim);
  found.view.size = size_of(found.view.shape);
  if (tensor.strides != nullptr) found.strides.assign(tensor.strides, tensor.strides + tensor.ndim);
  if constexpr (std::is_same_v<Managed, dlpack::ManagedVersioned>)
    found.read_only = (managed->flags & dlpack::kReadOnly) != 0;
  return found;
}

Found from_dlpack(py::handle object, const char* name, const Device& device, const StreamChoice& choice) {
  const py::tuple place(object.attr("__dlpack_device__")());
  const int type = py::cast<int>(py::int_(place[0]));
  const int number = py::cast<int>(py::int_(place[1]));
  if (!device.can_use(type, number)) refuse_memory(name, object, type, number, device);
  // Host memory has no streams. On its own stream torch has nothing to wait for, which it finds out slowly.
  py::object on = py::none();
  if (device.memory_type() != kHostMemory) {
    if (choice.is_torch_current && is_torch_tensor(object)) {
      on = py::int_(-1);
    } else {
      on = py::int_(choice.stream);
    }
  }
  py::object capsule;
  try {
    capsule = object.attr("__dlpack__")(py::arg("stream") = on, py::arg("max_version") = py::make_tuple(1, 0));
  } catch (py::error_already_set& e) {
    // Producers before version 1.0 do not know the argument.
    if (!e.matches(PyExc_TypeError)) throw;
    capsule = object.attr("__dlpack__")(py::arg("stream") = on);
  }
  const char* kind = PyCapsule_GetName(capsule.ptr());
  if (kind != nullptr && std::string_view(kind) == dlpack::kVersionedName) {
    return take<dlpack::ManagedVersioned>(capsule, dlpack::kVersionedName, dlpack::kUsedVersionedName);
  }
  return take<dlpack::Managed>(capsule, dlpack::kName, dlpack::kUsedName);
}

dlpack::DataType dtype_of(const std::string& typestr, const std::string& name) {
  const std::uint8_t code = typestr.size() < 3  ? 255
                            : typestr[1] == 'i' ? dlpack::kInt
                            : typestr[1] == 'u' ? dlpack::kUint
                            : typestr[1] == 'f' ? dlpack::kFloat
                            : typestr[1] == 'b' ? dlpack::kBool
                                                : 255;
  if (code == 255 || (typestr[0] != '<' && typestr[0] != '|') || typestr.size() > 3) {
    throw py::type_error(name + " has typestr '" + typestr +
                         "' in __cuda_array_interface__; must be integers, real numbers or bools");
  }
  return dlpack::DataType{code, static_cast<std::uint8_t>((typestr[2] - '0') * 8), 1};
}

Found from_array_interface(py::handle object, const char* name, Device& device, Stream stream) {
  const py::dict interface = object.attr("__cuda_array_interface__");
  Found found;
  found.view.dtype = dtype_of(py::cast<std::string>(interface["typestr"]), name);
  const py::tuple shape = interface["shape"];
  const py::tuple data = interface["data"];
  found.view.shape = py::cast<Shape>(shape);
  found.view.size = size_of(found.view.shape);
  found.view.data = reinterpret_cast<void*>(py::cast<std::uintptr_t>(data[0]));
  found.read_only = py::cast<bool>(data[1]);
  if (interface.contains("strides") && !interface["strides"].is_none()) {
    const std::int64_t bytes = found.view.dtype.bits / 8;
    for (const std::int64_t stride : py::cast<Shape>(interface["strides"])) {
      found.strides.push_back(stride % bytes == 0 ? stride / bytes : stride);
    }
  }
  if (interface.contains("mask") && !interface["mask"].is_none()) {
    throw py::type_error(std::string(name) + " has a mask; must be an array without one");
  }
  if (interface.contains("stream") && !interface["stream"].is_none()) {
    const auto writer = py::cast<Stream>(interface["stream"]);
    if (writer != stream && !device.is_capturing(stream)) {
      void* event = device.make_event();
      try {
        device.record(event, writer);
        device.wait(event, stream);
      } catch (...) {
        device.release_event(event);
        throw;
      }
      device.release_event(event);
    }
  }
  found.view.owner = std::shared_ptr<void>(py::reinterpret_borrow<py::object>(object).release().ptr(), [](void* held) {
    const py::gil_scoped_acquire lock;
    Py_DECREF(static_cast<PyObject*>(held));
  });
  return found;
}

Found from_own(py::handle object, const char* name, const Device& device, Stream stream) {
  const DeviceArray& array = built<DeviceArray>(object.ptr());
  const Device& place = array.timeline->device();
  if (!device.can_use(place.memory_type(), place.number())) {
    refuse_memory(name, object, place.memory_type(), place.number(), device);
  }
  array.timeline->follow(stream);
  Found found;
  found.view = DeviceView{array.memory, array.memory.get(), array.size(), array.dtype, array.shape};
  return found;
}

Found find(py::handle object, const char* name, Device& device, const StreamChoice& on) {
  if (py::isinstance<DeviceArray>(object)) return from_own(object, name, device, on.stream);
  if (py::hasattr(object, "__dlpack__") && py::hasattr(object, "__dlpack_device__")) {
    return from_dlpack(object, name, device, on);
  }
  if (py::hasattr(object, "__cuda_array_interface__")) return from_array_interface(object, name, device, on.stream);
  throw py::type_error(std::string(name) + " is a " + type_of(object) + "; must be an array on " + device.name() +
                       " with __dlpack__ or __cuda_array_interface__, such as a torch tensor");
}

std::string shape_name(const Shape& shape) {
  std::string text = "(";
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    text += (axis > 0 ? ", " : "") + (shape[axis] < 0 ? std::string("n") : std::to_string(shape[axis]));
  }
  return text + (shape.size() == 1 ? ",)" : ")");
}

template <typename Types>
void check_found(const Found& found, const std::string& name, const Types& dtypes, Access access) {
  if (std::size(dtypes) > 0 && std::find(dtypes.begin(), dtypes.end(), found.view.dtype) == dtypes.end()) {
    std::string wanted;
    for (const dlpack::DataType dtype : dtypes) wanted += (wanted.empty() ? "" : " or ") + dtype_name(dtype);
    throw py::type_error(name + " is of " + dtype_name(found.view.dtype) + "; must be of " + wanted);
  }
  if (const std::int64_t gap = found.gap(); gap != 0) {
    throw py::value_error(name + " has a stride of " + std::to_string(gap) + " elements; must be contiguous");
  }
  if (access == Access::write && found.read_only) throw py::value_error(name + " is read-only");
}

}  // namespace

DeviceView device_argument(py::handle object, const char* name, Device& device, const StreamChoice& on,
                           std::initializer_list<dlpack::DataType> dtypes, Access access) {
  const Found found = find(object, name, device, on);
  if (found.ndim() > 1) {
    throw py::value_error(std::string(name) + " has " + std::to_string(found.ndim()) + " axes; must have one");
  }
  check_found(found, name, dtypes, access);
  return found.view;
}

DeviceView shaped_argument(py::handle object, const char* name, Device& device, const StreamChoice& on,
                           const std::vector<dlpack::DataType>& dtypes, const Shape& shape, Access access) {
  const Found found = find(object, name, device, on);
  if (!std::equal(shape.begin(), shape.end(), found.view.shape.begin(), found.view.shape.end(),
                  [](std::int64_t expected, std::int64_t axis) { return expected == -1 || expected == axis; })) {
    throw py::value_error(std::string(name) + " has shape " + shape_name(found.view.shape) + "; must have shape " +
                          shape_name(shape));
  }
  check_found(found, name, dtypes, access);
  return found.view;
}

DeviceView output_argument(py::handle object, const char* name, Device& device, const StreamChoice& on,
                           dlpack::DataType dtype, std::int64_t size) {
  DeviceView view = device_argument(object, name, device, on, {dtype}, Access::write);
  if (view.size != size) {
    throw py::value_error(std::string(name) + " has shape (" + std::to_string(view.size) + ",); must have shape (" +
                          std::to_string(size) + ",)");
  }
  return view;
}

}  // namespace metarl::cuda
