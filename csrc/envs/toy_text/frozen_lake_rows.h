// FrozenLake's rows: the code that the CPU's kernels and the CUDA kernels share; see envs/driver.h.
#pragma once

#include "envs/driver.h"
#include "envs/toy_text/frozen_lake.h"

namespace metarl::METARL_ISA_NS {
namespace {

struct FrozenLake {
  using Real = std::int32_t;
  using Params = frozen_lake::Params;
  using TaskParams = frozen_lake::Task;
  using TaskReal = double;
  using State = std::int32_t;

  METARL_HOST_DEVICE static TaskParams row_params(const Params& p, const double* t, std::int64_t stride,
                                                  std::int64_t row) {
    using namespace frozen_lake;
    static constexpr std::int32_t kFirstCell[1] = {0};  // where generated maps start
    const auto number = [&](int column) { return t[column * stride + row]; };
    const auto reward = [&](int column, Cell cell) {
      return number(column) == number(column) ? number(column) : p.own.reward[cell];
    };
    const double success_rate = number(kSuccessRate);
    const bool generated = number(kMapSeed) == number(kMapSeed);
    return {{.slippery = number(kSlippery) != 0,
             .success_rate = success_rate,
             .fail_rate = (1.0 - success_rate) / 2.0,
             .reward = {reward(kFrozenReward, kFrozen), reward(kHoleReward, kHole), reward(kGoalReward, kGoal)}},
            generated ? kFirstCell : p.starts,
            generated ? 1 : p.num_starts};
  }
  METARL_HOST_DEVICE static State load(const Real* f, std::int64_t, std::int64_t row) { return f[row]; }
  METARL_HOST_DEVICE static void store(State s, Real* f, std::int64_t, std::int64_t row) { f[row] = s; }
  METARL_HOST_DEVICE static State reset(const Params& p, const PhiloxBlock& random, const Real*, std::int64_t,
                                        std::int64_t) {
    return p.starts[(std::uint64_t{random.v[0]} * p.num_starts) >> 32];
  }
  METARL_HOST_DEVICE static State reset(const TaskParams& task, const PhiloxBlock& random, const Real*, std::int64_t,
                                        std::int64_t) {
    return task.starts[(std::uint64_t{random.v[0]} * task.num_starts) >> 32];
  }
  METARL_HOST_DEVICE static void write_obs(const Params&, State s, void* obs, std::int64_t row) {
    static_cast<std::int64_t*>(obs)[row] = s;
  }
  METARL_HOST_DEVICE static std::size_t obs_bytes(const Params&) { return sizeof(std::int64_t); }
};

// kTasks: with the rules and the map of each row.
template <bool kTasks>
METARL_HD void step_lake_rows(const EnvBatch& batch, std::int64_t begin, std::int64_t end) {
  const EnvBatch b = batch;
  const auto& p = *static_cast<const frozen_lake::Params*>(b.params);
  const frozen_lake::Rules rules = p.own;
  const frozen_lake::Tables tables{p.next, p.kind};
  auto* const cells = static_cast<std::int32_t*>(b.state);
  const auto* const actions = static_cast<const std::uint8_t*>(b.actions);
  auto* const obs = static_cast<std::int64_t*>(b.obs);
  [[maybe_unused]] const auto* const tasks = static_cast<const double*>(b.task_values);
  alignas(64) double uniform[kBlockRows];
  for (std::int64_t first = begin; first < end; first += kBlockRows) {
    const std::int64_t n = end - first < kBlockRows ? end - first : kBlockRows;
    if (b.draws != nullptr) {
      for (std::int64_t k = 0; k < n; ++k) uniform[k] = b.draws[first + k];
    } else if (kTasks || p.own.slippery) {
      step_uniforms(b, first, n, uniform);
    } else {
      for (std::int64_t k = 0; k < n; ++k) uniform[k] = 0.0;
    }
    for (std::int64_t k = 0; k < n; ++k) {
      const std::int64_t i = first + k;
      frozen_lake::Outcome o;
      if constexpr (kTasks) {
        const frozen_lake::Tables own{tables.next, b.layouts + i * b.layout_bytes};
        o = frozen_lake::step(FrozenLake::row_params(p, tasks, b.stride, i).rules, own, cells[i], actions[i],
                              uniform[k]);
      } else {
        o = frozen_lake::step(rules, tables, cells[i], actions[i], uniform[k]);
      }
      cells[i] = o.cell;
      obs[i] = o.cell;
      b.reward[i] = o.reward;
      b.terminated[i] = o.ended;
      if (b.prob != nullptr) b.prob[i] = o.probability;
    }
    finish_rows<FrozenLake>(b, p, first, first + n);
  }
}

struct FrozenLakeRows {
  using Model = FrozenLake;
  METARL_HD void step(const EnvBatch& b, std::int64_t begin, std::int64_t end) {
    if (b.task_values != nullptr) return step_lake_rows<true>(b, begin, end);
    step_lake_rows<false>(b, begin, end);
  }
  METARL_HD void reset(const EnvBatch& b, const std::uint8_t* mask, std::int64_t begin, std::int64_t end) {
    reset_rows<FrozenLake>(b, mask, begin, end);
  }
};

}  // namespace
}  // namespace metarl::METARL_ISA_NS
