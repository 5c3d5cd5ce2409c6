// DiscountingChain's rows: the code that the CPU's kernels and the CUDA kernels share; see envs/driver.h.
#pragma once

#include "envs/bsuite/discounting_chain.h"
#include "envs/driver.h"

namespace metarl::METARL_ISA_NS {
namespace {

struct DiscountingChain {
  using Real = std::int32_t;
  using Params = discounting_chain::Params;
  using TaskParams = std::int32_t;  // the chain that pays more
  using TaskReal = double;
  using State = discounting_chain::State;

  // The task's number is bsuite's mapping seed. NaN: as the environment was made.
  METARL_HOST_DEVICE static TaskParams row_params(const Params& p, const double* t, std::int64_t, std::int64_t row) {
    if (t[row] != t[row]) return p.bonus_chain;
    return static_cast<std::int32_t>(static_cast<std::int64_t>(t[row]) % discounting_chain::kChains);
  }
  METARL_HOST_DEVICE static State load(const Real* f, std::int64_t stride, std::int64_t row) {
    return {f[row], f[stride + row]};
  }
  METARL_HOST_DEVICE static void store(const State& s, Real* f, std::int64_t stride, std::int64_t row) {
    f[row] = s.step;
    f[stride + row] = s.chain;
  }
  template <class P>
  METARL_HOST_DEVICE static State reset(const P&, const PhiloxBlock&, const Real*, std::int64_t, std::int64_t) {
    return {0, -1};
  }
  METARL_HOST_DEVICE static void write_obs(const Params& p, const State& s, void* obs, std::int64_t row) {
    float* const out = static_cast<float*>(obs) + row * 2;
    out[0] = static_cast<float>(s.chain);
    out[1] = p.time[s.step];
  }
  METARL_HOST_DEVICE static std::size_t obs_bytes(const Params&) { return 2 * sizeof(float); }
};

struct DiscountingChainRows {
  using Model = DiscountingChain;
  METARL_HD void step(const EnvBatch& batch, std::int64_t begin, std::int64_t end) {
    const EnvBatch b = batch;
    const auto& p = *static_cast<const discounting_chain::Params*>(b.params);
    const auto* const tasks = static_cast<const double*>(b.task_values);
    auto* const fields = static_cast<std::int32_t*>(b.state);
    const auto* const actions = static_cast<const std::uint8_t*>(b.actions);
    for (std::int64_t first = begin; first < end; first += kBlockRows) {
      const std::int64_t last = end - first < kBlockRows ? end : first + kBlockRows;
      for (std::int64_t i = first; i < last; ++i) {
        discounting_chain::State s = DiscountingChain::load(fields, b.stride, i);
        double reward = 0.0;
        if (s.step < discounting_chain::kLength) {  // else it is reset, or was set by hand
          const std::int32_t bonus =
              tasks == nullptr ? p.bonus_chain : DiscountingChain::row_params(p, tasks, b.stride, i);
          reward = discounting_chain::step(p, bonus, s, actions[i]);
          DiscountingChain::store(s, fields, b.stride, i);
        }
        b.reward[i] = reward;
        b.terminated[i] = s.step == discounting_chain::kLength;
        DiscountingChain::write_obs(p, s, b.obs, i);
      }
      finish_rows<DiscountingChain>(b, p, first, last);
    }
  }
  METARL_HD void reset(const EnvBatch& b, const std::uint8_t* mask, std::int64_t begin, std::int64_t end) {
    reset_rows<DiscountingChain>(b, mask, begin, end);
  }
};

}  // namespace
}  // namespace metarl::METARL_ISA_NS
