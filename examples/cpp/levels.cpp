// Levels by priority, without Python. A sum tree says which pole of CartPole to play next, in proportion to how many
// episodes of that length still fail; 64 environments play it, with a controller written by hand.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <vector>

#include "metarl/batch_env.h"
#include "metarl/isa.h"
#include "metarl/sum_tree.h"

namespace {

constexpr std::int64_t kEnvs = 64;
constexpr int kSteps = 200;
constexpr int kLevels = 8;
constexpr int kRounds = 200;

double pole_length(std::int64_t level) { return 0.05 * static_cast<double>(1 << level); }  // m, half of the pole

metarl::BatchEnv make_cart_poles(std::uint64_t seed) {
  metarl::EnvOptions options;
  options.numbers = {{"gravity", 9.8},      {"masscart", 1},
                     {"masspole", 0.1},     {"length", 0.5},
                     {"force_mag", 10},     {"tau", 0.02},
                     {"x_threshold", 2.4},  {"theta_threshold_radians", 0.2},
                     {"reset_bound", 0.05}, {"sutton_barto_reward", 0},
                     {"semi_implicit", 0},  {"float32", 0}};
  const int threads = 1;
  return {metarl::make_env_definition("CartPole-v1", options),
          kEnvs,
          threads,
          metarl::AutoresetMode::next_step,
          kSteps,
          seed};
}

// Every row plays one episode with a pole of this length; returns the share of rows whose pole fell.
double share_that_fell(metarl::BatchEnv& envs, double length) {
  const metarl::EnvDefinition& definition = envs.definition();
  const auto& names = definition.task_parameters;
  std::vector<double> task = definition.task_defaults, tasks;
  task.at(static_cast<std::size_t>(std::find(names.begin(), names.end(), "length") - names.begin())) = length;
  for (std::int64_t row = 0; row < kEnvs; ++row) tasks.insert(tasks.end(), task.begin(), task.end());
  envs.set_tasks(tasks.data(), std::vector<std::int32_t>(kEnvs, 0).data());

  std::vector<float> obs(static_cast<std::size_t>(kEnvs * definition.obs_size));
  std::vector<double> reward(kEnvs);
  std::vector<std::uint8_t> terminated(kEnvs), truncated(kEnvs), fell(kEnvs, 0);
  std::vector<std::int64_t> actions(kEnvs);
  metarl::StepOutputs out;
  out.obs = obs.data();
  out.reward = reward.data();
  out.terminated = terminated.data();
  out.truncated = truncated.data();
  envs.reset(nullptr, obs.data());
  for (int t = 0; t < kSteps; ++t) {
    for (std::size_t row = 0; row < kEnvs; ++row) {
      const float* o = &obs[4 * row];  // position, speed, angle, angular speed
      actions[row] = 0.05f * o[0] + 0.1f * o[1] + o[2] + 0.3f * o[3] > 0.0f ? 1 : 0;
    }
    envs.step(actions.data(), metarl::ActionType::int64, out);
    // The time limit ends with the loop, so whatever ends before that is a pole that fell or a cart that left.
    for (std::size_t row = 0; row < kEnvs; ++row) fell[row] |= terminated[row];
  }
  return static_cast<double>(std::count(fell.begin(), fell.end(), 1)) / kEnvs;
}

}  // namespace

int main() {
  try {
    metarl::BatchEnv envs = make_cart_poles(1);
    metarl::SumTree tree(kLevels, 2);
    tree.fill(0, kLevels, 1.0);
    std::vector<double> share(kLevels, 1.0);
    std::vector<int> played(kLevels, 0);
    for (int round = 0; round < kRounds; ++round) {
      std::int64_t level = 0;
      double probability = 0.0;
      tree.sample(1, metarl::SamplingMode::independent, &level, &probability);
      const auto at = static_cast<std::size_t>(level);
      share[at] = share_that_fell(envs, pole_length(level));
      ++played[at];
      const double priority = 0.02 + share[at];
      tree.set(&level, &priority, 1);
    }
    std::printf("%d rounds of %d episodes at the level %s\n", kRounds, static_cast<int>(kEnvs),
                metarl::isa_name(metarl::active_isa()));
    for (std::size_t level = 0; level < kLevels; ++level) {
      std::printf("pole of %5.2f m: played %3d times, fell in %3.0f %% of the last %d episodes\n",
                  2.0 * pole_length(static_cast<std::int64_t>(level)), played[level], 100.0 * share[level],
                  static_cast<int>(kEnvs));
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "levels: %s\n", error.what());
    return 1;
  }
  return 0;
}
