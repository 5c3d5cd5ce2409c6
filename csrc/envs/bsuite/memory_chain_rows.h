// MemoryChain's rows: the code that the CPU's kernels and the CUDA kernels share; see envs/driver.h.
#pragma once

#include <limits>

#include "envs/bsuite/memory_chain.h"
#include "envs/driver.h"

namespace metarl::METARL_ISA_NS {
namespace {

struct MemoryChain {
  using Real = std::int32_t;
  using Params = memory_chain::Params;
  using State = memory_chain::State;

  METARL_HOST_DEVICE static State load(const Real* f, std::int64_t stride, std::int64_t row) {
    return {f[row],
            f[stride + row],
            f[2 * stride + row],
            f[3 * stride + row],
            f + memory_chain::kFirstBitField * stride + row,
            stride};
  }
  METARL_HOST_DEVICE static void store(const State& s, Real* f, std::int64_t stride, std::int64_t row) {
    f[row] = s.step;
    f[stride + row] = s.query;
    f[2 * stride + row] = s.perfect;
    f[3 * stride + row] = s.mistakes;
  }
  METARL_HOST_DEVICE static State reset(const Params& p, const PhiloxBlock& random, const Real* f, std::int64_t stride,
                                        std::int64_t row) {
    State s = load(f, stride, row);
    s.step = 0;
    s.query = static_cast<std::int32_t>((std::uint64_t{random.v[0]} * static_cast<std::uint32_t>(p.bits)) >> 32);
    return s;
  }
  METARL_HOST_DEVICE static void reset_more(const EnvBatch& b, const Params& p, std::int64_t row) {
    Real* const context = static_cast<Real*>(b.state) + memory_chain::kFirstBitField * b.stride + row;
    PhiloxBlock block = reset_random(b, row);
    for (std::int32_t bit = 0; bit < p.bits; ++bit) {
      const std::int32_t word = 1 + bit / 32;  // the first word makes the query
      if (word % 4 == 0 && bit % 32 == 0) block = reset_random(b, row, static_cast<std::uint32_t>(word / 4));
      context[bit * b.stride] = static_cast<Real>(block.v[word % 4] >> (bit % 32) & 1);
    }
  }
  METARL_HOST_DEVICE static void write_obs(const Params& p, const State& s, void* obs, std::int64_t row) {
    const std::int32_t shown = s.step > 0 ? s.step - 1 : 0;
    float* const out = static_cast<float*>(obs) + row * (p.bits + 2);
    out[0] = p.time[shown];
    out[1] = shown == p.length - 1 ? static_cast<float>(s.query) : 0.0f;
    if (shown == 0) {
      for (std::int32_t bit = 0; bit < p.bits; ++bit) {
        out[2 + bit] = static_cast<float>(2 * s.context[bit * s.stride] - 1);
      }
    } else {
      for (std::int32_t bit = 0; bit < p.bits; ++bit) out[2 + bit] = 0.0f;
    }
  }
  METARL_HOST_DEVICE static std::size_t obs_bytes(const Params& p) {
    return sizeof(float) * static_cast<std::size_t>(p.bits + 2);
  }
};

METARL_HD void count(std::int32_t& counter) { counter += counter < std::numeric_limits<std::int32_t>::max(); }

struct MemoryChainRows {
  using Model = MemoryChain;
  METARL_HD void step(const EnvBatch& batch, std::int64_t begin, std::int64_t end) {
    const EnvBatch b = batch;
    const auto& p = *static_cast<const memory_chain::Params*>(b.params);
    auto* const fields = static_cast<std::int32_t*>(b.state);
    const auto* const actions = static_cast<const std::uint8_t*>(b.actions);
    for (std::int64_t first = begin; first < end; first += kBlockRows) {
      const std::int64_t last = end - first < kBlockRows ? end : first + kBlockRows;
      for (std::int64_t i = first; i < last; ++i) {
        if (b.mode == AutoresetMode::next_step && b.done[i]) continue;  // finish_rows resets it
        memory_chain::State s = MemoryChain::load(fields, b.stride, i);
        double reward = 0.0;
        b.terminated[i] = s.step >= p.length;
        if (s.step <= p.length) {  // beyond: only after a state was set by hand
          if (s.step == p.length) {
            const bool right = actions[i] == s.context[s.query * s.stride];
            reward = right ? 1.0 : -1.0;
            count(right ? s.perfect : s.mistakes);
          }
          ++s.step;
          MemoryChain::store(s, fields, b.stride, i);
        }
        b.reward[i] = reward;
        MemoryChain::write_obs(p, s, b.obs, i);
      }
      finish_rows<MemoryChain>(b, p, first, last);
    }
  }
  METARL_HD void reset(const EnvBatch& b, const std::uint8_t* mask, std::int64_t begin, std::int64_t end) {
    reset_rows<MemoryChain>(b, mask, begin, end);
  }
};

}  // namespace
}  // namespace metarl::METARL_ISA_NS
