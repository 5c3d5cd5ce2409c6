// DeepSea's rows: the code that the CPU's kernels and the CUDA kernels share; see envs/driver.h.
#pragma once

#include "envs/bsuite/deep_sea.h"
#include "envs/driver.h"

namespace metarl::METARL_ISA_NS {
namespace {

struct DeepSea {
  using Real = std::int32_t;
  using Params = deep_sea::Params;
  using TaskParams = deep_sea::Rules;
  using TaskReal = double;
  using State = deep_sea::State;

  METARL_HOST_DEVICE static TaskParams row_params(const Params& p, const double* t, std::int64_t stride,
                                                  std::int64_t row) {
    deep_sea::Rules rules = p.own;
    rules.deterministic = t[deep_sea::kDeterministic * stride + row] != 0;
    rules.move_cost = t[deep_sea::kUnscaledMoveCost * stride + row] / p.own.size;
    return rules;
  }
  METARL_HOST_DEVICE static State load(const Real* f, std::int64_t stride, std::int64_t row) {
    return {f[row], f[stride + row], f[2 * stride + row], f[3 * stride + row], f[4 * stride + row]};
  }
  METARL_HOST_DEVICE static void store(const State& s, Real* f, std::int64_t stride, std::int64_t row) {
    f[row] = s.row;
    f[stride + row] = s.column;
    f[2 * stride + row] = s.bad;
    f[3 * stride + row] = s.total_bad;
    f[4 * stride + row] = s.treasures;
  }
  // The counters go on over episodes.
  template <class P>
  METARL_HOST_DEVICE static State reset(const P&, const PhiloxBlock&, const Real* f, std::int64_t stride,
                                        std::int64_t row) {
    return {0, 0, 0, f[3 * stride + row], f[4 * stride + row]};
  }
  METARL_HOST_DEVICE static void write_obs(const Params& p, const State& s, void* obs, std::int64_t row) {
    const std::int32_t size = p.own.size;
    const std::int64_t cells = std::int64_t{size} * size;
    float* const out = static_cast<float*>(obs) + row * cells;
    std::memset(out, 0, obs_bytes(p));
    if (s.row < size) out[s.row * size + s.column] = 1.0f;
  }
  METARL_HOST_DEVICE static std::size_t obs_bytes(const Params& p) {
    return sizeof(float) * static_cast<std::size_t>(p.own.size) * static_cast<std::size_t>(p.own.size);
  }
};

// kTasks: with the rules and the mapping of each row.
template <bool kTasks>
METARL_HD void step_sea_rows(const EnvBatch& batch, std::int64_t begin, std::int64_t end) {
  const EnvBatch b = batch;
  const auto& p = *static_cast<const deep_sea::Params*>(b.params);
  deep_sea::Rules rules = p.own;
  const std::int32_t size = rules.size;
  const std::uint8_t* mapping = p.mapping;
  [[maybe_unused]] const auto* const tasks = static_cast<const double*>(b.task_values);
  auto* const fields = static_cast<std::int32_t*>(b.state);
  const auto* const actions = static_cast<const std::uint8_t*>(b.actions);
  const std::int64_t cells = std::int64_t{size} * size;
  for (std::int64_t first = begin; first < end; first += kBlockRows) {
    const std::int64_t last = end - first < kBlockRows ? end : first + kBlockRows;
    for (std::int64_t i = first; i < last; ++i) {
      b.end_flag[i] = 0;
      b.reward[i] = 0.0;
      b.terminated[i] = 0;
      if (b.done[i]) continue;  // finish_rows resets it
      deep_sea::State s = DeepSea::load(fields, b.stride, i);
      if (s.row >= size) {  // only after a state was set by hand
        b.terminated[i] = 1;
        DeepSea::write_obs(p, s, b.obs, i);
        continue;
      }
      float* const obs = static_cast<float*>(b.obs) + i * cells;
      if (b.obs_holds_last) obs[s.row * size + s.column] = 0.0f;
      if constexpr (kTasks) {
        rules = DeepSea::row_params(p, tasks, b.stride, i);
        mapping = b.layouts + i * b.layout_bytes;
      }
      deep_sea::Draws draws{0.0, 1.0};
      if (b.draws != nullptr) {
        draws = {b.draws[2 * i], b.draws[2 * i + 1]};
      } else if (!rules.deterministic) {
        draws = deep_sea::draws_from(step_random(b, i));
      }
      b.reward[i] = deep_sea::step(rules, mapping, s, actions[i], draws);
      if (s.row == size) {
        b.terminated[i] = 1;
        b.end_flag[i] = static_cast<std::uint8_t>(s.bad);
        s.total_bad += s.bad != 0 && s.total_bad < std::numeric_limits<std::int32_t>::max();
      }
      DeepSea::store(s, fields, b.stride, i);
      if (!b.obs_holds_last) {
        DeepSea::write_obs(p, s, b.obs, i);
      } else if (s.row < size) {
        obs[s.row * size + s.column] = 1.0f;
      }
    }
    finish_rows<DeepSea>(b, p, first, last);
  }
}

struct DeepSeaRows {
  using Model = DeepSea;
  METARL_HD void step(const EnvBatch& b, std::int64_t begin, std::int64_t end) {
    if (b.task_values != nullptr) return step_sea_rows<true>(b, begin, end);
    step_sea_rows<false>(b, begin, end);
  }
  METARL_HD void reset(const EnvBatch& b, const std::uint8_t* mask, std::int64_t begin, std::int64_t end) {
    reset_rows<DeepSea>(b, mask, begin, end);
  }
};

}  // namespace
}  // namespace metarl::METARL_ISA_NS
