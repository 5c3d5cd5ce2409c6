#include "envs/bsuite/deep_sea.h"
#include "envs/driver.h"
#include "envs/kernels.h"

namespace metarl::METARL_ISA_NS {
namespace {

struct DeepSea {
  using Real = std::int32_t;
  using Params = deep_sea::Params;
  using State = deep_sea::State;

  static State load(const Real* f, std::int64_t stride, std::int64_t row) {
    return {f[row], f[stride + row], f[2 * stride + row], f[3 * stride + row], f[4 * stride + row]};
  }
  static void store(const State& s, Real* f, std::int64_t stride, std::int64_t row) {
    f[row] = s.row;
    f[stride + row] = s.column;
    f[2 * stride + row] = s.bad;
    f[3 * stride + row] = s.total_bad;
    f[4 * stride + row] = s.treasures;
  }
  // The counters go on over episodes.
  static State reset(const Params&, const PhiloxBlock&, const Real* f, std::int64_t stride, std::int64_t row) {
    return {0, 0, 0, f[3 * stride + row], f[4 * stride + row]};
  }
  static void write_obs(const Params& p, const State& s, void* obs, std::int64_t row) {
    const std::int64_t cells = std::int64_t{p.size} * p.size;
    float* const out = static_cast<float*>(obs) + row * cells;
    std::memset(out, 0, obs_bytes(p));
    if (s.row < p.size) out[s.row * p.size + s.column] = 1.0f;
  }
  static std::size_t obs_bytes(const Params& p) {
    return sizeof(float) * static_cast<std::size_t>(p.size) * static_cast<std::size_t>(p.size);
  }
};

}  // namespace

void deep_sea_step(const EnvBatch& batch, std::int64_t begin, std::int64_t end) {
  const EnvBatch b = batch;
  const auto& p = *static_cast<const deep_sea::Params*>(b.params);
  const std::uint8_t* const mapping = p.mapping.data();
  auto* const fields = static_cast<std::int32_t*>(b.state);
  const auto* const actions = static_cast<const std::uint8_t*>(b.actions);
  const std::int64_t cells = std::int64_t{p.size} * p.size;
  for (std::int64_t first = begin; first < end; first += kBlockRows) {
    const std::int64_t last = end - first < kBlockRows ? end : first + kBlockRows;
    for (std::int64_t i = first; i < last; ++i) {
      b.end_flag[i] = 0;
      b.reward[i] = 0.0;
      b.terminated[i] = 0;
      if (b.done[i]) continue;  // finish_rows resets it
      deep_sea::State s = DeepSea::load(fields, b.stride, i);
      if (s.row >= p.size) {  // only after a state was set by hand
        b.terminated[i] = 1;
        DeepSea::write_obs(p, s, b.obs, i);
        continue;
      }
      float* const obs = static_cast<float*>(b.obs) + i * cells;
      if (b.obs_holds_last) obs[s.row * p.size + s.column] = 0.0f;
      deep_sea::Draws draws{0.0, 1.0};
      if (b.draws != nullptr) {
        draws = {b.draws[2 * i], b.draws[2 * i + 1]};
      } else if (!p.deterministic) {
        draws = deep_sea::draws_from(step_random(b, i));
      }
      b.reward[i] = deep_sea::step(p, mapping, s, actions[i], draws);
      if (s.row == p.size) {
        b.terminated[i] = 1;
        b.end_flag[i] = static_cast<std::uint8_t>(s.bad);
        s.total_bad += s.bad != 0 && s.total_bad < std::numeric_limits<std::int32_t>::max();
      }
      DeepSea::store(s, fields, b.stride, i);
      if (!b.obs_holds_last) {
        DeepSea::write_obs(p, s, b.obs, i);
      } else if (s.row < p.size) {
        obs[s.row * p.size + s.column] = 1.0f;
      }
    }
    finish_rows<DeepSea>(b, p, first, last);
  }
}

void deep_sea_reset(const EnvBatch& b, const std::uint8_t* mask, std::int64_t begin, std::int64_t end) {
  reset_rows<DeepSea>(b, mask, begin, end);
}

}  // namespace metarl::METARL_ISA_NS
