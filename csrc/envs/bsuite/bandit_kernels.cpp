#include "envs/bsuite/bandit.h"
#include "envs/driver.h"
#include "envs/kernels.h"

namespace metarl::METARL_ISA_NS {
namespace {

// The state is the regret so far.
struct Bandit {
  using Real = double;
  using Params = bandit::Params;
  using State = double;

  static State load(const Real* f, std::int64_t, std::int64_t row) { return f[row]; }
  static void store(State s, Real* f, std::int64_t, std::int64_t row) { f[row] = s; }
  static State reset(const Params&, const PhiloxBlock&, const Real* f, std::int64_t, std::int64_t row) {
    return f[row];
  }
  static void write_obs(const Params&, State, void* obs, std::int64_t row) { static_cast<float*>(obs)[row] = 1.0f; }
  static std::size_t obs_bytes(const Params&) { return sizeof(float); }
};

}  // namespace

void bandit_step(const EnvBatch& batch, std::int64_t begin, std::int64_t end) {
  const EnvBatch b = batch;
  const auto& p = *static_cast<const bandit::Params*>(b.params);
  auto* const regret = static_cast<double*>(b.state);
  auto* const obs = static_cast<float*>(b.obs);
  const auto* const actions = static_cast<const std::uint8_t*>(b.actions);
  const bool noisy = p.noise_scale != 0.0;
  const std::uint8_t resets = b.mode == AutoresetMode::next_step;
  double normal[kBlockRows];
  for (std::int64_t first = begin; first < end; first += kBlockRows) {
    const std::int64_t n = end - first < kBlockRows ? end - first : kBlockRows;
    if (noisy && b.draws != nullptr) {
      for (std::int64_t k = 0; k < n; ++k) normal[k] = b.draws[first + k];
    } else if (noisy) {
      for (std::int64_t k = 0; k < n; ++k) normal[k] = bandit::normal_from(step_random(b, first + k));
    }
    for (std::int64_t k = 0; k < n; ++k) {
      const std::int64_t i = first + k;
      const double mean = p.mean[actions[i]];
      regret[i] += (b.done[i] & resets) ? 0.0 : 1.0 - mean;
      b.reward[i] = mean * p.reward_scale + (noisy ? p.noise_scale * normal[k] : 0.0);
      b.terminated[i] = 1;
      obs[i] = 1.0f;
    }
    finish_rows<Bandit>(b, p, first, first + n);
  }
}

void bandit_reset(const EnvBatch& b, const std::uint8_t* mask, std::int64_t begin, std::int64_t end) {
  reset_rows<Bandit>(b, mask, begin, end);
}

}  // namespace metarl::METARL_ISA_NS
