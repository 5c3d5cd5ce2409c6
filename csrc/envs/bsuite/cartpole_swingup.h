// CartPole swing-up: the pole hangs down at first, moving costs, and only a pole that stands still near the middle pays
// (bsuite cartpole_swingup; equations of Barto, Sutton and Anderson, 1983).
#pragma once

#include <cstdint>

#include "envs/classic_control/pendulum.h"
#include "metarl/detail/hd.h"
#include "metarl/detail/math.h"
#include "metarl/detail/philox.h"

namespace metarl::cartpole_swingup {

template <class Number_ = double>
struct BasicParams {
  using Number = Number_;
  Number height_threshold, theta_dot_threshold, x_reward_threshold;  // the cosine of an upright pole; rad/s; m
  Number move_cost, x_threshold, timescale, max_time;                // m; seconds a step; seconds
  Number init_range;  // x, x_dot, theta - pi and theta_dot start uniform in [-range, range)
  Number mass_cart, mass_pole, length, force_mag, gravity;
};
using Params = BasicParams<>;

template <class Real>
struct State {
  Real x, x_dot, theta, theta_dot, time;
  Real episode_return;
  Real raw_return, best_episode, total_upright;  // over all episodes; the best of those that came to their end
};

// The angle in [0, 2 pi), up to rounding.
template <class Real>
METARL_HD Real wrap_angle(Real x) {
  const Real turn = static_cast<Real>(0x1.921fb54442d18p+2);
  const Real turns = x * static_cast<Real>(0x1.45f306dc9c883p-3);
  const Real nearest = round_nearest(turns);
  pendulum::subtract_turns(&x, nearest > turns ? nearest - Real{1} : nearest);
  x = x < Real{0} ? x + turn : x;
  return x >= turn ? x - turn : x;
}

template <class Real>
METARL_HD bool is_near(Real x, Real bound) {
  return (x < bound) & (x > -bound);
}

// action: 0 pushes left, 1 not at all, 2 right. live: 0 if this step is none, since the row is about to be reset.
// Returns whether the time is up or the cart has left the track.
template <class Real, class Int, class P>
METARL_HD Int step(const P& p, State<Real>& s, Int action, Int live, Real& reward) {
  const Real pole = static_cast<Real>(p.mass_pole * p.length);
  const Real per_mass = static_cast<Real>(typename P::Number{1} / (p.mass_cart + p.mass_pole));
  const Real dt = static_cast<Real>(p.timescale);
  const Real push = static_cast<Real>(action - 1);
  const SinCos<Real> t = sincos(s.theta);
  const Real temp = (push * static_cast<Real>(p.force_mag) + pole * (s.theta_dot * s.theta_dot) * t.sin) * per_mass;
  const Real theta_acc = (static_cast<Real>(p.gravity) * t.sin - t.cos * temp) /
                         (static_cast<Real>(p.length) *
                          (static_cast<Real>(4.0 / 3.0) - static_cast<Real>(p.mass_pole) * (t.cos * t.cos) * per_mass));
  const Real x_acc = temp - pole * theta_acc * t.cos * per_mass;
  s.x = s.x + dt * s.x_dot;
  s.x_dot = s.x_dot + dt * x_acc;
  s.theta = wrap_angle(s.theta + dt * s.theta_dot);
  s.theta_dot = s.theta_dot + dt * theta_acc;
  s.time = s.time + dt;

  const bool upright = (sincos(s.theta).cos > static_cast<Real>(p.height_threshold)) &
                       is_near(s.theta_dot, static_cast<Real>(p.theta_dot_threshold)) &
                       is_near(s.x, static_cast<Real>(p.x_reward_threshold));
  reward = (upright ? Real{1} : Real{0}) - push * push * static_cast<Real>(p.move_cost);
  const Real x_limit = static_cast<Real>(p.x_threshold);
  const bool ended = (s.time > static_cast<Real>(p.max_time)) | (s.x > x_limit) | (s.x < -x_limit);
  const Real counted = static_cast<Real>(live);
  s.episode_return = s.episode_return + counted * reward;
  s.raw_return = s.raw_return + counted * reward;
  s.total_upright = s.total_upright + (upright ? counted : Real{0});
  const bool best = ended & (live != 0) & (s.episode_return > s.best_episode);
  s.best_episode = best ? s.episode_return : s.best_episode;
  return static_cast<Int>(ended);
}

// The fields that go on over episodes are those of `s`.
template <class Real, class P>
METARL_HD State<Real> reset(const P& p, const PhiloxBlock& random, State<Real> s) {
  const double range = static_cast<double>(p.init_range);
  const double scale = 2.0 * range * 0x1.0p-32;
  s.x = static_cast<Real>(random.v[0] * scale - range);
  s.x_dot = static_cast<Real>(random.v[1] * scale - range);
  s.theta = static_cast<Real>(0x1.921fb54442d18p+1 + (random.v[2] * scale - range));
  s.theta_dot = static_cast<Real>(random.v[3] * scale - range);
  s.time = s.episode_return = Real{0};
  return s;
}

template <class Real>
METARL_HD void observe(const Params& p, const State<Real>& s, float* c) {
  const SinCos<Real> t = sincos(s.theta);
  c[0] = static_cast<float>(s.x / static_cast<Real>(p.x_threshold));
  c[1] = static_cast<float>(s.x_dot / static_cast<Real>(p.x_threshold));
  c[2] = static_cast<float>(t.sin);
  c[3] = static_cast<float>(t.cos);
  c[4] = static_cast<float>(s.theta_dot);
  c[5] = static_cast<float>(s.time / static_cast<Real>(p.max_time));
  c[6] = is_near(s.x, static_cast<Real>(p.x_reward_threshold)) ? 1.0f : -1.0f;
  c[7] = is_near(s.theta_dot, static_cast<Real>(p.theta_dot_threshold)) ? 1.0f : -1.0f;
}

}  // namespace metarl::cartpole_swingup
