// The replay buffers' Python objects: a buffer of the core with what is needed to speak to Python.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <optional>
#include <vector>

#include "bindings/columns.h"
#include "bindings/output_pool.h"
#include "metarl/replay_buffer.h"

namespace metarl {

struct PyReplay {
  PyReplay(std::vector<Column> parsed, py::object batch_class);

  std::vector<Column> columns;
  std::unique_ptr<ReplayBuffer> core;
  PrioritizedReplayBuffer* prioritized = nullptr;  // core, if it is one
  double beta = 0.0;
  SamplingMode mode = SamplingMode::independent;
  py::object batch_type;
  std::shared_ptr<OutputPool> pool;
  py::object indices_name, weights_name, probabilities_name, mark_name;
  py::dtype int64_dtype, float32_dtype, float64_dtype;
};

struct PyUniformReplay : PyReplay {
  using PyReplay::PyReplay;
};

struct PyPrioritizedReplay : PyReplay {
  using PyReplay::PyReplay;
};

// add, sample, update_priorities: plain C functions, with no conversion layer between the interpreter and the call.
extern PyMethodDef kReplayMethods[];

template <typename F>
auto without_gil(bool release, F&& f) {
  std::optional<py::gil_scoped_release> released;
  if (release) released.emplace();
  return f();
}

// The state as (dict of numbers, list of columns, raw priorities or None, masses or None).
py::tuple snapshot(const PyReplay& self);
// The reverse. Checks everything before it changes anything; raises ValueError that names the entry.
void restore(PyReplay& self, const py::dict& state, const py::sequence& columns, py::object priorities,
             py::object masses);
// Raw priorities as float64.
py::array priorities(const PyReplay& self, py::object indices);

}  // namespace metarl
