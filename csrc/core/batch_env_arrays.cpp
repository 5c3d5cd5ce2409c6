// BatchEnv's arrays as they are, for a copy of the batch in other memory.
#include <cstring>
#include <stdexcept>

#include "core/batch_env_rows.h"

namespace metarl {

// All of them in one function, so that what is read and what is written cannot differ.
template <class Env, class Visit>
void BatchEnv::visit_arrays(Env& env, const Visit& visit) {
  visit("state", env.state_);
  visit("elapsed", env.elapsed_);
  visit("episode", env.episode_);
  visit("seed", env.seed_);
  visit("stream", env.stream_);
  visit("done", env.done_);
  visit("ended", env.ended_);
  visit("end_flag", env.end_flag_);
  visit("final_obs", env.final_obs_);
  visit("task_values", env.task_values_);
  visit("task_id", env.task_id_);
  visit("layouts", env.layouts_);
  visit("task_table", env.task_table_);
  visit("table_layouts", env.table_layouts_);
}

std::vector<BatchEnv::Array> BatchEnv::arrays() const {
  std::vector<Array> arrays;
  visit_arrays(*this, [&](const char* name, const auto& vector) {
    arrays.push_back({name, vector.data(), vector.size() * sizeof(vector[0])});
  });
  return arrays;
}

void BatchEnv::set_arrays(const std::vector<Array>& arrays, bool ready) {
  const InUse guard(in_use_);
  const auto n = static_cast<std::size_t>(num_envs_);
  const std::size_t task_bytes = definition_.task_parameters.size() * field_bytes(task_type());
  const auto layout_bytes = static_cast<std::size_t>(definition_.layout_bytes);
  const auto find = [&](const std::string& name) -> const Array& {
    for (const Array& array : arrays) {
      if (array.name == name) return array;
    }
    throw std::invalid_argument("the arrays lack '" + name + "'");
  };
  std::size_t tasks = 0;  // of the table
  bool has_tasks = false;
  std::size_t count = 0;
  visit_arrays(*this, [&](const std::string& name, const auto& vector) {
    ++count;
    const std::size_t bytes = find(name).bytes;
    std::size_t expected = vector.size() * sizeof(vector[0]);
    if (name == "task_values") {
      has_tasks = bytes > 0;
      expected = has_tasks ? n * task_bytes : 0;
    } else if (name == "task_id") {
      expected = has_tasks ? n * sizeof(std::int32_t) : 0;
    } else if (name == "layouts") {
      expected = has_tasks ? n * layout_bytes : 0;
    } else if (name == "task_table") {
      tasks = task_bytes == 0 || !has_tasks ? 0 : bytes / task_bytes;
      expected = tasks * task_bytes;
    } else if (name == "table_layouts") {
      expected = tasks * layout_bytes;
    }
    if (bytes != expected) {
      throw std::invalid_argument("array '" + name + "' has " + std::to_string(bytes) + " bytes; must have " +
                                  std::to_string(expected));
    }
  });
  if (count != arrays.size()) throw std::invalid_argument("there are arrays that a batch does not have");
  visit_arrays(*this, [&](const char* name, auto& vector) {
    const Array& array = find(name);
    vector.resize(array.bytes / sizeof(vector[0]));
    if (array.bytes > 0) std::memcpy(vector.data(), array.data, array.bytes);
  });
  task_table_size_ = static_cast<std::int64_t>(tasks);
  ready_ = ready;
}

}  // namespace metarl
