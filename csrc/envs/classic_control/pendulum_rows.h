// Pendulum's rows: the code that the CPU's kernels and the CUDA kernels share; see envs/driver.h.
#pragma once

#include "envs/classic_control/pendulum.h"
#include "envs/driver.h"

namespace metarl::METARL_ISA_NS {
namespace {

template <class Real_>
struct Pendulum {
  using Real = Real_;
  using Int = typename IntOfWidth<Real>::type;
  using Action = float;
  using StoredAction = float;
  using Params = pendulum::Params;
  using TaskParams = pendulum::BasicParams<Real>;
  using State = pendulum::State<Real>;
  static constexpr int kObs = 3;

  // In the order of the definition's task_parameters.
  METARL_HOST_DEVICE static TaskParams row_params(const Params&, const Real* t, std::int64_t stride, std::int64_t row) {
    return {t[row],
            t[stride + row],
            t[2 * stride + row],
            t[3 * stride + row],
            t[4 * stride + row],
            t[5 * stride + row],
            t[6 * stride + row],
            t[7 * stride + row]};
  }
  METARL_HOST_DEVICE static State load(const Real* f, std::int64_t stride, std::int64_t row) {
    return {f[row], f[stride + row]};
  }
  METARL_HOST_DEVICE static void store(const State& s, Real* f, std::int64_t stride, std::int64_t row) {
    f[row] = s.theta;
    f[stride + row] = s.theta_dot;
  }
  template <class P>
  METARL_HOST_DEVICE static State reset(const P& p, const PhiloxBlock& random, const Real*, std::int64_t,
                                        std::int64_t) {
    return pendulum::reset<Real>(p, random);
  }
  template <class P>
  METARL_HD Int step(const P& p, State& s, Action action, Real& reward) {
    reward = pendulum::step<Real>(p, s, action);
    return 0;
  }
  METARL_HD void observe(const Params&, const State& s, float* c) {
    const SinCos<Real> t = sincos(s.theta);
    c[0] = static_cast<float>(t.cos);
    c[1] = static_cast<float>(t.sin);
    c[2] = static_cast<float>(s.theta_dot);
  }
  METARL_HOST_DEVICE static void write_obs(const Params& p, const State& s, void* obs, std::int64_t row) {
    write_float_obs<Pendulum>(p, s, obs, row);
  }
  METARL_HOST_DEVICE static std::size_t obs_bytes(const Params&) { return sizeof(float) * kObs; }
};

}  // namespace
}  // namespace metarl::METARL_ISA_NS
