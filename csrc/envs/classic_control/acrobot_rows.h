// Acrobot's rows: the code that the CPU's kernels and the CUDA kernels share; see envs/driver.h.
#pragma once

#include "envs/classic_control/acrobot.h"
#include "envs/driver.h"

namespace metarl::METARL_ISA_NS {
namespace {

template <class Real_>
struct Acrobot {
  using Real = Real_;
  using Int = typename IntOfWidth<Real>::type;
  using Action = Int;
  using StoredAction = std::uint8_t;
  using Params = acrobot::Params;
  using TaskParams = acrobot::BasicParams<Real>;
  using State = acrobot::State<Real>;
  static constexpr int kObs = 6;

  // In the order of the definition's task_parameters.
  METARL_HOST_DEVICE static TaskParams row_params(const Params& p, const Real* t, std::int64_t stride,
                                                  std::int64_t row) {
    return {t[row],
            t[stride + row],
            t[2 * stride + row],
            t[3 * stride + row],
            t[4 * stride + row],
            t[5 * stride + row],
            t[6 * stride + row],
            t[7 * stride + row],
            t[8 * stride + row],
            t[9 * stride + row],
            t[10 * stride + row],
            t[11 * stride + row],
            static_cast<Real>(p.centrifugal)};
  }
  METARL_HOST_DEVICE static State load(const Real* f, std::int64_t stride, std::int64_t row) {
    return {f[row], f[stride + row], f[2 * stride + row], f[3 * stride + row]};
  }
  METARL_HOST_DEVICE static void store(const State& s, Real* f, std::int64_t stride, std::int64_t row) {
    f[row] = s.theta1;
    f[stride + row] = s.theta2;
    f[2 * stride + row] = s.dtheta1;
    f[3 * stride + row] = s.dtheta2;
  }
  template <class P>
  METARL_HOST_DEVICE static State reset(const P& p, const PhiloxBlock& random, const Real*, std::int64_t,
                                        std::int64_t) {
    return acrobot::reset<Real>(p, random);
  }
  template <class P>
  METARL_HD Int step(const P& p, State& s, Action action, Real& reward) {
    const Int ended = acrobot::step<Real, Int>(p, s, action);
    reward = static_cast<Real>(ended - 1);
    return ended;
  }
  METARL_HD void observe(const Params&, const State& s, float* c) {
    const SinCos<Real> t1 = sincos(s.theta1);
    const SinCos<Real> t2 = sincos(s.theta2);
    c[0] = static_cast<float>(t1.cos);
    c[1] = static_cast<float>(t1.sin);
    c[2] = static_cast<float>(t2.cos);
    c[3] = static_cast<float>(t2.sin);
    c[4] = static_cast<float>(s.dtheta1);
    c[5] = static_cast<float>(s.dtheta2);
  }
  METARL_HOST_DEVICE static void write_obs(const Params& p, const State& s, void* obs, std::int64_t row) {
    write_float_obs<Acrobot>(p, s, obs, row);
  }
  METARL_HOST_DEVICE static std::size_t obs_bytes(const Params&) { return sizeof(float) * kObs; }
};

}  // namespace
}  // namespace metarl::METARL_ISA_NS
