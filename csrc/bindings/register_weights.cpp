#include <cmath>

#include "bindings/arrays.h"
#include "bindings/output_pool.h"
#include "bindings/register.h"
#include "metarl/importance_weights.h"

namespace metarl {
namespace {

constexpr std::int64_t kReleaseAbove = 512;

void check_probability(double p, const std::string& name) {
  if (p > 0.0 && p <= 1.0) return;
  throw py::value_error(name + " is " + text_of(py::float_(p)) + "; must be in (0, 1]");
}

// Never destroyed: arrays may outlive the module.
const std::shared_ptr<OutputPool>& output_pool() {
  static const auto* const pool = new std::shared_ptr<OutputPool>(std::make_shared<OutputPool>());
  return *pool;
}

py::array weights(py::handle probabilities_object, py::handle size_object, py::handle beta_object,
                  const std::string& normalization_name, py::object min_probability_object) {
  const auto probabilities = real_argument<double>(probabilities_object.ptr(), "probabilities");
  const std::int64_t size = positive_argument(size_object.ptr(), "size");
  const double beta = real_number(beta_object.ptr(), "beta");
  if (!(beta >= 0.0 && std::isfinite(beta))) {
    throw py::value_error("beta is " + text_of(beta_object) + "; must be finite and >= 0");
  }
  const WeightNormalization normalization = weight_normalization(normalization_name);
  double min_probability = 0.0;
  if (!min_probability_object.is_none()) {
    min_probability = real_number(min_probability_object.ptr(), "min_probability");
    check_probability(min_probability, "min_probability");
  }
  const std::int64_t n = probabilities.size;
  const py::ssize_t shape[1] = {n};
  auto result = py::reinterpret_steal<py::array>(output_pool()->array(
      py::dtype::of<double>(), probabilities.scalar ? 0 : 1, shape, static_cast<std::size_t>(n) * sizeof(double)));
  auto* out = static_cast<double*>(result.mutable_data());
  bool fine = false;
  {
    std::optional<py::gil_scoped_release> release;
    if (n >= kReleaseAbove) release.emplace();
    fine = importance_weights(probabilities.data, n, size, beta, normalization, min_probability, out);
  }
  if (!fine) {
    for (std::int64_t i = 0; i < n; ++i) {
      check_probability(probabilities.data[i], "probabilities[" + std::to_string(i) + "]");
    }
    throw py::value_error("probabilities: the weight of one overflows");
  }
  return result;
}

}  // namespace

void register_weights(py::module_& m) {
  m.def("importance_weights", &weights, py::arg("probabilities"), py::arg("size"), py::arg("beta"),
        py::arg("normalization") = "max", py::arg("min_probability") = py::none());
}

}  // namespace metarl
