// CartPole's rows: the code that the CPU's kernels and the CUDA kernels share; see envs/driver.h.
#pragma once

#include "envs/classic_control/cartpole.h"
#include "envs/driver.h"

namespace metarl::METARL_ISA_NS {
namespace {

// The integration rule is a template argument: as a condition in the loop it would keep it from being vectorised.
template <class Real_, bool kSemiImplicit>
struct CartPole {
  using Real = Real_;
  using Int = typename IntOfWidth<Real>::type;
  using Action = Int;
  using StoredAction = std::uint8_t;
  using Params = cartpole::Params;
  using TaskParams = cartpole::BasicParams<Real>;
  using State = cartpole::State<Real>;
  static constexpr int kObs = 4;

  // In the order of the definition's task_parameters.
  METARL_HOST_DEVICE static TaskParams row_params(const Params&, const Real* t, std::int64_t stride, std::int64_t row) {
    const Real sutton_barto = t[9 * stride + row];
    return {t[row],
            t[stride + row],
            t[2 * stride + row],
            t[3 * stride + row],
            t[4 * stride + row],
            t[5 * stride + row],
            t[6 * stride + row],
            t[7 * stride + row],
            t[8 * stride + row],
            Real{1} - sutton_barto,
            Real{1} - Real{2} * sutton_barto};
  }
  METARL_HOST_DEVICE static State load(const Real* f, std::int64_t stride, std::int64_t row) {
    return {f[row], f[stride + row], f[2 * stride + row], f[3 * stride + row]};
  }
  METARL_HOST_DEVICE static void store(const State& s, Real* f, std::int64_t stride, std::int64_t row) {
    f[row] = s.x;
    f[stride + row] = s.x_dot;
    f[2 * stride + row] = s.theta;
    f[3 * stride + row] = s.theta_dot;
  }
  template <class P>
  METARL_HOST_DEVICE static State reset(const P& p, const PhiloxBlock& random, const Real*, std::int64_t,
                                        std::int64_t) {
    return cartpole::reset<Real>(p, random);
  }
  template <class P>
  METARL_HD Int step(const P& p, State& s, Action action, Real& reward) {
    const Real step_reward = static_cast<Real>(p.step_reward);
    const Real end_reward = static_cast<Real>(p.end_reward);
    const Int ended = cartpole::step<kSemiImplicit, Real, Int>(p, s, action);
    reward = ended ? end_reward : step_reward;
    return ended;
  }
  METARL_HD void observe(const Params&, const State& s, float* c) {
    c[0] = static_cast<float>(s.x);
    c[1] = static_cast<float>(s.x_dot);
    c[2] = static_cast<float>(s.theta);
    c[3] = static_cast<float>(s.theta_dot);
  }
  METARL_HOST_DEVICE static void write_obs(const Params& p, const State& s, void* obs, std::int64_t row) {
    write_float_obs<CartPole>(p, s, obs, row);
  }
  METARL_HOST_DEVICE static std::size_t obs_bytes(const Params&) { return sizeof(float) * kObs; }
};

template <class Real>
using EulerCartPole = CartPole<Real, false>;
template <class Real>
using SemiImplicitCartPole = CartPole<Real, true>;

}  // namespace
}  // namespace metarl::METARL_ISA_NS
