// What a rollout takes and gives: plain data, on the CPU and on GPUs.
#pragma once

#include <cstdint>

namespace metarl {

enum class ActionType : std::uint8_t { int8, int16, int32, int64, uint8, uint16, uint32, uint64, float32, float64 };

// Actions of many steps: num_envs elements a step, as step() takes them. Null data: drawn uniformly, from
// [0, num_actions) or [low, high], by the random numbers of each row (its seed and stream, at the number of the episode
// and of the step in it, with a purpose of their own).
struct RolloutActions {
  const void* data = nullptr;
  ActionType type = ActionType::int64;
  double low = 0.0;
  double high = 0.0;
};

// Arrays of a rollout, [steps][num_envs] or, where it says so, [steps + 1][num_envs].
struct RolloutOutputs {
  void* obs = nullptr;      // [steps + 1]: obs[t] is what the action of step t was taken on
  void* actions = nullptr;  // those taken: int64 (discrete) or float32
  double* reward = nullptr;
  std::uint8_t* terminated = nullptr;
  std::uint8_t* truncated = nullptr;
  std::uint8_t* valid = nullptr;     // 0: no transition; next_step: a reset, disabled: the episode had ended before
  double* prob = nullptr;            // may be null; of the transition, also where the row was reset since
  void* final_obs = nullptr;         // same_step: last observations where an episode ended, other rows are not written
  std::uint8_t* end_flag = nullptr;  // may be null
  std::int64_t* task_id = nullptr;   // may be null, or if there are no tasks; [steps + 1]: the task of obs[t]
};

}  // namespace metarl
