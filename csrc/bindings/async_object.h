// AsyncEnv for Python.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <optional>
#include <tuple>
#include <vector>

#include "metarl/async_env.h"

namespace metarl {

// Rows, their seeds and their streams.
using Seeding = std::tuple<pybind11::array_t<std::int64_t, pybind11::array::c_style>,
                           pybind11::array_t<std::uint64_t, pybind11::array::c_style>,
                           pybind11::array_t<std::uint32_t, pybind11::array::c_style>>;

// Throws ValueError or IndexError unless the three have one length and the rows are there.
RowSeeds checked_seeds(const Seeding& seeding, std::int64_t num_envs);

class PyAsyncEnv {
 public:
  // obs_dims and action_dims: of one row.
  PyAsyncEnv(std::shared_ptr<BatchEnv> env, std::int64_t batch_size, int num_threads, pybind11::dtype obs_type,
             std::vector<Py_intptr_t> obs_dims, std::vector<Py_intptr_t> action_dims);

  void reset(const std::optional<Seeding>& seeding);
  void send(pybind11::handle actions, const pybind11::array_t<std::int64_t, pybind11::array::c_style>& rows);
  // (obs, reward, terminated, truncated, rows, extras): extras has prob, ended, final_obs, task_id and task_before
  // where they are known.
  pybind11::tuple recv(double seconds);
  AsyncEnv& core() { return env_; }

 private:
  std::shared_ptr<BatchEnv> batch_;
  AsyncEnv env_;
  pybind11::dtype obs_type_;
  std::vector<Py_intptr_t> obs_dims_, action_dims_;  // with the number of rows in front
};

}  // namespace metarl
