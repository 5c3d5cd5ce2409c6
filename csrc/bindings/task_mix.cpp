#include "bindings/task_mix.h"

#include <cmath>
#include <string>

#include "bindings/arrays.h"
#include "metarl/task_index.h"

namespace metarl {
namespace {

constexpr int kMaxTask = TaskIndex::kMaxTask;

void add_weight(TaskMix* mix, std::uint16_t task, double weight) {
  if (!(weight >= 0.0 && std::isfinite(weight))) {
    throw py::value_error("task_weights[" + std::to_string(task) + "] is " + text_of(py::float_(weight)) +
                          "; must be finite and >= 0");
  }
  mix->tasks.push_back(task);
  mix->weights.push_back(weight);
}

void read_mapping(py::handle mapping, TaskMix* mix) {
  const auto items = py::reinterpret_steal<py::object>(PyMapping_Items(mapping.ptr()));
  if (!items) throw py::error_already_set();
  for (const py::handle item : items) {
    const auto pair = py::cast<py::tuple>(item);
    const std::uint16_t task = task_argument(py::object(pair[0]).ptr(), "task_weights key");
    const std::string name = "task_weights[" + std::to_string(task) + "]";
    add_weight(mix, task, real_number(py::object(pair[1]).ptr(), name.c_str()));
  }
}

void read_array(py::handle object, TaskMix* mix) {
  const auto weights = real_argument<double>(object.ptr(), "task_weights");
  if (weights.scalar || weights.size > kMaxTask + 1) {
    throw py::value_error("task_weights has shape " + weights.shape() + "; must be (number of tasks,), at most " +
                          std::to_string(kMaxTask + 1));
  }
  for (std::int64_t task = 0; task < weights.size; ++task) {
    add_weight(mix, static_cast<std::uint16_t>(task), weights.data[task]);
  }
}

}  // namespace

std::uint16_t task_argument(PyObject* object, const char* name) {
  const std::int64_t task = integer_argument(object, name);
  if (task < 0 || task > kMaxTask) {
    throw py::value_error(std::string(name) + " is " + std::to_string(task) + "; must be in [0, " +
                          std::to_string(kMaxTask) + "]");
  }
  return static_cast<std::uint16_t>(task);
}

std::optional<TaskMix> task_mix_argument(bool buffer_has_tasks, PyObject* task, PyObject* task_weights) {
  const bool has_task = task != nullptr && task != Py_None;
  const bool has_weights = task_weights != nullptr && task_weights != Py_None;
  if (!has_task && !has_weights) return std::nullopt;
  if (has_task && has_weights) throw py::value_error("task and task_weights are both given; only one of them may be");
  if (!buffer_has_tasks) {
    throw py::value_error(std::string(has_task ? "task" : "task_weights") +
                          " needs a buffer that was made with task_field");
  }
  TaskMix mix;
  if (has_task) {
    mix.tasks.push_back(task_argument(task, "task"));
    mix.weights.push_back(1.0);
    return mix;
  }
  if (PyUnicode_Check(task_weights)) {
    if (PyUnicode_CompareWithASCIIString(task_weights, "balanced") != 0) {
      throw py::value_error("task_weights is " + text_of(task_weights) +
                            "; must be 'balanced', a mapping of task to weight, or an array");
    }
    mix.balanced = true;
    return mix;
  }
  if (py::hasattr(task_weights, "items")) {
    read_mapping(task_weights, &mix);
  } else {
    read_array(task_weights, &mix);
  }
  for (const double weight : mix.weights) {
    if (weight > 0.0) return mix;
  }
  throw py::value_error("task_weights has no weight above 0; at least one must be");
}

}  // namespace metarl
