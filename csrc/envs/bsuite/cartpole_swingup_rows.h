// CartPole swing-up's rows: the code that the CPU's kernels and the CUDA kernels share; see envs/driver.h.
#pragma once

#include "envs/bsuite/cartpole_swingup.h"
#include "envs/driver.h"

namespace metarl::METARL_ISA_NS {
namespace {

template <class Real_>
struct CartPoleSwingup {
  using Real = Real_;
  using Int = typename IntOfWidth<Real>::type;
  using Action = Int;
  using StoredAction = std::uint8_t;
  using Params = cartpole_swingup::Params;
  using TaskParams = cartpole_swingup::BasicParams<Real>;
  using State = cartpole_swingup::State<Real>;
  static constexpr int kObs = 8;

  // In the order of the definition's task_parameters. What an observation is made with is everyone's.
  METARL_HOST_DEVICE static TaskParams row_params(const Params& p, const Real* t, std::int64_t stride,
                                                  std::int64_t row) {
    return {.height_threshold = t[row],
            .theta_dot_threshold = static_cast<Real>(p.theta_dot_threshold),
            .x_reward_threshold = static_cast<Real>(p.x_reward_threshold),
            .move_cost = t[stride + row],
            .x_threshold = static_cast<Real>(p.x_threshold),
            .timescale = t[2 * stride + row],
            .max_time = static_cast<Real>(p.max_time),
            .init_range = t[3 * stride + row],
            .mass_cart = t[4 * stride + row],
            .mass_pole = t[5 * stride + row],
            .length = t[6 * stride + row],
            .force_mag = t[7 * stride + row],
            .gravity = t[8 * stride + row]};
  }
  METARL_HOST_DEVICE static State load(const Real* f, std::int64_t stride, std::int64_t row) {
    return {f[row],
            f[stride + row],
            f[2 * stride + row],
            f[3 * stride + row],
            f[4 * stride + row],
            f[5 * stride + row],
            f[6 * stride + row],
            f[7 * stride + row],
            f[8 * stride + row]};
  }
  METARL_HOST_DEVICE static void store(const State& s, Real* f, std::int64_t stride, std::int64_t row) {
    f[row] = s.x;
    f[stride + row] = s.x_dot;
    f[2 * stride + row] = s.theta;
    f[3 * stride + row] = s.theta_dot;
    f[4 * stride + row] = s.time;
    f[5 * stride + row] = s.episode_return;
    f[6 * stride + row] = s.raw_return;
    f[7 * stride + row] = s.best_episode;
    f[8 * stride + row] = s.total_upright;
  }
  template <class P>
  METARL_HOST_DEVICE static State reset(const P& p, const PhiloxBlock& random, const Real* f, std::int64_t stride,
                                        std::int64_t row) {
    return cartpole_swingup::reset<Real>(p, random, load(f, stride, row));
  }
  template <class P>
  METARL_HD Int step(const P& p, State& s, Action action, Real& reward, Int live) {
    return cartpole_swingup::step<Real, Int>(p, s, action, live, reward);
  }
  METARL_HD void observe(const Params& p, const State& s, float* c) { cartpole_swingup::observe<Real>(p, s, c); }
  METARL_HOST_DEVICE static void write_obs(const Params& p, const State& s, void* obs, std::int64_t row) {
    write_float_obs<CartPoleSwingup>(p, s, obs, row);
  }
  METARL_HOST_DEVICE static std::size_t obs_bytes(const Params&) { return sizeof(float) * kObs; }
};

}  // namespace
}  // namespace metarl::METARL_ISA_NS
