// Shared libraries with environments of their own (envs/library.h says what they export).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace metarl {

struct LoadedParameter {
  std::string name, doc;
  double default_value, low, high;  // infinite: no bound
  bool low_is_excluded;
};

// A copy of an environment's description, for Python.
struct LoadedEnvironment {
  std::string id, source, state, observation, action, reward, ending;
  std::int32_t max_episode_steps;  // 0: no limit
  std::vector<std::string> field_names;
  std::vector<LoadedParameter> parameters;
  int num_actions;  // 0: one float in [action_low, action_high]
  float action_low, action_high;
  std::vector<float> obs_low, obs_high;
};

// Opens a library and checks all it says; registers nothing. Throws std::invalid_argument naming the library and what
// is wrong with it. A library that passed stays in memory until the process ends.
std::vector<LoadedEnvironment> read_env_library(const std::string& path);

// Makes the environments of a library, as read_env_library checks it, known to make_env_definition. An id that is known
// already is replaced: its caller has made sure that it is this library's.
void add_env_library(const std::string& path);

}  // namespace metarl
