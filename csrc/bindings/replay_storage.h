// Replay buffers whose columns lie in files, as Python sees them.
#pragma once

#include <pybind11/pybind11.h>

#include "bindings/replay_object.h"

namespace metarl {

void register_replay_storage(py::module_& m, py::class_<PyReplay>& base);

}  // namespace metarl
