// MountainCarContinuous' rows: the code that the CPU's kernels and the CUDA kernels share; see envs/driver.h.
#pragma once

#include "envs/classic_control/mountain_car_continuous.h"
#include "envs/driver.h"

namespace metarl::METARL_ISA_NS {
namespace {

template <class Real_>
struct MountainCarContinuous {
  using Real = Real_;
  using Int = typename IntOfWidth<Real>::type;
  using Action = float;
  using StoredAction = float;
  using Params = mountain_car_continuous::Params;
  using TaskParams = mountain_car_continuous::BasicParams<Real>;
  using State = mountain_car_continuous::State<Real>;
  static constexpr int kObs = 2;

  // In the order of the definition's task_parameters.
  METARL_HOST_DEVICE static TaskParams row_params(const Params&, const Real* t, std::int64_t stride, std::int64_t row) {
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
            t[10 * stride + row]};
  }
  METARL_HOST_DEVICE static State load(const Real* f, std::int64_t stride, std::int64_t row) {
    return {f[row], f[stride + row]};
  }
  METARL_HOST_DEVICE static void store(const State& s, Real* f, std::int64_t stride, std::int64_t row) {
    f[row] = s.position;
    f[stride + row] = s.velocity;
  }
  template <class P>
  METARL_HOST_DEVICE static State reset(const P& p, const PhiloxBlock& random, const Real*, std::int64_t,
                                        std::int64_t) {
    return mountain_car_continuous::reset<Real>(p, random);
  }
  template <class P>
  METARL_HD Int step(const P& p, State& s, Action action, Real& reward) {
    return mountain_car_continuous::step<Real, Int>(p, s, action, reward);
  }
  METARL_HD void observe(const Params&, const State& s, float* c) {
    c[0] = static_cast<float>(s.position);
    c[1] = static_cast<float>(s.velocity);
  }
  METARL_HOST_DEVICE static void write_obs(const Params& p, const State& s, void* obs, std::int64_t row) {
    write_float_obs<MountainCarContinuous>(p, s, obs, row);
  }
  METARL_HOST_DEVICE static std::size_t obs_bytes(const Params&) { return sizeof(float) * kObs; }
};

}  // namespace
}  // namespace metarl::METARL_ISA_NS
