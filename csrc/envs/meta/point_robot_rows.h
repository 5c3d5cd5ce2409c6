// The point robots' rows: the code that the CPU's kernels and the CUDA kernels share; see envs/driver.h.
#pragma once

#include "envs/driver.h"
#include "envs/meta/point_robot.h"

namespace metarl::METARL_ISA_NS {
namespace {

// What the two environments share. AnyParams: the parameters as a template of the type of their numbers.
template <class Real_, template <class> class AnyParams>
struct AnyPointRobot {
  using Real = Real_;
  using Int = typename IntOfWidth<Real>::type;
  using Action = point_robot::Action;
  using StoredAction = float;
  using Params = AnyParams<double>;
  using TaskParams = AnyParams<Real>;
  using State = point_robot::State<Real>;
  static constexpr int kObs = 2;
  static constexpr int kActionSize = 2;

  // In the order of the definition's task_parameters. Both have five.
  METARL_HOST_DEVICE static TaskParams row_params(const Params&, const Real* t, std::int64_t stride, std::int64_t row) {
    return {t[row], t[stride + row], t[2 * stride + row], t[3 * stride + row], t[4 * stride + row]};
  }
  METARL_HOST_DEVICE static State load(const Real* f, std::int64_t stride, std::int64_t row) {
    return {f[row], f[stride + row], f[2 * stride + row], f[3 * stride + row]};
  }
  METARL_HOST_DEVICE static void store(const State& s, Real* f, std::int64_t stride, std::int64_t row) {
    f[row] = s.x;
    f[stride + row] = s.y;
    f[2 * stride + row] = s.goal_x;
    f[3 * stride + row] = s.goal_y;
  }
  template <class P>
  METARL_HOST_DEVICE static State reset(const P& p, const PhiloxBlock& random, const Real*, std::int64_t,
                                        std::int64_t) {
    return point_robot::reset<Real>(p, random);
  }
  template <class P>
  METARL_HD Int step(const P& p, State& s, const Action& action, Real& reward) {
    return point_robot::step<Real, Int>(p, s, action, reward);
  }
  METARL_HD void observe(const Params&, const State& s, float* c) {
    c[0] = static_cast<float>(s.x);
    c[1] = static_cast<float>(s.y);
  }
  METARL_HOST_DEVICE static void write_obs(const Params& p, const State& s, void* obs, std::int64_t row) {
    write_float_obs<AnyPointRobot>(p, s, obs, row);
  }
  METARL_HOST_DEVICE static std::size_t obs_bytes(const Params&) { return sizeof(float) * kObs; }
};

template <class Real>
using PointRobot = AnyPointRobot<Real, point_robot::BasicParams>;
template <class Real>
using SparsePointRobot = AnyPointRobot<Real, point_robot::BasicSparseParams>;

}  // namespace
}  // namespace metarl::METARL_ISA_NS
