// The replay buffers' Python objects: a buffer of the core with what is needed to speak to Python.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <optional>
#include <vector>

#include "bindings/built.h"
#include "bindings/columns.h"
#include "bindings/gil.h"
#include "bindings/output_pool.h"
#include "metarl/replay_buffer.h"

namespace metarl {

struct PyReplay {
  PyReplay(std::vector<Column> parsed, py::object batch_class);

  // Once the core is there: what samples look like.
  void describe_samples();

  std::vector<Column> columns;
  // Of each column in a batch: the shape of an item, a sequence's steps first, and its bytes.
  std::vector<std::vector<py::ssize_t>> item_shapes;
  std::vector<std::size_t> item_bytes;
  std::size_t row_bytes = 0;     // of a row added
  std::size_t sample_bytes = 0;  // of an item sampled
  std::unique_ptr<ReplayBuffer> core;
  PrioritizedReplayBuffer* prioritized = nullptr;  // core, if it is one
  // beta of the next batch. Raises ValueError if the schedule returns what it cannot be, and what the schedule raises.
  double current_beta() const;
  void set_beta(py::handle number_or_schedule);

  double beta = 0.0;
  py::object beta_schedule;  // or null
  SamplingMode mode = SamplingMode::independent;
  py::object batch_type;
  py::object structure;  // of nested fields (metarl_core/replay/structure.py), or None
  std::shared_ptr<OutputPool> pool;
  py::object indices_name, weights_name, probabilities_name, discount_name, mask_name, mark_name;
  py::dtype int64_dtype, float32_dtype, float64_dtype, bool_dtype;
};

struct PyUniformReplay : PyReplay {
  using PyReplay::PyReplay;
};

struct PyPrioritizedReplay : PyReplay {
  using PyReplay::PyReplay;
};

// add, sample, update_priorities: plain C functions, with no conversion layer between the interpreter and the call.
extern PyMethodDef kReplayMethods[];

// The state: a dict of numbers and arrays, the columns in a dict of their own.
py::dict snapshot(Built<PyReplay> self);
// The reverse. All or nothing; raises ValueError that names the entry.
void restore(Built<PyReplay> self, const py::dict& state);
// Raw priorities as float64.
py::array priorities(Built<PyPrioritizedReplay> self, py::object indices);

}  // namespace metarl
