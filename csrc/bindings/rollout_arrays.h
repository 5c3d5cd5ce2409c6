// Boundary checks of the arrays that a rollout writes.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <vector>

#include "metarl/batch_env.h"

namespace metarl {

// What the arrays of a rollout look like.
struct RolloutLayout {
  std::int64_t steps;
  pybind11::dtype obs_type;
  std::vector<Py_intptr_t> obs_dims;     // of one step, num_envs first
  std::vector<Py_intptr_t> action_dims;  // of one step, num_envs first
  bool discrete;
  bool same_step;
  bool has_prob;
  bool has_end_flag;
  bool has_tasks;
};

// `out` is a dict of arrays by the names of RolloutOutputs. Throws KeyError, TypeError or ValueError, naming the array,
// unless each is there with its type and shape, can be written in place, and shares memory with no other.
RolloutOutputs checked_rollout_outputs(const pybind11::dict& out, const RolloutLayout& layout);

}  // namespace metarl
