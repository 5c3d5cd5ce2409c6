// The random MDPs' rows: the code that the CPU's kernels and the CUDA kernels share; see envs/driver.h.
#pragma once

#include "envs/bsuite/bandit.h"
#include "envs/driver.h"
#include "envs/meta/random_mdp.h"
#include "envs/meta/task_random.h"

namespace metarl::METARL_ISA_NS {
namespace {

using random_mdp::pair_block;

struct RandomMdp {
  using Real = double;
  using Params = random_mdp::Params;
  using TaskParams = random_mdp::Task;
  using State = random_mdp::State;

  METARL_HOST_DEVICE static TaskParams row_params(const Params&, const Real* t, std::int64_t stride, std::int64_t row) {
    return {t[row], t[stride + row], t[2 * stride + row], t[3 * stride + row]};
  }
  METARL_HOST_DEVICE static State load(const Real* f, std::int64_t stride, std::int64_t row) {
    return {
        f[row], f[stride + row], f[2 * stride + row], f[3 * stride + row], {f[4 * stride + row], f[5 * stride + row]}};
  }
  METARL_HOST_DEVICE static void store(const State& s, Real* f, std::int64_t stride, std::int64_t row) {
    f[row] = s.state;
    f[stride + row] = s.step;
    f[2 * stride + row] = s.last_action;
    f[3 * stride + row] = s.last_reward;
    f[4 * stride + row] = s.name[0];
    f[5 * stride + row] = s.name[1];
  }
  template <class P>
  METARL_HOST_DEVICE static State reset(const P&, const PhiloxBlock&, const Real*, std::int64_t, std::int64_t) {
    return {0.0, 0.0, -1.0, 0.0, {0.0, 0.0}};
  }
  METARL_HOST_DEVICE static void reset_more(const EnvBatch& b, const Params& p, std::int64_t row) {
    const PhiloxBlock name = generate(task_source(b, row, task_of<RandomMdp>(b, p, row).seed), 0);
    Real* const fields = static_cast<Real*>(b.state) + row;
    fields[4 * b.stride] = name.v[0];
    fields[5 * b.stride] = name.v[1];
  }
  METARL_HOST_DEVICE static void write_obs(const Params& p, const State& s, void* obs, std::int64_t row) {
    if (!p.history) {
      static_cast<std::int64_t*>(obs)[row] = static_cast<std::int64_t>(s.state);
      return;
    }
    const std::int64_t width = history_size(p);
    float* const out = static_cast<float*>(obs) + row * width;
    for (std::int64_t j = 0; j < width; ++j) out[j] = 0.0f;
    out[static_cast<std::int64_t>(s.state)] = 1.0f;
    if (s.last_action >= 0) out[p.states + static_cast<std::int64_t>(s.last_action)] = 1.0f;
    out[width - 2] = static_cast<float>(s.last_reward);
    out[width - 1] = s.step > 0 && static_cast<std::int32_t>(s.step) % p.horizon == 0 ? 1.0f : 0.0f;
  }
  METARL_HOST_DEVICE static std::int64_t history_size(const Params& p) { return p.states + p.actions + 2; }
  METARL_HOST_DEVICE static std::size_t obs_bytes(const Params& p) {
    return p.history ? sizeof(float) * static_cast<std::size_t>(history_size(p)) : sizeof(std::int64_t);
  }
};

// Of at most kBlockRows rows: standard normal numbers from words 0 and 1.
METARL_HD void normals_from(const std::uint32_t (*word)[kBlockRows], std::int64_t count, double* out) {
  METARL_VECTORIZE
  for (std::int64_t k = 0; k < count; ++k) out[k] = bandit::normal_from(PhiloxBlock{{word[0][k], word[1][k], 0, 0}});
}

struct RandomMdpRows {
  using Model = RandomMdp;
  METARL_HD void step(const EnvBatch& batch, std::int64_t begin, std::int64_t end) {
    const EnvBatch b = batch;
    const auto& p = *static_cast<const random_mdp::Params*>(b.params);
    const std::int64_t stride = b.stride;
    double* const fields = static_cast<double*>(b.state);
    const double* const tasks = static_cast<const double*>(b.task_values);
    const auto* const actions = static_cast<const std::uint8_t*>(b.actions);
    const std::int32_t points = p.states - 1;
    const std::int32_t last_step = p.horizon * p.episodes;
    const bool resets = b.mode == AutoresetMode::next_step;
    alignas(64) std::uint64_t name[kBlockRows];
    alignas(64) std::uint32_t pair[kBlockRows], draw[kBlockRows], next[kBlockRows], word[4][kBlockRows];
    alignas(64) double noise[kBlockRows], mean[kBlockRows];
    for (std::int64_t first = begin; first < end; first += kBlockRows) {
      const std::int64_t n = end - first < kBlockRows ? end - first : kBlockRows;
      if (b.draws != nullptr) {
        for (std::int64_t k = 0; k < n; ++k) {
          noise[k] = b.draws[2 * (first + k)];
          draw[k] = static_cast<std::uint32_t>(b.draws[2 * (first + k) + 1] * 0x1.0p32);
        }
      } else {
        METARL_VECTORIZE
        for (std::int64_t k = 0; k < n; ++k) {
          const PhiloxBlock random = step_random(b, first + k);
          word[0][k] = random.v[0];
          word[1][k] = random.v[1];
          draw[k] = random.v[2];
        }
        normals_from(word, n, noise);
      }
      for (std::int64_t k = 0; k < n; ++k) {
        const std::int64_t i = first + k;
        name[k] = static_cast<std::uint64_t>(fields[4 * stride + i]) |
                  static_cast<std::uint64_t>(fields[5 * stride + i]) << 32;
        pair[k] = static_cast<std::uint32_t>(static_cast<std::int32_t>(fields[i]) * p.actions + actions[i]);
        next[k] = 0;
      }
      METARL_VECTORIZE
      for (std::int64_t k = 0; k < n; ++k) {
        const PhiloxBlock random = pair_block(name[k], pair[k], 0);
        word[0][k] = random.v[0];
        word[1][k] = random.v[1];
      }
      normals_from(word, n, mean);
      for (std::int32_t counted = 0; counted < points; counted += 4) {
        const auto block = static_cast<std::uint32_t>(1 + counted / 4);
        const std::uint32_t second = points - counted > 1;  // 0 where there are no more points
        const std::uint32_t third = points - counted > 2;
        const std::uint32_t fourth = points - counted > 3;
        METARL_VECTORIZE
        for (std::int64_t k = 0; k < n; ++k) {
          const PhiloxBlock c = pair_block(name[k], pair[k], block);
          const std::uint32_t u = draw[k];
          next[k] += std::uint32_t{c.v[0] <= u} + (second & std::uint32_t{c.v[1] <= u}) +
                     (third & std::uint32_t{c.v[2] <= u}) + (fourth & std::uint32_t{c.v[3] <= u});
        }
      }
      for (std::int64_t k = 0; k < n; ++k) {
        const std::int64_t i = first + k;
        if (resets && b.done[i]) continue;  // finish_rows resets it
        const random_mdp::Task task = tasks == nullptr ? p.own : RandomMdp::row_params(p, tasks, stride, i);
        random_mdp::State s = RandomMdp::load(fields, stride, i);
        const double reward = task.reward_mean + task.reward_mean_std * mean[k] + task.reward_std * noise[k];
        const std::int32_t taken = static_cast<std::int32_t>(s.step) + (s.step < last_step);
        const bool starts_again = taken % p.horizon == 0 && taken < last_step;
        s.state = starts_again ? 0.0 : next[k];
        s.step = taken;
        s.last_action = actions[i];
        s.last_reward = reward;
        RandomMdp::store(s, fields, stride, i);
        b.reward[i] = reward;
        b.terminated[i] = taken == last_step;
        RandomMdp::write_obs(p, s, b.obs, i);
      }
      finish_rows<RandomMdp>(b, p, first, first + n);
    }
  }
  METARL_HD void reset(const EnvBatch& b, const std::uint8_t* mask, std::int64_t begin, std::int64_t end) {
    reset_rows<RandomMdp>(b, mask, begin, end);
  }
};

}  // namespace
}  // namespace metarl::METARL_ISA_NS
