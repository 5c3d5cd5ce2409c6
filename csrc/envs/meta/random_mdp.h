// Finite Markov decision processes drawn at random: transition probabilities from a flat Dirichlet distribution, mean
// rewards from a normal one (Osband, Russo and Van Roy, "(More) efficient reinforcement learning via posterior
// sampling", 2013; Duan et al., "RL^2", 2016, section 3.2).
//
// No tables are kept. The state has 64 bits that name the process, and what is needed of it is generated from them in
// each step. A flat Dirichlet distribution is that of the lengths into which independent uniform points cut [0, 1]:
// with the points c of a state and an action, the next state for a uniform number u is the number of points c <= u.
#pragma once

#include <cstdint>

#include "metarl/detail/hd.h"
#include "metarl/detail/philox.h"

namespace metarl::random_mdp {

constexpr std::int32_t kMaxStates = 256;
constexpr std::int32_t kMaxActions = 128;

// In the order of the definition's task_parameters.
struct Task {
  double seed;                          // of the process; negative: a new one every episode of the environment
  double reward_mean, reward_mean_std;  // of the mean rewards' distribution
  double reward_std;                    // of a reward around its mean
};

struct Params {
  std::int32_t states, actions;
  std::int32_t horizon;   // steps until the process starts again in state 0
  std::int32_t episodes;  // of `horizon` steps each, until the environment's episode ends
  bool history;           // observe state, last action, last reward and whether the process has just started again
  Task own;
};

struct State {
  double state, step;  // step: since the reset
  double last_action;  // -1: none
  double last_reward;
  double name[2];  // of the process, 32 bits each
};

// Block 0 of a pair of state and action: its mean reward. Blocks 1, 2, ...: its points, four each.
METARL_HD PhiloxBlock pair_block(std::uint64_t name, std::uint32_t pair, std::uint32_t block) {
  return philox4x32(name, pair, block, 0, kTagEnvGenerate);
}

}  // namespace metarl::random_mdp
