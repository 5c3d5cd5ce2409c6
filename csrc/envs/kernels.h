// Kernel entry points, one set per instruction-set level.
#pragma once

#include <cstdint>

#include "metarl/batch_env.h"
#include "metarl/isa.h"

namespace metarl {

#define METARL_DECLARE_ENV_KERNELS(env)                                                                 \
  METARL_DECLARE_KERNEL(void env##_step, (const EnvBatch& batch, std::int64_t begin, std::int64_t end)) \
  METARL_DECLARE_KERNEL(void env##_reset,                                                               \
                        (const EnvBatch& batch, const std::uint8_t* mask, std::int64_t begin, std::int64_t end))

METARL_DECLARE_ENV_KERNELS(cartpole_euler_f32)
METARL_DECLARE_ENV_KERNELS(cartpole_euler_f64)
METARL_DECLARE_ENV_KERNELS(cartpole_semi_implicit_f32)
METARL_DECLARE_ENV_KERNELS(cartpole_semi_implicit_f64)
METARL_DECLARE_ENV_KERNELS(mountain_car_f32)
METARL_DECLARE_ENV_KERNELS(mountain_car_f64)
METARL_DECLARE_ENV_KERNELS(mountain_car_continuous_f32)
METARL_DECLARE_ENV_KERNELS(mountain_car_continuous_f64)
METARL_DECLARE_ENV_KERNELS(acrobot_f32)
METARL_DECLARE_ENV_KERNELS(acrobot_f64)
METARL_DECLARE_ENV_KERNELS(pendulum_f32)
METARL_DECLARE_ENV_KERNELS(pendulum_f64)
METARL_DECLARE_ENV_KERNELS(frozen_lake)
METARL_DECLARE_ENV_KERNELS(deep_sea)
METARL_DECLARE_ENV_KERNELS(cliff_walking)
METARL_DECLARE_ENV_KERNELS(taxi)
METARL_DECLARE_ENV_KERNELS(blackjack)
METARL_DECLARE_ENV_KERNELS(catch_ball)
METARL_DECLARE_ENV_KERNELS(bandit)
METARL_DECLARE_ENV_KERNELS(memory_chain)
METARL_DECLARE_ENV_KERNELS(discounting_chain)
METARL_DECLARE_ENV_KERNELS(cartpole_swingup_f32)
METARL_DECLARE_ENV_KERNELS(cartpole_swingup_f64)
METARL_DECLARE_ENV_KERNELS(minatar_asterix)
METARL_DECLARE_ENV_KERNELS(minatar_breakout)
METARL_DECLARE_ENV_KERNELS(minatar_freeway)
METARL_DECLARE_ENV_KERNELS(minatar_seaquest)
METARL_DECLARE_ENV_KERNELS(minatar_space_invaders)
METARL_DECLARE_ENV_KERNELS(minigrid)
METARL_DECLARE_ENV_KERNELS(point_robot_f32)
METARL_DECLARE_ENV_KERNELS(point_robot_f64)
METARL_DECLARE_ENV_KERNELS(sparse_point_robot_f32)
METARL_DECLARE_ENV_KERNELS(sparse_point_robot_f64)
METARL_DECLARE_ENV_KERNELS(bernoulli_bandit)
METARL_DECLARE_ENV_KERNELS(gaussian_bandit)
METARL_DECLARE_ENV_KERNELS(random_mdp)
METARL_DECLARE_ENV_KERNELS(maze_f32)
METARL_DECLARE_ENV_KERNELS(maze_f64)

// Checks actions[begin, end) and converts them to uint8 (num_actions > 0: each must be in [0, num_actions)) or float32
// (num_actions == 0: each must be finite). Returns the first illegal index, or -1.
METARL_DECLARE_KERNEL(std::int64_t convert_actions, (const void* actions, ActionType type, int num_actions, void* out,
                                                     std::int64_t begin, std::int64_t end))

// Draws an action for each of the rows [begin, end) from the step that it is at (see RolloutActions), as uint8 or
// float32 like convert_actions.
METARL_DECLARE_KERNEL(void random_actions, (const EnvBatch& batch, int num_actions, int action_size, double low,
                                            double high, void* out, std::int64_t begin, std::int64_t end))

#define METARL_ENV_KERNELS(definition, env)                 \
  do {                                                      \
    (definition).step = METARL_SELECT_KERNEL(env##_step);   \
    (definition).reset = METARL_SELECT_KERNEL(env##_reset); \
    (definition).kernels = #env;                            \
  } while (false)

}  // namespace metarl
