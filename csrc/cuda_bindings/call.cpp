#include "cuda_bindings/call.h"

#include <stdexcept>

#include "bindings/arrays.h"
#include "cuda/sample_bodies.h"

namespace metarl::cuda {

int device_number(py::handle device) {
  const std::int64_t number = integer_argument(device.ptr(), "device");
  if (number >= 0 && number <= 1023) return static_cast<int>(number);
  throw py::value_error("device is " + std::to_string(number) + "; must be the number of a device");
}

void check_count(std::int64_t n, const char* name) {
  if (n > kMostItems)
    throw py::value_error(std::string(name) + " has " + std::to_string(n) + " items; must have at most 2**31 - 1");
}

Stream waiting_stream(py::handle stream, Device& device) {
  const Stream on = stream_argument(stream, device).stream;
  if (!device.is_capturing(on)) return on;
  throw std::runtime_error("the stream records a graph, in which nothing can be read back");
}

void Call::read_beta(py::handle beta, double* number, const double** memory) {
  if (PyNumber_Check(beta.ptr()) != 0 && !py::hasattr(beta, "__dlpack__")) {
    *number = real_number(beta.ptr(), "beta");
    if (!is_good_beta(*number)) throw py::value_error("beta is " + text_of(beta) + "; must be finite and >= 0");
    return;
  }
  const DeviceView view = input(beta, "beta", {kFloat64});
  if (view.size != 1) throw py::value_error("beta has " + std::to_string(view.size) + " elements; must have one");
  *memory = view.as<double>();
}

}  // namespace metarl::cuda
