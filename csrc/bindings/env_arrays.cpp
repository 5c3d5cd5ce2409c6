#include "bindings/env_arrays.h"

#include <pybind11/numpy.h>

#include <cstring>
#include <string>
#include <vector>

namespace py = pybind11;

namespace metarl {
namespace {

using Bytes = py::array_t<std::uint8_t, py::array::c_style>;

py::bytes bytes_of(const void* data, std::size_t bytes) {
  return py::bytes(static_cast<const char*>(data), static_cast<py::ssize_t>(bytes));
}

const char* mode_name(AutoresetMode mode) {
  return mode == AutoresetMode::next_step ? "next_step" : mode == AutoresetMode::same_step ? "same_step" : "disabled";
}

const char* obs_type_name(ObsType type) {
  switch (type) {
    case ObsType::float32:
      return "float32";
    case ObsType::int64:
      return "int64";
    case ObsType::boolean:
      return "bool";
    case ObsType::uint8:
      return "uint8";
  }
  return "";
}

}  // namespace

py::dict describe_env(const BatchEnv& env) {
  const EnvDefinition& definition = env.definition();
  const auto* const params = static_cast<const std::byte*>(definition.params.get());
  py::list params_arrays;
  for (const EnvDefinition::ParamsArray& array : definition.params_arrays) {
    const void* data = nullptr;
    std::memcpy(&data, params + array.offset, sizeof data);
    params_arrays.append(py::make_tuple(array.offset, bytes_of(data, array.bytes)));
  }
  py::dict told;
  told["name"] = definition.name;
  told["kernels"] = definition.kernels;
  told["num_envs"] = env.num_envs();
  told["autoreset_mode"] = mode_name(env.autoreset_mode());
  told["max_episode_steps"] = env.max_episode_steps();
  told["num_actions"] = definition.num_actions;
  told["action_size"] = definition.action_size;
  told["obs_size"] = definition.obs_size;
  told["obs_type"] = obs_type_name(definition.obs_type);
  told["has_prob"] = definition.has_prob;
  told["incremental_obs"] = definition.incremental_obs;
  told["num_task_values"] = definition.task_parameters.size();
  told["layout_bytes"] = definition.layout_bytes;
  told["action_masks"] = bytes_of(definition.action_masks.data(), definition.action_masks.size());
  told["params"] = bytes_of(params, definition.params_bytes);
  told["params_arrays"] = params_arrays;
  return told;
}

py::dict read_env_arrays(const BatchEnv& env) {
  py::dict result;
  for (const BatchEnv::Array& array : env.arrays()) {
    Bytes copy(static_cast<py::ssize_t>(array.bytes));
    if (array.bytes > 0) std::memcpy(copy.mutable_data(), array.data, array.bytes);
    result[array.name.c_str()] = std::move(copy);
  }
  return result;
}

void write_env_arrays(BatchEnv& env, const py::dict& arrays, bool ready) {
  std::vector<BatchEnv::Array> views;
  std::vector<Bytes> held;
  for (const auto& [name, value] : arrays) {
    held.push_back(py::cast<Bytes>(value));
    views.push_back({py::cast<std::string>(name), held.back().data(), static_cast<std::size_t>(held.back().size())});
  }
  env.set_arrays(views, ready);
}

}  // namespace metarl
