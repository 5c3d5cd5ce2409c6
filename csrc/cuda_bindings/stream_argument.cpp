#include "cuda_bindings/stream_argument.h"

#include "bindings/arrays.h"

namespace metarl::cuda {
namespace {

// torch if somebody has imported it, else null.
PyObject* torch_module() { return PyDict_GetItemString(PyImport_GetModuleDict(), "torch"); }

// Whether torch uses CUDA, and then its current stream. Nothing of torch is imported or started here.
bool find_torch_stream(const Device& device, Stream* stream) {
  static PyObject* get_stream = nullptr;  // once torch has started CUDA
  if (get_stream == nullptr) {
    PyObject* torch = torch_module();
    if (torch == nullptr || !py::hasattr(torch, "cuda")) return false;
    const py::object cuda = py::handle(torch).attr("cuda");
    if (!py::hasattr(cuda, "is_initialized") || !py::cast<bool>(cuda.attr("is_initialized")())) return false;
    get_stream = py::object(cuda.attr("current_stream")).release().ptr();
  }
  const py::object current = py::handle(get_stream)(device.number());
  *stream = py::cast<Stream>(current.attr("cuda_stream"));
  return true;
}

}  // namespace

bool is_torch_device(const Device& device) {
  static PyObject* current_device = nullptr;
  if (current_device == nullptr) {
    PyObject* torch = torch_module();
    if (torch == nullptr) return false;
    current_device = py::object(py::handle(torch).attr("cuda").attr("current_device")).release().ptr();
  }
  return py::cast<int>(py::handle(current_device)()) == device.number();
}

Stream torch_stream(const Device& device) {
  Stream stream = 0;
  return find_torch_stream(device, &stream) && stream != 0 ? stream : kLegacyStream;
}

Stream dlpack_stream(py::handle stream) {
  const std::int64_t value = integer_argument(stream.ptr(), "stream");
  if (value < 1) throw py::value_error("stream is " + std::to_string(value) + "; must be 1, 2 or a cudaStream_t");
  return static_cast<Stream>(value);
}

StreamChoice stream_argument(py::handle stream, const Device& device) {
  if (stream.is_none()) {
    Stream current = 0;
    const bool is_torch = device.memory_type() != kHostMemory && find_torch_stream(device, &current);
    return StreamChoice{current == 0 ? kLegacyStream : current, is_torch};
  }
  const std::int64_t value = integer_argument(stream.ptr(), "stream");
  if (value < 0) {
    throw py::value_error("stream is " + std::to_string(value) +
                          "; must be a stream's number, such as torch's cuda_stream");
  }
  return StreamChoice{value == 0 ? kLegacyStream : static_cast<Stream>(value), false};
}

bool is_torch_tensor(py::handle object) {
  static PyObject* tensor = nullptr;
  if (tensor == nullptr) {
    PyObject* torch = torch_module();
    if (torch == nullptr || !py::hasattr(torch, "Tensor")) return false;
    tensor = py::object(py::handle(torch).attr("Tensor")).release().ptr();
  }
  return PyObject_IsInstance(object.ptr(), tensor) == 1;
}

}  // namespace metarl::cuda
