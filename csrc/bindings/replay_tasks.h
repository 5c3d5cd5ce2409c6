// Tasks at the Python boundary: the constructor's task_field and eviction, and what is asked about tasks.
#pragma once

#include <pybind11/pybind11.h>

#include <vector>

#include "bindings/columns.h"
#include "bindings/replay_object.h"
#include "metarl/replay_options.h"

namespace metarl {

// Raise TypeError or ValueError that names the argument.
TaskOptions parse_task_options(const py::dict& options, const std::vector<Column>& columns);
bool parse_eviction(const py::dict& options, const ReplayOptions& parsed);

// Adds task_counts, task_masses, clear_task, task_field and eviction to the base class of buffers.
void register_replay_tasks(py::class_<PyReplay>& base);

}  // namespace metarl
