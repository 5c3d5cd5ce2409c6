// The trial bandits' rows: the code that the CPU's kernels and the CUDA kernels share; see envs/driver.h.
#pragma once

#include "envs/bsuite/bandit.h"
#include "envs/driver.h"
#include "envs/meta/task_random.h"
#include "envs/meta/trial_bandit.h"

namespace metarl::METARL_ISA_NS {
namespace {

using trial_bandit::kFirstMeanField;

template <bool kGaussian>
struct TrialBandit {
  using Real = double;
  using Params = trial_bandit::Params;
  using TaskParams = trial_bandit::Task;
  using State = trial_bandit::State;

  METARL_HOST_DEVICE static TaskParams row_params(const Params&, const Real* t, std::int64_t stride, std::int64_t row) {
    return {t[row], t[stride + row], t[2 * stride + row], kGaussian ? t[3 * stride + row] : 0.0};
  }
  METARL_HOST_DEVICE static State load(const Real* f, std::int64_t stride, std::int64_t row) {
    return {f[row], f[stride + row], f[2 * stride + row]};
  }
  METARL_HOST_DEVICE static void store(const State& s, Real* f, std::int64_t stride, std::int64_t row) {
    f[row] = s.pulls;
    f[stride + row] = s.last_action;
    f[2 * stride + row] = s.last_reward;
  }
  template <class P>
  METARL_HOST_DEVICE static State reset(const P&, const PhiloxBlock&, const Real*, std::int64_t, std::int64_t) {
    return {0.0, -1.0, 0.0};
  }
  // Draws the arms' means, two from a block.
  METARL_HOST_DEVICE static void reset_more(const EnvBatch& b, const Params& p, std::int64_t row) {
    const TaskParams task = task_of<TrialBandit>(b, p, row);
    const TaskSource source = task_source(b, row, task.seed);
    Real* const mean = static_cast<Real*>(b.state) + kFirstMeanField * b.stride + row;
    PhiloxBlock block{};
    for (std::int32_t arm = 0; arm < p.arms; ++arm) {
      if (arm % 2 == 0) block = generate(source, static_cast<std::uint32_t>(arm / 2));
      const std::uint32_t first = block.v[2 * (arm % 2)];
      const std::uint32_t second = block.v[2 * (arm % 2) + 1];
      mean[arm * b.stride] = kGaussian ? task.low + task.high * bandit::normal_from(PhiloxBlock{{first, second, 0, 0}})
                                       : task.low + (task.high - task.low) * uniform53(first, second);
    }
  }
  METARL_HOST_DEVICE static void write_obs(const Params& p, const State& s, void* obs, std::int64_t row) {
    float* const out = static_cast<float*>(obs) + row * (p.arms + 1);
    for (std::int32_t arm = 0; arm < p.arms; ++arm) out[arm] = 0.0f;
    if (s.last_action >= 0) out[static_cast<std::int32_t>(s.last_action)] = 1.0f;
    out[p.arms] = static_cast<float>(s.last_reward);
  }
  METARL_HOST_DEVICE static std::size_t obs_bytes(const Params& p) {
    return sizeof(float) * static_cast<std::size_t>(p.arms + 1);
  }
};

template <bool kGaussian>
METARL_HD void step_trial_bandit_rows(const EnvBatch& batch, std::int64_t begin, std::int64_t end) {
  const EnvBatch b = batch;
  const auto& p = *static_cast<const trial_bandit::Params*>(b.params);
  const std::int64_t stride = b.stride;
  double* const pulls = static_cast<double*>(b.state);
  double* const last_action = pulls + stride;
  double* const last_reward = pulls + 2 * stride;
  const double* const mean = pulls + kFirstMeanField * stride;
  const double* const tasks = static_cast<const double*>(b.task_values);
  const auto* const actions = static_cast<const std::uint8_t*>(b.actions);
  const std::int64_t width = p.arms + 1;
  const double horizon = p.horizon;
  const bool resets = b.mode == AutoresetMode::next_step;
  alignas(64) double draw[kBlockRows];
  for (std::int64_t first = begin; first < end; first += kBlockRows) {
    const std::int64_t n = end - first < kBlockRows ? end - first : kBlockRows;
    if (b.draws != nullptr) {
      for (std::int64_t k = 0; k < n; ++k) draw[k] = b.draws[first + k];
    } else if (kGaussian) {
      METARL_VECTORIZE
      for (std::int64_t k = 0; k < n; ++k) draw[k] = bandit::normal_from(step_random(b, first + k));
    } else {
      step_uniforms(b, first, n, draw);
    }
    float* out = static_cast<float*>(b.obs) + first * width;
    for (std::int64_t j = 0; j < n * width; ++j) out[j] = 0.0f;
    for (std::int64_t k = 0; k < n; ++k, out += width) {
      const std::int64_t i = first + k;
      if (resets && b.done[i]) continue;  // finish_rows resets it
      const std::int64_t arm = actions[i];
      const double arm_mean = mean[arm * stride + i];
      double reward = 0.0;
      if (kGaussian) {
        const double deviation = tasks == nullptr ? p.own.reward_std : tasks[3 * stride + i];
        reward = arm_mean + deviation * draw[k];
      } else {
        reward = draw[k] < arm_mean ? 1.0 : 0.0;
      }
      const double pulled = pulls[i] < horizon ? pulls[i] + 1.0 : horizon;
      pulls[i] = pulled;
      last_action[i] = static_cast<double>(arm);
      last_reward[i] = reward;
      b.reward[i] = reward;
      b.terminated[i] = pulled == horizon;
      out[arm] = 1.0f;
      out[p.arms] = static_cast<float>(reward);
    }
    finish_rows<TrialBandit<kGaussian>>(b, p, first, first + n);
  }
}

template <bool kGaussian>
struct TrialBanditRows {
  using Model = TrialBandit<kGaussian>;
  METARL_HD void step(const EnvBatch& b, std::int64_t begin, std::int64_t end) {
    step_trial_bandit_rows<kGaussian>(b, begin, end);
  }
  METARL_HD void reset(const EnvBatch& b, const std::uint8_t* mask, std::int64_t begin, std::int64_t end) {
    reset_rows<TrialBandit<kGaussian>>(b, mask, begin, end);
  }
};

}  // namespace
}  // namespace metarl::METARL_ISA_NS
