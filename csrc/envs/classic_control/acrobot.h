// Acrobot: swing a two-link pendulum, driven at the joint between the links, above a line (Sutton, 1996; equations of
// Sutton and Barto, "Reinforcement Learning", 2018), integrated with one Runge-Kutta step of order 4.
#pragma once

#include <cstdint>

#include "metarl/detail/hd.h"
#include "metarl/detail/math.h"
#include "metarl/detail/philox.h"

namespace metarl::acrobot {

template <class Number_ = double>
struct BasicParams {
  using Number = Number_;
  Number link_length_1, link_mass_1, link_mass_2;  // m, kg
  Number link_com_pos_1, link_com_pos_2;           // m from the joint to the centre of mass
  Number link_moi, gravity, dt;                    // kg m^2 of both links, m/s^2, s
  Number max_vel_1, max_vel_2, torque;             // rad/s, N m
  Number reset_bound;                              // every field starts uniform in [-bound, bound)
  Number centrifugal;                              // 1: second equation as in the book; 0: as in Sutton (1996)
};
using Params = BasicParams<>;

template <class Real>
struct State {
  Real theta1, theta2, dtheta1, dtheta2;
};

template <class Real, class P>
METARL_HD State<Real> derivative(const P& p, const State<Real>& s, Real torque) {
  const Real m2 = static_cast<Real>(p.link_mass_2);
  const Real l1 = static_cast<Real>(p.link_length_1);
  const Real lc1 = static_cast<Real>(p.link_com_pos_1);
  const Real lc2 = static_cast<Real>(p.link_com_pos_2);
  const Real inertia = static_cast<Real>(p.link_moi);
  const Real g = static_cast<Real>(p.gravity);
  const Real m1 = static_cast<Real>(p.link_mass_1);
  const SinCos<Real> t2 = sincos(s.theta2);
  // cos(x - pi/2) of the equations is sin(x).
  const Real sin1 = sincos(s.theta1).sin;
  const Real sin12 = sincos(s.theta1 + s.theta2).sin;
  const Real d1 = m1 * (lc1 * lc1) + m2 * (l1 * l1 + lc2 * lc2 + Real{2} * l1 * lc2 * t2.cos) + inertia + inertia;
  const Real d2 = m2 * (lc2 * lc2 + l1 * lc2 * t2.cos) + inertia;
  const Real coupling = m2 * l1 * lc2 * t2.sin;
  const Real phi2 = m2 * lc2 * g * sin12;
  const Real phi1 = -coupling * (s.dtheta2 * s.dtheta2) - Real{2} * coupling * s.dtheta2 * s.dtheta1 +
                    (m1 * lc1 + m2 * l1) * g * sin1 + phi2;
  const Real centrifugal = static_cast<Real>(p.centrifugal) * coupling * (s.dtheta1 * s.dtheta1);
  const Real ratio = d2 / d1;
  const Real ddtheta2 = (torque + ratio * phi1 - centrifugal - phi2) / (m2 * (lc2 * lc2) + inertia - d2 * ratio);
  const Real ddtheta1 = -(d2 * ddtheta2 + phi1) / d1;
  return {s.dtheta1, s.dtheta2, ddtheta1, ddtheta2};
}

template <class Real>
METARL_HD State<Real> advance(const State<Real>& s, const State<Real>& k, Real h) {
  return {s.theta1 + h * k.theta1, s.theta2 + h * k.theta2, s.dtheta1 + h * k.dtheta1, s.dtheta2 + h * k.dtheta2};
}

// x plus a multiple of 2 pi, within [-pi, pi].
template <class Real>
METARL_HD Real wrap(Real x) {
  const Real pi = static_cast<Real>(0x1.921fb54442d18p+1);
  const Real two_pi = static_cast<Real>(0x1.921fb54442d18p+2);
  const Real wrapped = x - round_nearest(x * static_cast<Real>(0x1.45f306dc9c883p-3)) * two_pi;
  // An angle that needs no turn stays as it is, also where rounding would give it one.
  const Real turned = ((x > pi) | (x < -pi)) ? wrapped : x;
  return clamp(turned, -pi, pi);
}

// action: 0, 1, 2 applies torque -1, 0, +1 times p.torque. Returns whether the tip is above the line.
template <class Real, class Int, class P>
METARL_HD Int step(const P& p, State<Real>& s, Int action) {
  const Real torque = static_cast<Real>(p.torque) * static_cast<Real>(action - 1);
  const Real dt = static_cast<Real>(p.dt);
  const Real half = dt / Real{2};
  const State<Real> k1 = derivative(p, s, torque);
  const State<Real> k2 = derivative(p, advance(s, k1, half), torque);
  const State<Real> k3 = derivative(p, advance(s, k2, half), torque);
  const State<Real> k4 = derivative(p, advance(s, k3, dt), torque);
  const Real sixth = dt / Real{6};
  const Real v1 = static_cast<Real>(p.max_vel_1);
  const Real v2 = static_cast<Real>(p.max_vel_2);
  s = {wrap(s.theta1 + sixth * (k1.theta1 + Real{2} * k2.theta1 + Real{2} * k3.theta1 + k4.theta1)),
       wrap(s.theta2 + sixth * (k1.theta2 + Real{2} * k2.theta2 + Real{2} * k3.theta2 + k4.theta2)),
       clamp(s.dtheta1 + sixth * (k1.dtheta1 + Real{2} * k2.dtheta1 + Real{2} * k3.dtheta1 + k4.dtheta1), -v1, v1),
       clamp(s.dtheta2 + sixth * (k1.dtheta2 + Real{2} * k2.dtheta2 + Real{2} * k3.dtheta2 + k4.dtheta2), -v2, v2)};
  return static_cast<Int>(-sincos(s.theta1).cos - sincos(s.theta2 + s.theta1).cos > Real{1});
}

// Rounded to float32, as the reference does.
template <class Real, class P>
METARL_HD State<Real> reset(const P& p, const PhiloxBlock& random) {
  const double bound = static_cast<double>(p.reset_bound);
  const double scale = 2.0 * bound * 0x1.0p-32;
  return {static_cast<Real>(static_cast<float>(random.v[0] * scale - bound)),
          static_cast<Real>(static_cast<float>(random.v[1] * scale - bound)),
          static_cast<Real>(static_cast<float>(random.v[2] * scale - bound)),
          static_cast<Real>(static_cast<float>(random.v[3] * scale - bound))};
}

}  // namespace metarl::acrobot
