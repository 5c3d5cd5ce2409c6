// Pendulum: swing a pendulum up and hold it there with a limited torque (gymnasium Pendulum-v1).
#pragma once

#include <cstdint>

#include "metarl/detail/hd.h"
#include "metarl/detail/math.h"
#include "metarl/detail/philox.h"

namespace metarl::pendulum {

template <class Number_ = double>
struct BasicParams {
  using Number = Number_;
  Number gravity, mass, length, dt, max_speed, max_torque;  // m/s^2, kg, m, s, rad/s, N m
  Number reset_angle, reset_speed;                          // the fields start uniform in [-bound, bound)
};
using Params = BasicParams<>;

template <class Real>
struct State {
  Real theta, theta_dot;  // 0 is upright; theta is not wrapped
};

// 2 pi as two parts whose products with a small integer are exact.
METARL_HD void subtract_turns(double* x, double turns) { *x = (*x - turns * 0x1.921fb54p+2) - turns * 0x442d18p-50; }
METARL_HD void subtract_turns(float* x, float turns) { *x = (*x - turns * 0x1.92p+2f) - turns * 0x1.fb5444p-10f; }

// The angle in [-pi, pi), up to rounding.
template <class Real>
METARL_HD Real normalize_angle(Real x) {
  const Real pi = static_cast<Real>(0x1.921fb54442d18p+1);
  Real shifted = x + pi;
  const Real turns = shifted * static_cast<Real>(0x1.45f306dc9c883p-3);
  const Real nearest = round_nearest(turns);
  subtract_turns(&shifted, nearest > turns ? nearest - Real{1} : nearest);
  return shifted - pi;
}

// torque in N m, clipped to max_torque. Returns the reward. The reference's action is float32 and so are the terms made
// of it alone.
template <class Real, class P>
METARL_HD Real step(const P& p, State<Real>& s, float torque) {
  const float limit = static_cast<float>(p.max_torque);
  const float u = clamp(torque, -limit, limit);
  const Real angle = normalize_angle(s.theta);
  const Real cost = angle * angle + static_cast<Real>(0.1) * (s.theta_dot * s.theta_dot) + Real{0.001f * (u * u)};
  const Real pull = static_cast<Real>(3 * p.gravity / (2 * p.length)) * sincos(s.theta).sin;
  const Real push = Real{static_cast<float>(typename P::Number{3} / (p.mass * (p.length * p.length))) * u};
  const Real dt = static_cast<Real>(p.dt);
  const Real speed = static_cast<Real>(p.max_speed);
  s.theta_dot = clamp(s.theta_dot + (pull + push) * dt, -speed, speed);
  s.theta = s.theta + s.theta_dot * dt;
  return -cost;
}

template <class Real, class P>
METARL_HD State<Real> reset(const P& p, const PhiloxBlock& random) {
  return {static_cast<Real>(static_cast<double>(p.reset_angle) * (2.0 * uniform53(random.v[0], random.v[1]) - 1.0)),
          static_cast<Real>(static_cast<double>(p.reset_speed) * (2.0 * uniform53(random.v[2], random.v[3]) - 1.0))};
}

}  // namespace metarl::pendulum
