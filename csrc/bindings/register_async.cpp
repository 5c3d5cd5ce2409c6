#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <utility>

#include "bindings/async_object.h"
#include "bindings/env_calls.h"
#include "bindings/register.h"
#include "bindings/step_arrays.h"

namespace py = pybind11;

namespace metarl {

RowSeeds checked_seeds(const Seeding& seeding, std::int64_t num_envs) {
  const auto& [rows, seeds, streams] = seeding;
  if (rows.ndim() != 1 || seeds.ndim() != 1 || streams.ndim() != 1 || seeds.shape(0) != rows.shape(0) ||
      streams.shape(0) != rows.shape(0)) {
    throw py::value_error("seeding: wrong shape");
  }
  for (py::ssize_t k = 0; k < rows.shape(0); ++k) {
    if (rows.at(k) < 0 || rows.at(k) >= num_envs) throw py::index_error("row out of range");
  }
  return {rows.data(), seeds.data(), streams.data(), rows.shape(0)};
}

PyAsyncEnv::PyAsyncEnv(std::shared_ptr<BatchEnv> env, std::int64_t batch_size, int num_threads, py::dtype obs_type,
                       std::vector<Py_intptr_t> obs_dims, std::vector<Py_intptr_t> action_dims)
    : batch_(env),
      env_(std::move(env), batch_size, num_threads),
      obs_type_(std::move(obs_type)),
      obs_dims_(std::move(obs_dims)),
      action_dims_(std::move(action_dims)) {
  obs_dims_.insert(obs_dims_.begin(), static_cast<Py_intptr_t>(batch_size));
  action_dims_.insert(action_dims_.begin(), 0);
}

void PyAsyncEnv::reset(const std::optional<Seeding>& seeding) {
  const RowSeeds seeds = seeding ? checked_seeds(*seeding, env_.num_envs()) : RowSeeds{};
  const py::gil_scoped_release release;
  env_.reset(seeds);
}

void PyAsyncEnv::send(py::handle actions, const py::array_t<std::int64_t, py::array::c_style>& rows) {
  if (rows.ndim() != 1) throw py::value_error("env_id: wrong shape");
  std::vector<Py_intptr_t> dims = action_dims_;
  dims[0] = static_cast<Py_intptr_t>(rows.shape(0));
  const ActionArray in =
      checked_actions(actions, batch_->definition().num_actions > 0, static_cast<int>(dims.size()), dims.data());
  translated([&] { env_.send(in.array.data(), in.type, rows.data(), rows.shape(0)); });
}

py::tuple PyAsyncEnv::recv(double seconds) {
  const EnvDefinition& definition = batch_->definition();
  const auto n = static_cast<py::ssize_t>(env_.batch_size());
  AsyncOutputs out;
  py::array obs(obs_type_, std::vector<py::ssize_t>(obs_dims_.begin(), obs_dims_.end()));
  py::array_t<std::int64_t> rows(n);
  py::array_t<double> reward(n);
  py::array_t<bool> terminated(n), truncated(n);
  py::dict extras;
  const auto bytes_of = [](py::array_t<bool>& array) { return reinterpret_cast<std::uint8_t*>(array.mutable_data()); };
  out.rows = rows.mutable_data();
  out.obs = obs.mutable_data();
  out.reward = reward.mutable_data();
  out.terminated = bytes_of(terminated);
  out.truncated = bytes_of(truncated);
  if (definition.has_prob) {
    py::array_t<double> prob(n);
    out.prob = prob.mutable_data();
    extras["prob"] = prob;
  }
  if (batch_->autoreset_mode() == AutoresetMode::same_step) {
    py::array_t<bool> ended(n);
    out.ended = bytes_of(ended);
    extras["ended"] = ended;
    // Zeros in the rows that did not end.
    const py::object final_obs = py::module_::import("numpy").attr("zeros_like")(obs);
    out.final_obs = py::reinterpret_borrow<py::array>(final_obs).mutable_data();
    extras["final_obs"] = final_obs;
  }
  if (batch_->has_tasks()) {
    py::array_t<std::int64_t> task_id(n), before(n);
    out.task_id = task_id.mutable_data();
    out.task_before = before.mutable_data();
    extras["task_id"] = task_id;
    extras["task_before"] = before;
  }
  translated([&] {
    if (env_.ready()) {
      env_.recv(out, seconds, nullptr);
    } else {
      const py::gil_scoped_release release;
      env_.recv(out, seconds, &poll_signals);
    }
  });
  return py::make_tuple(obs, reward, terminated, truncated, rows, extras);
}

void register_async(py::module_& m) {
  py::class_<PyAsyncEnv>(m, "AsyncEnv")
      .def("reset", &PyAsyncEnv::reset, py::arg("seeding"))
      .def("send", &PyAsyncEnv::send, py::arg("actions"), py::arg("rows"))
      .def("recv", &PyAsyncEnv::recv, py::arg("seconds"))
      .def(
          "pause", [](PyAsyncEnv& self) { self.core().pause(); }, py::call_guard<py::gil_scoped_release>())
      .def(
          "resume", [](PyAsyncEnv& self) { self.core().resume(); }, py::call_guard<py::gil_scoped_release>())
      .def(
          "close", [](PyAsyncEnv& self) { self.core().close(); }, py::call_guard<py::gil_scoped_release>())
      .def_property_readonly("in_flight", [](PyAsyncEnv& self) { return self.core().in_flight(); })
      .def_property_readonly("num_threads", [](PyAsyncEnv& self) { return self.core().num_threads(); });
}

}  // namespace metarl
