// Importance weights of probabilities on a device.
#include <cmath>
#include <map>
#include <memory>
#include <string>

#include "bindings/arrays.h"
#include "bindings/built.h"
#include "cuda_bindings/call.h"
#include "cuda_bindings/register.h"
#include "cuda_bindings/tree_arguments.h"

namespace metarl::cuda {
namespace {

// What results of a function need, which no object owns.
struct Place {
  std::shared_ptr<Timeline> timeline;
  std::shared_ptr<MemoryPool> pool;
};

// Never destroyed: arrays may outlive the module.
Place& place_on(int number) {
  static auto& places = *new std::map<int, Place>();
  Place& place = places[number];
  if (place.timeline == nullptr) {
    const std::shared_ptr<Device> device = open_device(number);
    place = Place{std::make_shared<Timeline>(device), std::make_shared<MemoryPool>(device)};
  }
  return place;
}

// Where an array lies, as far as it says so: __cuda_array_interface__ does not.
int number_of(py::handle array) {
  if (py::isinstance<DeviceArray>(array)) return built<DeviceArray>(array.ptr()).timeline->device().number();
  if (!py::hasattr(array, "__dlpack_device__")) return 0;
  return py::cast<int>(py::int_(py::tuple(array.attr("__dlpack_device__")())[1]));
}

bool wants_single(py::handle dtype) {
  const py::dtype wanted = py::dtype::from_args(py::reinterpret_borrow<py::object>(dtype));
  if (wanted.equal(py::dtype::of<float>())) return true;
  if (wanted.equal(py::dtype::of<double>())) return false;
  throw py::value_error("dtype is " + text_of(wanted) + "; must be float32 or float64");
}

py::object weights(py::handle probabilities, py::handle size, py::handle beta, py::handle normalization,
                   py::handle min_probability, py::handle dtype, py::handle out, py::handle stream) {
  WeightCall request{};
  const bool single = wants_single(dtype);
  request.size = static_cast<double>(positive_argument(size.ptr(), "size"));
  request.normalization = normalization_argument(normalization);
  if (!min_probability.is_none()) {
    request.min_probability = real_number(min_probability.ptr(), "min_probability");
    if (!(request.min_probability > 0.0 && request.min_probability <= 1.0)) {
      throw py::value_error("min_probability is " + text_of(min_probability) + "; must be in (0, 1]");
    }
  }
  const Place& place = place_on(number_of(probabilities));
  Device& device = place.timeline->device();
  Call call(place.timeline, *place.pool, stream);
  call.read_beta(beta, &request.beta, &request.beta_memory);
  const DeviceView given = call.input(probabilities, "probabilities", {kFloat32, kFloat64});
  request.n = given.size;
  if (given.dtype == kFloat32) {
    request.short_probabilities = given.as<float>();
  } else {
    request.probabilities = given.as<double>();
  }
  py::object result = py::reinterpret_borrow<py::object>(out);
  if (out.is_none()) {
    void* memory = nullptr;
    result = call.result(single ? kFloat32 : kFloat64, {given.size}, "weights", &memory);
    request.short_weights = single ? static_cast<float*>(memory) : nullptr;
    request.weights = single ? nullptr : static_cast<double*>(memory);
  } else if (single) {
    request.short_weights = call.output<float>(out, "out", given.size);
  } else {
    request.weights = call.output<double>(out, "out", given.size);
  }
  if (request.n == 0) return result;
  place.timeline->follow(call.stream());
  device.start(request, call.stream());
  place.timeline->end_call(call.stream());
  call.done();
  return result;
}

}  // namespace

void register_weights(py::module_& m) {
  m.def("importance_weights", &weights, py::arg("probabilities"), py::arg("size"), py::arg("beta"),
        py::arg("normalization") = "max", py::arg("min_probability") = py::none(), py::arg("dtype") = "float64",
        py::kw_only(), py::arg("out") = py::none(), py::arg("stream") = py::none(),
        R"(``metarl_core.importance_weights`` of probabilities on a device, float32 or float64 of shape (B,).

Where a probability is not in (0, 1], or a ``beta`` in memory not finite and >= 0, all weights are NaN: nothing can be raised
without waiting for the device.)");
}

}  // namespace metarl::cuda
