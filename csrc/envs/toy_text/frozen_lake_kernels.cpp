#include "envs/driver.h"
#include "envs/kernels.h"
#include "envs/toy_text/frozen_lake.h"

namespace metarl::METARL_ISA_NS {
namespace {

struct FrozenLake {
  using Real = std::int32_t;
  using Params = frozen_lake::Params;
  using State = std::int32_t;

  static State load(const Real* f, std::int64_t, std::int64_t row) { return f[row]; }
  static void store(State s, Real* f, std::int64_t, std::int64_t row) { f[row] = s; }
  static State reset(const Params& p, const PhiloxBlock& random, const Real*, std::int64_t, std::int64_t) {
    const auto* const begin = &*p.starts.begin();
    const auto count = static_cast<std::uint64_t>(&*p.starts.end() - begin);
    return begin[(std::uint64_t{random.v[0]} * count) >> 32];
  }
  static void write_obs(const Params&, State s, void* obs, std::int64_t row) {
    static_cast<std::int64_t*>(obs)[row] = s;
  }
  static std::size_t obs_bytes(const Params&) { return sizeof(std::int64_t); }
};

}  // namespace

void frozen_lake_step(const EnvBatch& batch, std::int64_t begin, std::int64_t end) {
  const EnvBatch b = batch;
  const auto& p = *static_cast<const frozen_lake::Params*>(b.params);
  const frozen_lake::Tables tables{&*p.next.begin(), &*p.kind.begin()};
  auto* const cells = static_cast<std::int32_t*>(b.state);
  const auto* const actions = static_cast<const std::uint8_t*>(b.actions);
  auto* const obs = static_cast<std::int64_t*>(b.obs);
  alignas(64) double uniform[kBlockRows];
  for (std::int64_t first = begin; first < end; first += kBlockRows) {
    const std::int64_t n = end - first < kBlockRows ? end - first : kBlockRows;
    if (b.draws != nullptr) {
      for (std::int64_t k = 0; k < n; ++k) uniform[k] = b.draws[first + k];
    } else if (p.slippery) {
      step_uniforms(b, first, n, uniform);
    } else {
      for (std::int64_t k = 0; k < n; ++k) uniform[k] = 0.0;
    }
    for (std::int64_t k = 0; k < n; ++k) {
      const std::int64_t i = first + k;
      const frozen_lake::Outcome o = frozen_lake::step(p, tables, cells[i], actions[i], uniform[k]);
      cells[i] = o.cell;
      obs[i] = o.cell;
      b.reward[i] = o.reward;
      b.terminated[i] = o.ended;
      if (b.prob != nullptr) b.prob[i] = o.probability;
    }
    finish_rows<FrozenLake>(b, p, first, first + n);
  }
}

void frozen_lake_reset(const EnvBatch& b, const std::uint8_t* mask, std::int64_t begin, std::int64_t end) {
  reset_rows<FrozenLake>(b, mask, begin, end);
}

}  // namespace metarl::METARL_ISA_NS
