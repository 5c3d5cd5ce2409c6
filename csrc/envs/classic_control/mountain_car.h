// MountainCar: an underpowered car must swing up a hill (Moore, 1990).
#pragma once

#include <cstdint>

#include "metarl/detail/hd.h"
#include "metarl/detail/math.h"
#include "metarl/detail/philox.h"

namespace metarl::mountain_car {

template <class Number_ = double>
struct BasicParams {
  using Number = Number_;
  Number min_position, max_position, max_speed, goal_position, goal_velocity, force, gravity;
  Number reset_low, reset_high;  // the position starts uniform in [low, high), the velocity at 0
};
using Params = BasicParams<>;

template <class Real>
struct State {
  Real position, velocity;
};

// action: 0 accelerates left, 1 not at all, 2 right. Returns whether the goal is reached.
template <class Real, class Int, class P>
METARL_HD Int step(const P& p, State<Real>& s, Int action) {
  const Real slope = sincos(Real{3} * s.position).cos;
  const Real max_speed = static_cast<Real>(p.max_speed);
  const Real low = static_cast<Real>(p.min_position);
  Real velocity =
      s.velocity + (static_cast<Real>(action - 1) * static_cast<Real>(p.force) + slope * -static_cast<Real>(p.gravity));
  velocity = clamp(velocity, -max_speed, max_speed);
  s.position = clamp(s.position + velocity, low, static_cast<Real>(p.max_position));
  s.velocity = ((s.position == low) & (velocity < Real{0})) ? Real{0} : velocity;
  return static_cast<Int>((s.position >= static_cast<Real>(p.goal_position)) &
                          (s.velocity >= static_cast<Real>(p.goal_velocity)));
}

template <class Real, class P>
METARL_HD State<Real> reset(const P& p, const PhiloxBlock& random) {
  const double low = static_cast<double>(p.reset_low);
  const double u = uniform53(random.v[0], random.v[1]);
  return {static_cast<Real>(low + (static_cast<double>(p.reset_high) - low) * u), Real{0}};
}

}  // namespace metarl::mountain_car
