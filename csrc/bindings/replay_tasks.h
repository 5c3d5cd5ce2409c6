// Tasks at the Python boundary: the constructor's task_field and eviction, and the mixtures that sample() is given.
#pragma once

#include <pybind11/pybind11.h>

#include <optional>
#include <vector>

#include "bindings/columns.h"
#include "bindings/replay_object.h"
#include "metarl/replay_options.h"

namespace metarl {

// Raise TypeError or ValueError that names the argument.
TaskOptions parse_task_options(const py::dict& options, const std::vector<Column>& columns);
bool parse_eviction(const py::dict& options, const ReplayOptions& parsed);

// From the arguments `task` and `task_weights` of sample(), each null or None if not given.
std::optional<TaskMix> task_mix_argument(const PyReplay& self, PyObject* task, PyObject* task_weights);

// Adds task_counts, task_masses, clear_task, task_field and eviction to the base class of buffers.
void register_replay_tasks(py::class_<PyReplay>& base);

}  // namespace metarl
