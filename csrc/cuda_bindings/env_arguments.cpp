#include "cuda_bindings/env_arguments.h"

#include <pybind11/numpy.h>

#include <cstring>
#include <string>
#include <vector>

#include "bindings/arrays.h"

namespace metarl::cuda {
namespace {

template <class T>
T told(const py::dict& description, const char* key) {
  return py::cast<T>(description[key]);
}

std::vector<std::byte> bytes_told(py::handle object) {
  const auto text = py::cast<std::string>(object);
  std::vector<std::byte> bytes(text.size());
  if (!text.empty()) std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}

AutoresetMode mode_named(const std::string& name) {
  if (name == "next_step") return AutoresetMode::next_step;
  if (name == "same_step") return AutoresetMode::same_step;
  if (name == "disabled") return AutoresetMode::disabled;
  throw py::value_error("autoreset_mode is '" + name + "'; must be 'next_step', 'same_step' or 'disabled'");
}

}  // namespace

dlpack::DataType dtype_named(const std::string& name) {
  if (name == "float32") return {dlpack::kFloat, 32, 1};
  if (name == "int64") return {dlpack::kInt, 64, 1};
  if (name == "bool") return {dlpack::kBool, 8, 1};
  if (name == "uint8") return {dlpack::kUint, 8, 1};
  throw py::value_error("obs_type is '" + name + "'; must be float32, int64, bool or uint8");
}

std::int64_t bytes_of(dlpack::DataType dtype) { return dtype.bits / 8; }

EnvDescription env_description(const py::dict& given) {
  EnvDescription d;
  d.name = told<std::string>(given, "name");
  d.kernels = told<std::string>(given, "kernels");
  if (given.contains("library")) d.library = told<std::string>(given, "library");
  d.num_envs = told<std::int64_t>(given, "num_envs");
  d.mode = mode_named(told<std::string>(given, "autoreset_mode"));
  d.max_episode_steps = told<std::int32_t>(given, "max_episode_steps");
  d.num_actions = told<int>(given, "num_actions");
  d.action_size = told<int>(given, "action_size");
  d.obs_row_bytes = told<std::int64_t>(given, "obs_size") * bytes_of(dtype_named(told<std::string>(given, "obs_type")));
  d.incremental_obs = told<bool>(given, "incremental_obs");
  d.num_task_values = told<int>(given, "num_task_values");
  d.layout_bytes = told<std::int64_t>(given, "layout_bytes");
  const std::vector<std::byte> masks = bytes_told(given["action_masks"]);
  for (const std::byte mask : masks) d.action_masks.push_back(static_cast<std::int8_t>(mask));
  d.params = bytes_told(given["params"]);
  for (const py::handle array : py::list(given["params_arrays"])) {
    const auto pair = py::reinterpret_borrow<py::tuple>(array);
    d.params_arrays.push_back({py::cast<std::size_t>(pair[0]), bytes_told(pair[1])});
    if (d.params_arrays.back().offset + sizeof(void*) > d.params.size()) {
      throw py::value_error("params_arrays has an offset beyond the parameters");
    }
  }
  if (d.num_envs < 1) throw py::value_error("num_envs is " + std::to_string(d.num_envs) + "; must be >= 1");
  return d;
}

HostArrays host_arrays(const py::dict& arrays) {
  HostArrays result;
  for (const auto& [name, value] : arrays) {
    const auto array = py::cast<py::array_t<std::uint8_t, py::array::c_style>>(value);
    const auto* const data = reinterpret_cast<const std::byte*>(array.data());
    result[py::cast<std::string>(name)].assign(data, data + array.size());
  }
  return result;
}

py::dict numpy_arrays(const HostArrays& arrays) {
  py::dict result;
  for (const auto& [name, bytes] : arrays) {
    py::array_t<std::uint8_t> copy(static_cast<py::ssize_t>(bytes.size()));
    if (!bytes.empty()) std::memcpy(copy.mutable_data(), bytes.data(), bytes.size());
    result[name.c_str()] = std::move(copy);
  }
  return result;
}

void raise_device_error(const EnvStatus& status, const EnvDescription& d) {
  const std::string call = "call number " + std::to_string(status.error_call) + " of these environments: ";
  if ((status.first_error & kErrorEnded) != 0) {
    raise_metarl_error("ResetNeededError",
                       (call + "the episode of environment " + std::to_string(status.error_item) +
                        " has ended; with autoreset disabled, call reset(options={\"reset_mask\": terminated | "
                        "truncated})")
                           .c_str());
  }
  // As a caller counts them: (step,) row(, component).
  const std::uint64_t width = d.num_actions > 0 ? 1 : static_cast<std::uint64_t>(d.action_size);
  const std::uint64_t row = status.error_item / width;
  const auto n = static_cast<std::uint64_t>(d.num_envs);
  std::string place = std::to_string(row % n);
  if (row >= n) place = std::to_string(row / n) + ", " + place;
  if (width > 1) place += ", " + std::to_string(status.error_item % width);
  if (d.num_actions == 0) {
    throw py::value_error(call + "actions[" + place + "] is " + text_of(py::float_(status.error_number)) +
                          "; must be finite");
  }
  throw py::value_error(call + "actions[" + place + "] is " + std::to_string(status.error_integer) +
                        "; must be in [0, " + std::to_string(d.num_actions) + ")");
}

}  // namespace metarl::cuda
