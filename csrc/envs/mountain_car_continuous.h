// MountainCarContinuous: the mountain car with a force between -1 and 1, whose square is paid for (gymnasium
// MountainCarContinuous-v0).
#pragma once

#include <cstdint>

#include "metarl/detail/hd.h"
#include "metarl/detail/math.h"
#include "metarl/detail/philox.h"

namespace metarl::mountain_car_continuous {

struct Params {
  double min_action, max_action, min_position, max_position, max_speed, goal_position, goal_velocity, power, gravity;
  double reset_low, reset_high;  // the position starts uniform in [low, high), the velocity at 0
};

template <class Real>
struct State {
  Real position, velocity;
};

template <class Real>
METARL_HD Real to_float(Real x) {
  return static_cast<Real>(static_cast<float>(x));
}

// Returns whether the goal is reached.
//
// The reference's first step of an episode computes in float64. What it leaves is float32, and so is what NumPy (from
// version 2 on) makes of it from then on, except for the slope and the force at its limits. The state tells which of
// the two it is: reset gives positions that float32 does not hold.
template <class Real, class Int>
METARL_HD Int step(const Params& p, State<Real>& s, float action, Real& reward) {
  const bool narrow = (to_float(s.position) == s.position) & (to_float(s.velocity) == s.velocity);
  const Real angle = Real{3} * s.position;
  const Real slope = static_cast<Real>(p.gravity) * sincos(narrow ? to_float(angle) : angle).cos;
  const Real power = static_cast<Real>(p.power);
  const Real least = static_cast<Real>(p.min_action);
  const Real most = static_cast<Real>(p.max_action);
  const Real force = static_cast<Real>(action);
  const Real limited = clamp(force, least, most) * power - slope;
  const Real within = to_float(to_float(force * to_float(power)) - to_float(slope));
  const Real acceleration = ((force < least) | (force > most)) ? limited : within;
  const Real max_speed = narrow ? to_float(static_cast<Real>(p.max_speed)) : static_cast<Real>(p.max_speed);
  const Real low = narrow ? to_float(static_cast<Real>(p.min_position)) : static_cast<Real>(p.min_position);
  const Real high = narrow ? to_float(static_cast<Real>(p.max_position)) : static_cast<Real>(p.max_position);
  const Real goal = narrow ? to_float(static_cast<Real>(p.goal_position)) : static_cast<Real>(p.goal_position);
  const Real goal_speed = narrow ? to_float(static_cast<Real>(p.goal_velocity)) : static_cast<Real>(p.goal_velocity);
  Real velocity = narrow ? to_float(s.velocity + to_float(acceleration)) : s.velocity + acceleration;
  velocity = clamp(velocity, -max_speed, max_speed);
  const Real moved = s.position + velocity;
  const Real position = clamp(narrow ? to_float(moved) : moved, low, high);
  velocity = ((position == low) & (velocity < Real{0})) ? Real{0} : velocity;
  const bool ended = (position >= goal) & (velocity >= goal_speed);
  s.position = to_float(position);
  s.velocity = to_float(velocity);
  reward = (ended ? Real{100} : Real{0}) - force * force * static_cast<Real>(0.1);
  return static_cast<Int>(ended);
}

METARL_HD double not_float(double x) { return to_float(x) == x ? x * (1.0 - 0x1.0p-53) : x; }
METARL_HD float not_float(float x) { return x; }

template <class Real>
METARL_HD State<Real> reset(const Params& p, const PhiloxBlock& random) {
  const double u = uniform53(random.v[0], random.v[1]);
  return {not_float(static_cast<Real>(p.reset_low + (p.reset_high - p.reset_low) * u)), Real{0}};
}

}  // namespace metarl::mountain_car_continuous
