// The arguments of a replay buffer's constructor and of its methods, checked.
#pragma once

#include <pybind11/pybind11.h>

#include <vector>

#include "bindings/columns.h"
#include "metarl/replay_options.h"

namespace metarl {

// From the dict of all constructor arguments. Raise TypeError or ValueError that names the argument.
ReplayOptions parse_replay_options(const py::dict& options, const std::vector<Column>& columns);
// How the fields' values follow one another, as plain numbers: what the CUDA backend's buffer is made with.
py::dict describe_links(const ReplayOptions& options);
PrioritizedOptions parse_prioritized_options(const py::dict& options);

double beta_argument(PyObject* object);
bool flag_argument(PyObject* object, const char* name);  // bool, NumPy's too
SamplingMode sampling_mode_argument(PyObject* object);

}  // namespace metarl
