#include "cuda_bindings/device_call.h"

#include <stdexcept>

namespace py = pybind11;

namespace metarl::cuda {

py::object DeviceCall::result(const Shape& shape, dlpack::DataType dtype, const char* purpose, void** data) {
  if (is_capturing()) {
    throw std::runtime_error("the stream records a graph, in which no memory can be allocated: pass out=");
  }
  auto array = std::make_unique<DeviceArray>(DeviceArray{timeline_, nullptr, shape, dtype});
  array->memory = pool_.take(array->num_bytes(), on_.stream, purpose);
  *data = array->memory.get();
  return py::cast(std::move(array));
}

}  // namespace metarl::cuda
