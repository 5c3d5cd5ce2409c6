#include "envs/classic_control/pendulum.h"
#include "envs/driver.h"
#include "envs/kernels.h"

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
  static TaskParams row_params(const Params&, const Real* t, std::int64_t stride, std::int64_t row) {
    return {t[row],
            t[stride + row],
            t[2 * stride + row],
            t[3 * stride + row],
            t[4 * stride + row],
            t[5 * stride + row],
            t[6 * stride + row],
            t[7 * stride + row]};
  }
  static State load(const Real* f, std::int64_t stride, std::int64_t row) { return {f[row], f[stride + row]}; }
  static void store(const State& s, Real* f, std::int64_t stride, std::int64_t row) {
    f[row] = s.theta;
    f[stride + row] = s.theta_dot;
  }
  template <class P>
  static State reset(const P& p, const PhiloxBlock& random, const Real*, std::int64_t, std::int64_t) {
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
  static void write_obs(const Params& p, const State& s, void* obs, std::int64_t row) {
    write_float_obs<Pendulum>(p, s, obs, row);
  }
  static std::size_t obs_bytes(const Params&) { return sizeof(float) * kObs; }
};

}  // namespace

METARL_DEFINE_BLOCK_KERNELS(pendulum, Pendulum)

}  // namespace metarl::METARL_ISA_NS
