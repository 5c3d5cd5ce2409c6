#include "bindings/replay_tasks.h"

#include <cmath>

#include "bindings/arrays.h"
#include "bindings/interruptible.h"
#include "metarl/task_index.h"

namespace metarl {
namespace {

constexpr int kMaxTask = TaskIndex::kMaxTask;

std::uint16_t task_argument(PyObject* object, const char* name) {
  const std::int64_t task = integer_argument(object, name);
  if (task < 0 || task > kMaxTask) {
    throw py::value_error(std::string(name) + " is " + std::to_string(task) + "; must be in [0, " +
                          std::to_string(kMaxTask) + "]");
  }
  return static_cast<std::uint16_t>(task);
}

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

py::dict task_numbers(const PyReplay& self, const std::function<py::object(const TaskSummary&)>& number) {
  py::dict result;
  for (const TaskSummary& summary : without_gil(true, [&] { return self.core->task_summaries(); })) {
    result[py::int_(summary.task)] = number(summary);
  }
  return result;
}

}  // namespace

TaskOptions parse_task_options(const py::dict& options, const std::vector<Column>& columns) {
  TaskOptions parsed;
  const py::object given = options["task_field"];
  if (given.is_none()) return parsed;
  if (!PyUnicode_Check(given.ptr())) throw py::type_error("task_field must be a str or None, got " + type_name(given));
  for (std::size_t c = 0; c < columns.size(); ++c) {
    const Column& column = columns[c];
    if (!column.name.equal(given)) continue;
    if (column.kind != 'i' && column.kind != 'u') {
      throw py::type_error("field " + text_of(given) + " is " + py::cast<std::string>(py::str(column.dtype)) +
                           "; task_field must name a field of an integer dtype");
    }
    if (!column.shape.empty()) {
      throw py::value_error("field " + text_of(given) + " has shape " +
                            shape_text(column.shape.data(), static_cast<py::ssize_t>(column.shape.size())) +
                            "; task_field must name a field of shape ()");
    }
    parsed.field = static_cast<int>(c);
    parsed.bytes = column.bytes;
    parsed.is_signed = column.kind == 'i';
    return parsed;
  }
  throw py::value_error("task_field is " + text_of(given) + "; must be the name of a field");
}

bool parse_eviction(const py::dict& options, const ReplayOptions& parsed) {
  const py::object given = options["eviction"];
  if (!PyUnicode_Check(given.ptr())) throw py::type_error("eviction must be a str, got " + type_name(given));
  if (PyUnicode_CompareWithASCIIString(given.ptr(), "fifo") == 0) return false;
  if (PyUnicode_CompareWithASCIIString(given.ptr(), "reservoir") != 0) {
    throw py::value_error("eviction is " + text_of(given) + "; must be 'fifo' or 'reservoir'");
  }
  if (Streams::needed(parsed)) {
    throw py::value_error(
        "eviction='reservoir' keeps single transitions: it needs n_step=1, frame_stack=1, next_obs=None, no sequences "
        "and no autoreset_mode='next_step'");
  }
  return true;
}

std::optional<TaskMix> task_mix_argument(const PyReplay& self, PyObject* task, PyObject* task_weights) {
  const bool has_task = task != nullptr && task != Py_None;
  const bool has_weights = task_weights != nullptr && task_weights != Py_None;
  if (!has_task && !has_weights) return std::nullopt;
  if (has_task && has_weights) throw py::value_error("task and task_weights are both given; only one of them may be");
  if (self.core->options().tasks.field < 0) {
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

void register_replay_tasks(py::class_<PyReplay>& base) {
  base.def(
          "task_counts",
          [](Built<PyReplay> self) {
            return task_numbers(*self, [](const TaskSummary& task) { return py::int_(task.count); });
          },
          R"(Return how many transitions of each task can be sampled.

Returns:
    A dict from task to number, tasks ascending; tasks without transitions are not in it. The numbers add up to
    ``len(buffer)``.

Raises:
    ValueError: The buffer was made without ``task_field``.)")
      .def(
          "task_masses",
          [](Built<PyReplay> self) {
            return task_numbers(*self, [](const TaskSummary& task) { return py::float_(task.mass); });
          },
          R"(Return the sum of priority^alpha of each task, in the fixed point in which it is sampled.

Returns:
    A dict from task to sum (float), tasks ascending. A buffer without priorities counts 1 for each transition.

Raises:
    ValueError: The buffer was made without ``task_field``.)")
      .def(
          "clear_task",
          [](Built<PyReplay> self, py::handle task_object) {
            const std::uint16_t task = task_argument(task_object.ptr(), "task");
            const bool large = with_core([&] { return self->core->size(); }) >= kInterruptItems;
            std::int64_t forgotten = 0;
            run_core(large, true,
                     [&](const std::function<void()>& poll) { forgotten = self->core->clear_task(task, poll); });
            return forgotten;
          },
          py::arg("task"),
          R"(Forget the transitions of one task. Their slots are overwritten when their turn comes.

Priority updates of batches that were sampled before skip them, as if they were overwritten. With n-step returns or
sequences, items of the task that were not complete yet become so later, and stay.

Args:
    task: In [0, 65535].

Returns:
    How many transitions were forgotten, 0 for a task without any.

Raises:
    ValueError: The buffer was made without ``task_field``, or ``task`` is out of range.
    KeyboardInterrupt: Ctrl-C during a large call. Some of the transitions are forgotten (also none or all).)")
      .def_property_readonly(
          "task_field",
          [](Built<PyReplay> self) -> py::object {
            const int field = self->core->options().tasks.field;
            if (field < 0) return py::none();
            return self->columns[static_cast<std::size_t>(field)].name;
          },
          "Name of the field that holds the task, or None.")
      .def_property_readonly(
          "eviction", [](Built<PyReplay> self) { return self->core->options().reservoir ? "reservoir" : "fifo"; },
          "Which transition a new one replaces in a full buffer: the oldest (\"fifo\"), or as in a reservoir.");
}

}  // namespace metarl
