#include "bindings/replay_tasks.h"

#include "bindings/arrays.h"
#include "bindings/interruptible.h"
#include "bindings/task_mix.h"

namespace metarl {
namespace {

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
