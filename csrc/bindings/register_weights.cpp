#include <cmath>

#include "bindings/arrays.h"
#include "bindings/call_arguments.h"
#include "bindings/errors.h"
#include "bindings/interruptible.h"
#include "bindings/output_pool.h"
#include "bindings/register.h"
#include "metarl/importance_weights.h"

namespace metarl {
namespace {

constexpr std::int64_t kReleaseFrom = 512;
// From this many on they take more than some 10 ms, and Ctrl-C must end it.
constexpr std::int64_t kInterruptFrom = 1 << 22;

void check_probability(double p, const std::string& name) {
  if (p > 0.0 && p <= 1.0) return;
  throw py::value_error(name + " is " + text_of(py::float_(p)) + "; must be in (0, 1]");
}

// Never destroyed: arrays may outlive the module.
const std::shared_ptr<OutputPool>& output_pool() {
  static const auto* const pool = new std::shared_ptr<OutputPool>(std::make_shared<OutputPool>());
  return *pool;
}

struct Request {
  std::int64_t size;
  double beta;
  WeightNormalization normalization;
  double min_probability;  // 0 if not given
};

// From probabilities of type T, weights of type W.
template <typename T, typename W>
PyObject* compute(PyObject* object, const Request& request) {
  const auto probabilities = real_argument<T>(object, "probabilities");
  const std::int64_t n = probabilities.size;
  const py::ssize_t shape[1] = {n};
  auto result = py::reinterpret_steal<py::object>(output_pool()->array(py::dtype::of<W>(), probabilities.scalar ? 0 : 1,
                                                                       shape, static_cast<std::size_t>(n) * sizeof(W)));
  auto* out = reinterpret_cast<W*>(py::detail::array_proxy(result.ptr())->data);
  bool fine = false;
  run_core(n >= kInterruptFrom, n >= kReleaseFrom, [&](const std::function<void()>& poll) {
    fine = importance_weights(probabilities.data, n, request.size, request.beta, request.normalization,
                              request.min_probability, out, poll);
  });
  if (!fine) {
    for (std::int64_t i = 0; i < n; ++i) {
      check_probability(static_cast<double>(probabilities.data[i]), "probabilities[" + std::to_string(i) + "]");
    }
    throw py::value_error("probabilities: the weight of one overflows");
  }
  return result.release().ptr();
}

bool wants_single(PyObject* dtype) {
  if (dtype == nullptr) return false;
  const py::dtype wanted = py::dtype::from_args(py::reinterpret_borrow<py::object>(dtype));
  if (wanted.is(py::dtype::of<float>())) return true;
  if (wanted.is(py::dtype::of<double>())) return false;
  throw py::value_error("dtype is " + text_of(wanted) + "; must be float32 or float64");
}

PyObject* weights(PyObject*, PyObject* const* args, Py_ssize_t num_args, PyObject* names) {
  return guarded([&]() -> PyObject* {
    PyObject* given[6];
    unpack("importance_weights", {"probabilities", "size", "beta", "normalization", "min_probability", "dtype"}, 3,
           args, num_args, names, given);
    const bool single = wants_single(given[5]);
    if (!is_array_of<float>(given[0]) && !is_array_of<double>(given[0]))
      real_argument<double>(given[0], "probabilities");
    Request request{};
    request.size = positive_argument(given[1], "size");
    request.beta = real_number(given[2], "beta");
    if (!(request.beta >= 0.0 && std::isfinite(request.beta))) {
      throw py::value_error("beta is " + text_of(given[2]) + "; must be finite and >= 0");
    }
    request.normalization = WeightNormalization::max;
    if (given[3] != nullptr) {
      if (!PyUnicode_Check(given[3])) throw py::type_error("normalization must be a str, got " + type_name(given[3]));
      request.normalization = weight_normalization(py::cast<std::string>(given[3]));
    }
    if (given[4] != nullptr && given[4] != Py_None) {
      request.min_probability = real_number(given[4], "min_probability");
      check_probability(request.min_probability, "min_probability");
    }
    if (!single) return compute<double, double>(given[0], request);
    if (is_array_of<float>(given[0])) return compute<float, float>(given[0], request);
    return compute<double, float>(given[0], request);
  });
}

PyMethodDef kImportanceWeights = {"importance_weights",
                                  reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&weights)),
                                  METH_FASTCALL | METH_KEYWORDS, nullptr};

}  // namespace

void register_weights(py::module_& m) {
  const auto function = py::reinterpret_steal<py::object>(PyCFunction_New(&kImportanceWeights, nullptr));
  if (!function) throw py::error_already_set();
  m.attr("importance_weights") = function;
}

}  // namespace metarl
