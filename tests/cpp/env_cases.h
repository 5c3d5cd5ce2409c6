// A few environments that differ in what they hand out: floats and integers, few bytes and many, random or not.
#pragma once

#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "metarl/batch_env.h"

namespace metarl_test {

struct EnvCase {
  std::string id;
  metarl::EnvOptions options;
};

inline metarl::EnvOptions options_of(std::map<std::string, double> numbers, std::string table = {},
                                     std::int64_t columns = 0) {
  metarl::EnvOptions o;
  o.numbers = std::move(numbers);
  o.table.assign(table.begin(), table.end());
  o.table_columns = columns;
  o.table_rows = columns == 0 ? 0 : static_cast<std::int64_t>(table.size()) / columns;
  return o;
}

inline metarl::EnvOptions mountain_car() {
  return options_of({{"min_position", -1.2},
                     {"max_position", 0.6},
                     {"max_speed", 0.07},
                     {"goal_position", 0.5},
                     {"goal_velocity", 0},
                     {"force", 0.001},
                     {"gravity", 0.0025},
                     {"reset_low", -0.6},
                     {"reset_high", -0.4},
                     {"float32", 0}});
}

inline metarl::EnvOptions pendulum() {
  return options_of({{"g", 10},
                     {"m", 1},
                     {"l", 1},
                     {"dt", 0.05},
                     {"max_speed", 8},
                     {"max_torque", 2},
                     {"x_init", 3},
                     {"y_init", 1},
                     {"float32", 1}});
}

inline std::vector<EnvCase> env_cases() {
  return {{"MountainCar-v0", mountain_car()},
          {"Pendulum-v1", pendulum()},
          {"FrozenLake-v1", options_of({{"is_slippery", 1},
                                        {"success_rate", 0.5},
                                        {"own_goal_reward", 1},
                                        {"own_hole_reward", 0},
                                        {"own_frozen_reward", 0}},
                                       "SFFSHFFFG", 3)},
          {"DeepSea-v0", options_of({{"deterministic", 0}, {"unscaled_move_cost", 0.01}, {"randomize_actions", 1}},
                                    std::string(16, '\1'), 4)},
          {"MinAtar/Breakout-v1",
           options_of({{"use_minimal_action_set", 1}, {"sticky_action_prob", 0.25}, {"difficulty_ramping", 1}})}};
}

// Results of one step of a batch.
struct StepResult {
  explicit StepResult(const metarl::BatchEnv& env)
      : obs(static_cast<std::size_t>(env.num_envs()) * env.obs_row_bytes()),
        reward(static_cast<std::size_t>(env.num_envs())),
        terminated(reward.size()),
        truncated(reward.size()),
        prob(env.definition().has_prob ? reward.size() : 0) {}
  metarl::StepOutputs pointers() {
    return {obs.data(), reward.data(), terminated.data(), truncated.data(), prob.empty() ? nullptr : prob.data()};
  }
  std::vector<char> obs;
  std::vector<double> reward;
  std::vector<std::uint8_t> terminated, truncated;
  std::vector<double> prob;
};

// An action of row `row` at its step `step`.
inline std::int32_t discrete_action(std::int64_t row, std::int64_t step, int choices) {
  return static_cast<std::int32_t>((row * 7 + step * 3 + step / 5) % choices);
}
inline float continuous_action(std::int64_t row, std::int64_t step) {
  return static_cast<float>((row + 3 * step) % 9) * 0.6F - 2.4F;
}

// Actions of many rows at their steps, as the environment takes them.
struct Actions {
  void add(const metarl::EnvDefinition& definition, std::int64_t row, std::int64_t step) {
    if (definition.num_actions > 0) {
      discrete.push_back(discrete_action(row, step, definition.num_actions));
    } else {
      continuous.push_back(continuous_action(row, step));
    }
  }
  const void* data() const {
    return continuous.empty() ? static_cast<const void*>(discrete.data()) : static_cast<const void*>(continuous.data());
  }
  metarl::ActionType type() const {
    return continuous.empty() ? metarl::ActionType::int32 : metarl::ActionType::float32;
  }
  std::vector<std::int32_t> discrete;
  std::vector<float> continuous;
};

}  // namespace metarl_test
