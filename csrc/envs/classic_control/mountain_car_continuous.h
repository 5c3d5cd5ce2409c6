// MountainCarContinuous: the mountain car with a force between -1 and 1, whose square is paid for (gymnasium
// MountainCarContinuous-v0).
#pragma once

#include <cstdint>

#include "metarl/detail/hd.h"
#include "metarl/detail/math.h"
#include "metarl/detail/philox.h"

namespace metarl::mountain_car_continuous {

template <class Number_ = double>
struct BasicParams {
  using Number = Number_;
  Number min_action, max_action, min_position, max_position, max_speed, goal_position, goal_velocity, power, gravity;
  Number reset_low, reset_high;  // the position starts uniform in [low, high), the velocity at 0
};
using Params = BasicParams<>;

template <class Real>
struct State {
  Real position, velocity;
};

template <class Real>
METARL_HD Real to_float(Real x) {
  return static_cast<Real>(static_cast<float>(x));
}

// By masks: a conditional expression around arithmetic would keep the loop from being vectorised.
METARL_HD double select(bool condition, double yes, double no) {
  const std::uint64_t mask = condition ? ~std::uint64_t{0} : std::uint64_t{0};
  return detail::from_bits((detail::as_bits(yes) & mask) | (detail::as_bits(no) & ~mask));
}
METARL_HD float select(bool condition, float yes, float no) {
  const std::uint32_t mask = condition ? ~std::uint32_t{0} : std::uint32_t{0};
  return detail::from_bits((detail::as_bits(yes) & mask) | (detail::as_bits(no) & ~mask));
}

// x, or what float32 makes of it where narrow.
template <class Real>
METARL_HD Real narrowed(bool narrow, Real x) {
  return select(narrow, to_float(x), x);
}

// Returns whether the goal is reached.
//
// The reference's first step of an episode computes in float64. What it leaves is float32, and so is what NumPy (from
// version 2 on) makes of it from then on, except for the slope and the force at its limits. The state tells which of
// the two it is: reset gives positions that float32 does not hold.
template <class Real, class Int, class P>
METARL_HD Int step(const P& p, State<Real>& s, float action, Real& reward) {
  const bool narrow = (to_float(s.position) == s.position) & (to_float(s.velocity) == s.velocity);
  const Real angle = narrowed(narrow, Real{3} * s.position);
  const Real slope = static_cast<Real>(p.gravity) * sincos(angle).cos;
  const Real power = static_cast<Real>(p.power);
  const Real least = static_cast<Real>(p.min_action);
  const Real most = static_cast<Real>(p.max_action);
  const Real force = static_cast<Real>(action);
  const Real limited = clamp(force, least, most) * power - slope;
  const Real within = to_float(to_float(force * to_float(power)) - to_float(slope));
  const Real acceleration = select((force < least) | (force > most), limited, within);
  const Real max_speed = narrowed(narrow, static_cast<Real>(p.max_speed));
  const Real low = narrowed(narrow, static_cast<Real>(p.min_position));
  const Real high = narrowed(narrow, static_cast<Real>(p.max_position));
  const Real goal = narrowed(narrow, static_cast<Real>(p.goal_position));
  const Real goal_speed = narrowed(narrow, static_cast<Real>(p.goal_velocity));
  const Real faster = narrowed(narrow, s.velocity + narrowed(narrow, acceleration));
  const Real speed = clamp(faster, -max_speed, max_speed);
  const Real position = clamp(narrowed(narrow, s.position + speed), low, high);
  const Real velocity = select((position == low) & (speed < Real{0}), Real{0}, speed);
  const bool ended = (position >= goal) & (velocity >= goal_speed);
  s.position = to_float(position);
  s.velocity = to_float(velocity);
  reward = (ended ? Real{100} : Real{0}) - force * force * static_cast<Real>(0.1);
  return static_cast<Int>(ended);
}

// A neighbour of x that float32 does not hold, if x is held; towards zero, and so within the walls.
METARL_HD double not_float(double x) { return to_float(x) == x ? x * (1.0 - 0x1.0p-53) : x; }
METARL_HD float not_float(float x) { return x; }

template <class Real, class P>
METARL_HD State<Real> reset(const P& p, const PhiloxBlock& random) {
  const double u = uniform53(random.v[0], random.v[1]);
  const double low = static_cast<double>(p.reset_low);
  return {not_float(static_cast<Real>(low + (static_cast<double>(p.reset_high) - low) * u)), Real{0}};
}

}  // namespace metarl::mountain_car_continuous
