// Bandits over a trial: k arms whose mean rewards are drawn anew for every task (Duan et al., "RL^2: Fast reinforcement
// learning via slow reinforcement learning", 2016, section 3.1).
#pragma once

#include <cstdint>

namespace metarl::trial_bandit {

constexpr std::int32_t kMaxArms = 128;
constexpr std::int32_t kFirstMeanField = 3;

// In the order of the definitions' task_parameters.
struct Task {
  double seed;  // of the arms; negative: new arms every episode
  double low;   // Bernoulli: means are uniform in [low, high); Gaussian: N(low, high^2)
  double high;
  double reward_std;  // Gaussian: of the rewards
};

struct Params {
  std::int32_t arms, horizon;  // horizon: pulls of an episode
  Task own;
};

struct State {
  double pulls;
  double last_action;  // -1: none
  double last_reward;
};

}  // namespace metarl::trial_bandit
