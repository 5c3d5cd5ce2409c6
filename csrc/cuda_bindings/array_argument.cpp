#include "cuda_bindings/array_argument.h"

#include <algorithm>
#include <string>

#include "bindings/arrays.h"
#include "bindings/built.h"
#include "cuda_bindings/device_array.h"

namespace metarl::cuda {
namespace {

struct Found {
  DeviceView view;
  std::int64_t stride = 1;  // of the last axis, in elements
  bool dense = true;
  bool read_only = false;

  // stride_at(d): in elements.
  template <typename F>
  void set_strides(F&& stride_at) {
    std::int64_t expected = 1;
    for (std::size_t d = view.shape.size(); d-- > 0;) {
      const std::int64_t given = stride_at(d);
      if (d + 1 == view.shape.size()) stride = given;
      dense = dense && (view.shape[d] == 1 || given == expected);
      expected *= view.shape[d];
    }
    dense = dense || view.size == 0;
  }
};

std::int64_t product(const std::vector<std::int64_t>& shape) {
  std::int64_t size = 1;
  for (const std::int64_t extent : shape) size *= extent;
  return size;
}

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
  found.view.size = product(found.view.shape);
  if (tensor.strides != nullptr) found.set_strides([&](std::size_t d) { return tensor.strides[d]; });
  if constexpr (std::is_same_v<Managed, dlpack::ManagedVersioned>)
    found.read_only = (managed->flags & dlpack::kReadOnly) != 0;
  return found;
}

// `stream` goes on after what `writer` has to do.
void wait_for(Stream writer, Device& device, Stream stream) {
  if (writer == stream || device.is_capturing(stream)) return;
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

dlpack::DataType dtype_of(const std::string& typestr, const std::string& name) {
  const std::uint8_t code = typestr.size() < 3  ? 255
                            : typestr[1] == 'i' ? dlpack::kInt
                            : typestr[1] == 'u' ? dlpack::kUint
                            : typestr[1] == 'f' ? dlpack::kFloat
                            : typestr[1] == 'b' ? dlpack::kBool
                            : typestr[1] == 'c' ? dlpack::kComplex
                                                : 255;
  if (code == 255 || (typestr[0] != '<' && typestr[0] != '|') || typestr.size() > 4) {
    throw py::type_error(name + " has typestr '" + typestr + "' in __cuda_array_interface__; must be numbers");
  }
  return dlpack::DataType{code, static_cast<std::uint8_t>(std::stoi(typestr.substr(2)) * 8), 1};
}

Found from_array_interface(py::handle object, const char* name, Device& device, Stream stream) {
  const py::dict interface = object.attr("__cuda_array_interface__");
  Found found;
  found.view.dtype = dtype_of(py::cast<std::string>(interface["typestr"]), name);
  const py::tuple shape = interface["shape"];
  const py::tuple data = interface["data"];
  for (const py::handle extent : shape) found.view.shape.push_back(py::cast<std::int64_t>(extent));
  found.view.size = product(found.view.shape);
  found.view.data = reinterpret_cast<void*>(py::cast<std::uintptr_t>(data[0]));
  found.read_only = py::cast<bool>(data[1]);
  // The interface does not say on which device the memory is, and a kernel that reads elsewhere ends the process's use
  // of the device. Arrays without elements have no memory.
  if (found.view.size > 0) {
    const MemoryPlace place = device.place_of(found.view.data);
    if (!device.can_use(place.type, place.number)) refuse_memory(name, object, place.type, place.number, device);
  }
  if (interface.contains("strides") && !interface["strides"].is_none()) {
    const py::tuple strides = interface["strides"];
    const std::int64_t bytes = found.view.dtype.bits / 8;
    found.set_strides([&](std::size_t d) {
      const auto stride = py::cast<std::int64_t>(strides[d]);
      return stride % bytes == 0 ? stride / bytes : 0;
    });
  }
  if (interface.contains("mask") && !interface["mask"].is_none()) {
    throw py::type_error(std::string(name) + " has a mask; must be an array without one");
  }
  if (interface.contains("stream") && !interface["stream"].is_none()) {
    wait_for(py::cast<Stream>(interface["stream"]), device, stream);
  }
  found.view.owner = std::shared_ptr<void>(py::reinterpret_borrow<py::object>(object).release().ptr(), [](void* held) {
    const py::gil_scoped_acquire lock;
    Py_DECREF(static_cast<PyObject*>(held));
  });
  return found;
}

// torch exports by DLPack what is on its current device alone, and by the interface everything.
Found from_torch_elsewhere(py::handle object, const char* name, Device& device, Stream stream) {
  Found found = from_array_interface(object, name, device, stream);
  wait_for(torch_stream(device), device, stream);
  return found;
}

Found from_dlpack(py::handle object, const char* name, Device& device, const StreamChoice& choice) {
  const py::tuple place(object.attr("__dlpack_device__")());
  const int type = py::cast<int>(py::int_(place[0]));
  const int number = py::cast<int>(py::int_(place[1]));
  if (!device.can_use(type, number)) refuse_memory(name, object, type, number, device);
  if (type == kCudaMemory && is_torch_tensor(object) && !is_torch_device(device)) {
    return from_torch_elsewhere(object, name, device, choice.stream);
  }
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

Found from_own(py::handle object, const char* name, const Device& device, Stream stream) {
  const DeviceArray& array = built<DeviceArray>(object.ptr());
  const Device& place = array.timeline->device();
  if (!device.can_use(place.memory_type(), place.number())) {
    refuse_memory(name, object, place.memory_type(), place.number(), device);
  }
  array.timeline->follow(stream);
  Found found;
  found.view = DeviceView{array.memory, array.memory.get(), array.size, array.dtype, array.shape};
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

}  // namespace

DeviceView device_argument(py::handle object, const char* name, Device& device, const StreamChoice& on,
                           std::initializer_list<dlpack::DataType> dtypes, Access access) {
  const Found found = find(object, name, device, on);
  if (found.view.shape.size() > 1) {
    throw py::value_error(std::string(name) + " has " + std::to_string(found.view.shape.size()) +
                          " axes; must have one");
  }
  if (std::find(dtypes.begin(), dtypes.end(), found.view.dtype) == dtypes.end()) {
    std::string wanted;
    for (const dlpack::DataType dtype : dtypes) wanted += (wanted.empty() ? "" : " or ") + dtype_name(dtype);
    throw py::type_error(std::string(name) + " is of " + dtype_name(found.view.dtype) + "; must be of " + wanted);
  }
  if (!found.dense) {
    throw py::value_error(std::string(name) + " has a stride of " + std::to_string(found.stride) +
                          " elements; must be contiguous");
  }
  if (access == Access::write && found.read_only) throw py::value_error(std::string(name) + " is read-only");
  return found.view;
}

bool is_on_device(py::handle object, const Device& device) {
  if (py::isinstance<DeviceArray>(object)) return true;
  if (py::hasattr(object, "__dlpack_device__")) {
    const py::tuple place(object.attr("__dlpack_device__")());
    return device.can_use(py::cast<int>(py::int_(place[0])), py::cast<int>(py::int_(place[1])));
  }
  return py::hasattr(object, "__cuda_array_interface__");
}

DeviceView block_argument(py::handle object, const std::string& name, Device& device, const StreamChoice& on,
                          dlpack::DataType dtype, Access access) {
  const Found found = find(object, name.c_str(), device, on);
  if (found.view.dtype != dtype) {
    throw py::type_error(name + " is of " + dtype_name(found.view.dtype) + "; must be of " + dtype_name(dtype));
  }
  if (!found.dense) throw py::value_error(name + " has gaps or another order of axes; must be contiguous");
  if (access == Access::write && found.read_only) throw py::value_error(name + " is read-only");
  return found.view;
}

DeviceView shaped_argument(py::handle object, const std::string& name, Device& device, const StreamChoice& on,
                           const std::vector<dlpack::DataType>& dtypes, const std::vector<std::int64_t>& shape,
                           Access access) {
  const Found found = find(object, name.c_str(), device, on);
  if (found.view.shape != shape) {
    throw py::value_error(name + " has shape " + shape_text(found.view.shape) + "; must have shape " +
                          shape_text(shape));
  }
  if (!dtypes.empty() && std::find(dtypes.begin(), dtypes.end(), found.view.dtype) == dtypes.end()) {
    std::string wanted;
    for (const dlpack::DataType dtype : dtypes) wanted += (wanted.empty() ? "" : " or ") + dtype_name(dtype);
    throw py::type_error(name + " is of " + dtype_name(found.view.dtype) + "; must be of " + wanted);
  }
  if (!found.dense) throw py::value_error(name + " has gaps or another order of axes; must be contiguous");
  if (access == Access::write && found.read_only) throw py::value_error(name + " is read-only");
  return found.view;
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "(";
  for (std::size_t d = 0; d < shape.size(); ++d) text += (d > 0 ? ", " : "") + std::to_string(shape[d]);
  return text + (shape.size() == 1 ? ",)" : ")");
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
