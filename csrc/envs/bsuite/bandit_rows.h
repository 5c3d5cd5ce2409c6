// Bandit's rows: the code that the CPU's kernels and the CUDA kernels share; see envs/driver.h.
#pragma once

#include "envs/bsuite/bandit.h"
#include "envs/driver.h"

namespace metarl::METARL_ISA_NS {
namespace {

// The state is the regret so far.
struct Bandit {
  using Real = double;
  using Params = bandit::Params;
  struct TaskParams {};  // resets do not depend on it
  using State = double;

  METARL_HOST_DEVICE static TaskParams row_params(const Params&, const Real*, std::int64_t, std::int64_t) { return {}; }
  METARL_HOST_DEVICE static State load(const Real* f, std::int64_t, std::int64_t row) { return f[row]; }
  METARL_HOST_DEVICE static void store(State s, Real* f, std::int64_t, std::int64_t row) { f[row] = s; }
  template <class P>
  METARL_HOST_DEVICE static State reset(const P&, const PhiloxBlock&, const Real* f, std::int64_t, std::int64_t row) {
    return f[row];
  }
  METARL_HOST_DEVICE static void write_obs(const Params&, State, void* obs, std::int64_t row) {
    static_cast<float*>(obs)[row] = 1.0f;
  }
  METARL_HOST_DEVICE static std::size_t obs_bytes(const Params&) { return sizeof(float); }
};

// kTasks: with the scales and the order of means of each row.
template <bool kTasks>
METARL_HD void step_bandit_rows(const EnvBatch& batch, std::int64_t begin, std::int64_t end) {
  const EnvBatch b = batch;
  const auto& p = *static_cast<const bandit::Params*>(b.params);
  auto* const regret = static_cast<double*>(b.state);
  auto* const obs = static_cast<float*>(b.obs);
  const auto* const actions = static_cast<const std::uint8_t*>(b.actions);
  bool noisy = p.noise_scale != 0.0;
  [[maybe_unused]] const auto* const tasks = static_cast<const double*>(b.task_values);
  const std::uint8_t resets = b.mode == AutoresetMode::next_step;
  double normal[kBlockRows];
  for (std::int64_t first = begin; first < end; first += kBlockRows) {
    const std::int64_t n = end - first < kBlockRows ? end - first : kBlockRows;
    if constexpr (kTasks) {
      const double* const scales = tasks + bandit::kNoiseScale * b.stride + first;
      noisy = false;
      for (std::int64_t k = 0; k < n; ++k) noisy |= scales[k] != 0.0;
    }
    if (noisy && b.draws != nullptr) {
      for (std::int64_t k = 0; k < n; ++k) normal[k] = b.draws[first + k];
    } else if (noisy) {
      for (std::int64_t k = 0; k < n; ++k) normal[k] = bandit::normal_from(step_random(b, first + k));
    }
    for (std::int64_t k = 0; k < n; ++k) {
      const std::int64_t i = first + k;
      double mean = 0.0, noise_scale = p.noise_scale, reward_scale = p.reward_scale;
      if constexpr (kTasks) {
        mean = p.level[b.layouts[i * b.layout_bytes + actions[i]]];
        noise_scale = tasks[bandit::kNoiseScale * b.stride + i];
        reward_scale = tasks[bandit::kRewardScale * b.stride + i];
      } else {
        mean = p.mean[actions[i]];
      }
      regret[i] += (b.done[i] & resets) ? 0.0 : 1.0 - mean;
      b.reward[i] = mean * reward_scale + (noisy ? noise_scale * normal[k] : 0.0);
      b.terminated[i] = 1;
      obs[i] = 1.0f;
    }
    finish_rows<Bandit>(b, p, first, first + n);
  }
}

struct BanditRows {
  using Model = Bandit;
  METARL_HD void step(const EnvBatch& b, std::int64_t begin, std::int64_t end) {
    if (b.task_values != nullptr) return step_bandit_rows<true>(b, begin, end);
    step_bandit_rows<false>(b, begin, end);
  }
  METARL_HD void reset(const EnvBatch& b, const std::uint8_t* mask, std::int64_t begin, std::int64_t end) {
    reset_rows<Bandit>(b, mask, begin, end);
  }
};

}  // namespace
}  // namespace metarl::METARL_ISA_NS
