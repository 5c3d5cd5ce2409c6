// The mixtures of tasks that sample() is given, as both modules take them.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <optional>

#include "metarl/replay_options.h"

namespace metarl {

namespace py = pybind11;

// Raises ValueError that names the argument.
std::uint16_t task_argument(PyObject* object, const char* name);

// From the arguments `task` and `task_weights` of sample(), each null or None if not given. Raises ValueError.
std::optional<TaskMix> task_mix_argument(bool buffer_has_tasks, PyObject* task, PyObject* task_weights);

}  // namespace metarl
