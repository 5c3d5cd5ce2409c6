// Libraries with environments of their own: what they say of themselves, as dicts.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "bindings/register.h"
#include "metarl/env_library.h"

namespace py = pybind11;

namespace metarl {
namespace {

py::dict parameter_dict(const LoadedParameter& p) {
  py::dict d;
  d["name"] = p.name;
  d["doc"] = p.doc;
  d["default"] = p.default_value;
  d["low"] = p.low;
  d["high"] = p.high;
  d["exclusive"] = p.low_is_excluded;
  return d;
}

py::dict environment_dict(const LoadedEnvironment& e) {
  py::list parameters;
  for (const LoadedParameter& p : e.parameters) parameters.append(parameter_dict(p));
  py::dict d;
  d["id"] = e.id;
  d["source"] = e.source;
  d["state"] = e.state;
  d["observation"] = e.observation;
  d["action"] = e.action;
  d["reward"] = e.reward;
  d["ending"] = e.ending;
  d["max_episode_steps"] = e.max_episode_steps;
  d["field_names"] = e.field_names;
  d["parameters"] = parameters;
  d["num_actions"] = e.num_actions;
  d["action_low"] = e.action_low;
  d["action_high"] = e.action_high;
  d["obs_low"] = e.obs_low;
  d["obs_high"] = e.obs_high;
  return d;
}

// The path in the file system's encoding.
std::vector<py::dict> read(const py::bytes& path) {
  std::vector<py::dict> result;
  for (const LoadedEnvironment& e : read_env_library(path)) result.push_back(environment_dict(e));
  return result;
}

}  // namespace

void register_env_library(py::module_& m) {
  m.def("read_env_library", &read, py::arg("path"));
  m.def("add_env_library", [](const py::bytes& path) { add_env_library(path); }, py::arg("path"));
}

}  // namespace metarl
