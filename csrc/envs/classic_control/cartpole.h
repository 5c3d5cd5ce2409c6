// CartPole: balance a pole on a cart (Barto, Sutton and Anderson, 1983; equations of Florian, 2007, without friction).
#pragma once

#include <cstdint>

#include "metarl/detail/hd.h"
#include "metarl/detail/math.h"
#include "metarl/detail/philox.h"

namespace metarl::cartpole {

template <class Number_ = double>
struct BasicParams {
  using Number = Number_;
  Number gravity, masscart, masspole, length, force_mag, tau;  // length: half the pole's, in m; tau: seconds a step
  Number theta_threshold, x_threshold;                         // rad, m
  Number reset_bound;                                          // every field starts uniform in [-bound, bound)
  Number step_reward, end_reward;
};
using Params = BasicParams<>;

template <class Real>
struct State {
  Real x, x_dot, theta, theta_dot;
};

// action: 0 pushes left, 1 right. kSemiImplicit: positions advance with the new velocities instead of the old ones.
// Returns whether the pole fell or the cart left the track.
template <bool kSemiImplicit, class Real, class Int, class P>
METARL_HD Int step(const P& p, State<Real>& s, Int action) {
  const Real polemass_length = static_cast<Real>(p.masspole * p.length);
  const Real masspole = static_cast<Real>(p.masspole);
  const Real tau = static_cast<Real>(p.tau);
  const Real force = static_cast<Real>(p.force_mag) * static_cast<Real>(2 * action - 1);
  const SinCos<Real> t = sincos(s.theta);
  // Divisions by constants are multiplications: the last bit may differ from the reference's, the loop is faster.
  const Real per_mass = static_cast<Real>(typename P::Number{1} / (p.masspole + p.masscart));
  const Real temp = (force + polemass_length * (s.theta_dot * s.theta_dot) * t.sin) * per_mass;
  const Real thetaacc =
      (static_cast<Real>(p.gravity) * t.sin - t.cos * temp) /
      (static_cast<Real>(p.length) * (static_cast<Real>(4.0 / 3.0) - masspole * (t.cos * t.cos) * per_mass));
  const Real xacc = temp - polemass_length * thetaacc * t.cos * per_mass;
  const Real x_dot = s.x_dot + tau * xacc;
  const Real theta_dot = s.theta_dot + tau * thetaacc;
  s.x = s.x + tau * (kSemiImplicit ? x_dot : s.x_dot);
  s.theta = s.theta + tau * (kSemiImplicit ? theta_dot : s.theta_dot);
  s.x_dot = x_dot;
  s.theta_dot = theta_dot;
  const Real x_limit = static_cast<Real>(p.x_threshold);
  const Real theta_limit = static_cast<Real>(p.theta_threshold);
  return static_cast<Int>((s.x < -x_limit) | (s.x > x_limit) | (s.theta < -theta_limit) | (s.theta > theta_limit));
}

template <class Real, class P>
METARL_HD State<Real> reset(const P& p, const PhiloxBlock& random) {
  const double bound = static_cast<double>(p.reset_bound);
  const double scale = 2.0 * bound * 0x1.0p-32;
  return {static_cast<Real>(random.v[0] * scale - bound), static_cast<Real>(random.v[1] * scale - bound),
          static_cast<Real>(random.v[2] * scale - bound), static_cast<Real>(random.v[3] * scale - bound)};
}

}  // namespace metarl::cartpole
