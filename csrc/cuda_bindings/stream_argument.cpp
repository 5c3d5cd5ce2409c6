#include "cuda_bindings/stream_argument.h"

#include "bindings/arrays.h"

namespace metarl::cuda {
namespace {

// torch's current stream, or 0: nothing of torch is imported or started here.
Stream current_torch_stream(const Device& device) {
  static PyObject* get_stream = nullptr;  // once torch has started CUDA
  if (get_stream == nullptr) {
    PyObject* modules = PyImport_GetModuleDict();
    PyObject* torch = PyDict_GetItemString(modules, "torch");
    if (torch == nullptr || !py::hasattr(torch, "cuda")) return 0;
    const py::object cuda = py::handle(torch).attr("cuda");
    if (!py::hasattr(cuda, "is_initialized") || !py::cast<bool>(cuda.attr("is_initialized")())) return 0;
    get_stream = py::object(cuda.attr("current_stream")).release().ptr();
  }
  const py::object stream = py::handle(get_stream)(device.number());
  return py::cast<Stream>(stream.attr("cuda_stream"));
}

}  // namespace

Stream dlpack_stream(py::handle stream) {
  const std::int64_t value = integer_argument(stream.ptr(), "stream");
  if (value < 1) throw py::value_error("stream is " + std::to_string(value) + "; must be 1, 2 or a cudaStream_t");
  return static_cast<Stream>(value);
}

Stream stream_argument(py::handle stream, const Device& device) {
  if (stream.is_none()) {
    const Stream current = device.memory_type() == kHostMemory ? 0 : current_torch_stream(device);
    return current == 0 ? kLegacyStream : current;
  }
  const std::int64_t value = integer_argument(stream.ptr(), "stream");
  if (value < 0) {
    throw py::value_error("stream is " + std::to_string(value) +
                          "; must be a stream's number, such as torch's cuda_stream");
  }
  return value == 0 ? kLegacyStream : static_cast<Stream>(value);
}

}  // namespace metarl::cuda
