// A point in the plane that moves by its action towards a goal which it does not see: anywhere in a square (Finn,
// Abbeel and Levine, "Model-agnostic meta-learning", 2017), or on a half circle, with a reward beside the goal only
// (Rakelly et al., "Efficient off-policy meta-reinforcement learning", 2019).
#pragma once

#include <cmath>
#include <cstdint>

#include "metarl/detail/hd.h"
#include "metarl/detail/math.h"
#include "metarl/detail/philox.h"

namespace metarl::point_robot {

template <class Number_ = double>
struct BasicParams {
  using Number = Number_;
  Number goal_x, goal_y;  // NaN: drawn at the reset, uniform in [-goal_range, goal_range)
  Number goal_range;
  Number max_step;        // largest absolute part of an action
  Number goal_tolerance;  // the episode ends where both coordinates are nearer to the goal than this
};
using Params = BasicParams<>;

template <class Number_ = double>
struct BasicSparseParams {
  using Number = Number_;
  Number goal_angle;     // NaN: drawn at the reset, uniform in [0, pi)
  Number circle_radius;  // distance of the goal from the start
  Number max_step;
  Number goal_radius;  // distance of the goal up to which there is a reward
  Number dense;        // not 0: the reward of BasicParams' environment
};
using SparseParams = BasicSparseParams<>;

template <class Real>
struct State {
  Real x, y, goal_x, goal_y;
};

struct Action {
  float v[2];
};

// The action is float32, and so are its limits.
template <class Real, class Number>
METARL_HD void move(State<Real>& s, const Action& action, Number max_step) {
  const float limit = static_cast<float>(max_step);
  s.x = s.x + static_cast<Real>(clamp(action.v[0], -limit, limit));
  s.y = s.y + static_cast<Real>(clamp(action.v[1], -limit, limit));
}

template <class Real>
METARL_HD Real absolute(Real x) {
  return x < Real{0} ? -x : x;
}

// Returns whether the goal is reached.
template <class Real, class Int, class P>
  requires requires(P p) { p.goal_tolerance; }
METARL_HD Int step(const P& p, State<Real>& s, const Action& action, Real& reward) {
  move(s, action, p.max_step);
  const Real dx = s.x - s.goal_x;
  const Real dy = s.y - s.goal_y;
  reward = -std::sqrt(dx * dx + dy * dy);
  const Real tolerance = static_cast<Real>(p.goal_tolerance);
  return static_cast<Int>((absolute(dx) < tolerance) & (absolute(dy) < tolerance));
}

template <class Real, class Int, class P>
  requires requires(P p) { p.goal_radius; }
METARL_HD Int step(const P& p, State<Real>& s, const Action& action, Real& reward) {
  move(s, action, p.max_step);
  const Real dx = s.x - s.goal_x;
  const Real dy = s.y - s.goal_y;
  const Real distance = std::sqrt(dx * dx + dy * dy);
  const Real near = Real{1} - distance;
  const Real sparse = distance <= static_cast<Real>(p.goal_radius) ? near : Real{0};
  reward = p.dense != 0 ? -distance : sparse;
  return Int{0};
}

template <class Real, class P>
  requires requires(P p) { p.goal_tolerance; }
METARL_HD State<Real> reset(const P& p, const PhiloxBlock& random) {
  const double range = static_cast<double>(p.goal_range);
  const double x = static_cast<double>(p.goal_x);
  const double y = static_cast<double>(p.goal_y);
  const double drawn_x = range * (2.0 * uniform53(random.v[0], random.v[1]) - 1.0);
  const double drawn_y = range * (2.0 * uniform53(random.v[2], random.v[3]) - 1.0);
  return {Real{0}, Real{0}, static_cast<Real>(x == x ? x : drawn_x), static_cast<Real>(y == y ? y : drawn_y)};
}

template <class Real, class P>
  requires requires(P p) { p.goal_radius; }
METARL_HD State<Real> reset(const P& p, const PhiloxBlock& random) {
  const double given = static_cast<double>(p.goal_angle);
  const double drawn = 0x1.921fb54442d18p+1 * uniform53(random.v[0], random.v[1]);
  const SinCos<double> t = sincos(given == given ? given : drawn);
  const double radius = static_cast<double>(p.circle_radius);
  return {Real{0}, Real{0}, static_cast<Real>(radius * t.cos), static_cast<Real>(radius * t.sin)};
}

}  // namespace metarl::point_robot
