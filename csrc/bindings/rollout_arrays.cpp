#include "bindings/rollout_arrays.h"

#include <algorithm>
#include <string>
#include <utility>

#include "bindings/step_arrays.h"

namespace py = pybind11;

namespace metarl {
namespace {

// Memory of the arrays seen so far: [begin, end).
using Spans = std::vector<std::pair<const std::byte*, const std::byte*>>;

struct Reader {
  const py::dict& out;
  Spans spans;

  void* array(const char* name, const py::dtype& type, std::int64_t steps, const std::vector<Py_intptr_t>& of_step) {
    PyObject* const found = PyDict_GetItemString(out.ptr(), name);
    if (found == nullptr) throw py::key_error("out: '" + std::string(name) + "' is missing");
    std::vector<Py_intptr_t> dims = {static_cast<Py_intptr_t>(steps)};
    dims.insert(dims.end(), of_step.begin(), of_step.end());
    void* const data = checked_output(found, name, type, static_cast<int>(dims.size()), dims.data());
    const auto* const begin = static_cast<const std::byte*>(data);
    spans.emplace_back(begin, begin + py::reinterpret_borrow<py::array>(found).nbytes());
    return data;
  }
};

}  // namespace

RolloutOutputs checked_rollout_outputs(const py::dict& out, const RolloutLayout& layout) {
  Reader reader{out, {}};
  const std::vector<Py_intptr_t> rows = {layout.obs_dims[0]};
  const std::int64_t steps = layout.steps;
  const py::dtype bools = py::dtype::of<bool>(), numbers = py::dtype::of<double>(), ids = py::dtype::of<std::int64_t>();
  RolloutOutputs found;
  found.obs = reader.array("obs", layout.obs_type, steps + 1, layout.obs_dims);
  found.actions = reader.array("actions", layout.discrete ? ids : py::dtype::of<float>(), steps, layout.action_dims);
  found.reward = static_cast<double*>(reader.array("reward", numbers, steps, rows));
  found.terminated = static_cast<std::uint8_t*>(reader.array("terminated", bools, steps, rows));
  found.truncated = static_cast<std::uint8_t*>(reader.array("truncated", bools, steps, rows));
  found.valid = static_cast<std::uint8_t*>(reader.array("valid", bools, steps, rows));
  if (layout.same_step) found.final_obs = reader.array("final_obs", layout.obs_type, steps, layout.obs_dims);
  if (layout.has_prob) found.prob = static_cast<double*>(reader.array("prob", numbers, steps, rows));
  if (layout.has_end_flag) {
    found.end_flag = static_cast<std::uint8_t*>(reader.array("bad_episode", bools, steps, rows));
  }
  if (layout.has_tasks) found.task_id = static_cast<std::int64_t*>(reader.array("task_id", ids, steps + 1, rows));
  Spans& spans = reader.spans;
  std::sort(spans.begin(), spans.end());
  for (std::size_t k = 1; k < spans.size(); ++k) {
    if (spans[k].first < spans[k - 1].second) throw py::value_error("out: two of its arrays share memory");
  }
  return found;
}

}  // namespace metarl
