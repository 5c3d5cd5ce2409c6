#include "cuda_bindings/tree_arguments.h"

#include <cmath>
#include <string>
#include <utility>

#include "bindings/arrays.h"

namespace metarl::cuda {

SamplingMode mode_argument(py::handle stratified, py::handle mode) {
  if (mode.is_none()) return py::cast<bool>(stratified) ? SamplingMode::stratified : SamplingMode::independent;
  if (!PyUnicode_Check(mode.ptr())) throw py::type_error("mode must be a str, got " + type_name(mode));
  constexpr std::pair<const char*, SamplingMode> kModes[] = {
      {"stratified", SamplingMode::stratified}, {"iid", SamplingMode::independent}, {"uniform", SamplingMode::uniform}};
  for (const auto& [name, value] : kModes) {
    if (PyUnicode_CompareWithASCIIString(mode.ptr(), name) == 0) return value;
  }
  throw py::value_error("mode is " + text_of(mode) + "; must be 'stratified', 'iid' or 'uniform' on a GPU");
}

WeightNormalization normalization_argument(py::handle name) {
  if (!PyUnicode_Check(name.ptr())) throw py::type_error("normalization must be a str, got " + type_name(name));
  constexpr std::pair<const char*, WeightNormalization> kNames[] = {{"max", WeightNormalization::max},
                                                                    {"batch_max", WeightNormalization::batch_max},
                                                                    {"sum", WeightNormalization::sum},
                                                                    {"none", WeightNormalization::none}};
  for (const auto& [known, value] : kNames) {
    if (PyUnicode_CompareWithASCIIString(name.ptr(), known) == 0) return value;
  }
  throw py::value_error("normalization is " + text_of(name) + "; must be 'max', 'batch_max', 'sum' or 'none'");
}

void raise_device_error(const TreeState& state, std::int64_t capacity, const char* object) {
  const std::string call = "call number " + std::to_string(state.error_call) + " of this " + object + ": ";
  const std::string at = " at position " + std::to_string(state.error_item);
  const std::string value = text_of(py::float_(state.error_value));
  const bool fits = std::isfinite(state.error_value) && state.error_value >= 0.0;
  if ((state.error & kErrorIndex) != 0 && (state.error_index < 0 || state.error_index >= capacity)) {
    throw py::index_error(call + "index " + std::to_string(state.error_index) + at + " out of range for size " +
                          std::to_string(capacity));
  }
  if ((state.error & kErrorPriority) != 0 && !fits) {
    throw py::value_error(call + "priority " + value + at + "; must be finite and >= 0");
  }
  if ((state.error & kErrorBeta) != 0 && !fits) {
    throw py::value_error(call + "beta is " + value + "; must be finite and >= 0");
  }
  if ((state.error & kErrorPrefix) != 0) throw py::value_error(call + "mass " + value + at + "; must be in [0, total)");
  raise_metarl_error("BufferEmptyError", (call + "cannot sample: no item is valid").c_str());
}

}  // namespace metarl::cuda
