#include "bindings/replay_options.h"

#include <cmath>

#include "bindings/arrays.h"

namespace metarl {
namespace {

py::object entry(const py::dict& options, const char* name) { return options[name]; }

std::int64_t slots_argument(PyObject* object, const std::vector<Column>& columns) {
  return capacity_argument(object, [&columns] {
    py::object bytes = py::int_(0);
    for (const Column& column : columns) bytes += py::int_(column.bytes);
    return bytes;
  });
}

}  // namespace

double beta_argument(PyObject* object) {
  const double beta = real_number(object, "beta");
  if (!(beta >= 0.0 && std::isfinite(beta))) {
    throw py::value_error("beta is " + text_of(object) + "; must be finite and >= 0");
  }
  return beta;
}

SamplingMode sampling_mode_argument(PyObject* object) {
  if (!PyUnicode_Check(object)) throw py::type_error("mode must be a str, got " + type_name(object));
  constexpr std::pair<const char*, SamplingMode> kModes[] = {
      {"stratified", SamplingMode::stratified},
      {"iid", SamplingMode::independent},
      {"uniform", SamplingMode::uniform},
      {"without_replacement", SamplingMode::without_replacement}};
  for (const auto& [name, mode] : kModes) {
    if (PyUnicode_CompareWithASCIIString(object, name) == 0) return mode;
  }
  throw py::value_error("mode is " + text_of(object) +
                        "; must be 'stratified', 'iid', 'uniform' or 'without_replacement'");
}

ReplayOptions parse_replay_options(const py::dict& options, const std::vector<Column>& columns) {
  ReplayOptions parsed;
  parsed.capacity = slots_argument(entry(options, "capacity").ptr(), columns);
  parsed.fields = field_specs(columns);
  parsed.seed = seed_argument(entry(options, "seed").ptr());
  return parsed;
}

PrioritizedOptions parse_prioritized_options(const py::dict& options) {
  PrioritizedOptions parsed;
  const py::object alpha = entry(options, "alpha");
  const py::object eps = entry(options, "eps");
  const py::object max_priority = entry(options, "max_priority");
  parsed.alpha = real_number(alpha.ptr(), "alpha");
  if (!(parsed.alpha >= 0.0 && std::isfinite(parsed.alpha))) {
    throw py::value_error("alpha is " + text_of(alpha) + "; must be finite and >= 0");
  }
  const double wide_eps = real_number(eps.ptr(), "eps");
  parsed.eps = static_cast<float>(wide_eps);
  if (!(parsed.eps >= 0.0f && std::isfinite(parsed.eps)) || (parsed.eps == 0.0f && wide_eps != 0.0)) {
    throw py::value_error("eps is " + text_of(eps) + "; must be 0 or a positive number in the range of float32");
  }
  if (!max_priority.is_none()) {
    parsed.max_priority = static_cast<float>(real_number(max_priority.ptr(), "max_priority"));
    if (!(parsed.max_priority > 0.0f && parsed.max_priority >= parsed.eps && std::isfinite(parsed.max_priority))) {
      throw py::value_error("max_priority is " + text_of(max_priority) + "; must be finite, > 0 and >= eps");
    }
  }
  parsed.weight_normalization = weight_normalization(py::cast<std::string>(entry(options, "weight_normalization")));
  return parsed;
}

}  // namespace metarl
