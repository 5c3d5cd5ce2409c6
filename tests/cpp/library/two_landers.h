// Environments for a library whose kernels run on the emulator: the example's under another id, and one with what the
// example has not: continuous actions, more random numbers for a start than one block of four, and a bounded
// observation.
#pragma once

#include <metarl/env/environment.h>

#include "windy_lander.h"

namespace two_landers {

template <class Real>
struct EmulatedLander : windy_lander::WindyLander<Real> {
  static constexpr const char* kId = "EmulatedLander-v0";
};

template <class Real>
struct Drifter {
  static constexpr const char* kId = "EmulatedDrifter-v3";
  static constexpr metarl::env::Text kText = {.action = "push, in [-2, 2]"};
  static constexpr float kActionLow = -2.0f;
  static constexpr float kActionHigh = 2.0f;
  static constexpr int kMaxEpisodeSteps = 12;
  static constexpr int kResetUniforms = 6;
  struct State {
    Real place, speed, left;
  };
  static constexpr metarl::env::Field<State, Real> kFields[] = {
      {"place", &State::place}, {"speed", &State::speed}, {"left", &State::left}};
  struct Params {
    Real friction, width;
  };
  static constexpr metarl::env::Parameter<Params, Real> kParameters[] = {
      {"friction", &Params::friction, 0.1, "Share of the speed that a step takes.", 0.0, 1.0},
      {"width", &Params::width, 2.0, "An episode ends beyond.", 0.0},
  };
  static constexpr int kObs = 2;
  static constexpr float kObsLow[] = {-1e6f, -1e6f};
  static constexpr float kObsHigh[] = {1e6f, 1e6f};

  METARL_HD State reset(const Params& p, const Real* u) { return {p.width * (u[0] - u[1]), u[2] - u[3], u[4] + u[5]}; }
  METARL_HD bool step(const Params& p, State& s, Real action, Real& reward) {
    s.speed = s.speed - p.friction * s.speed + Real{0.25} * action;
    s.place += s.speed;
    s.left -= Real{0.125};
    reward = metarl::sincos(s.place).cos;
    return (s.place > p.width) | (s.place < -p.width) | (s.left < Real{0});
  }
  METARL_HD void observe(const State& s, float* obs) {
    obs[0] = static_cast<float>(s.place);
    obs[1] = static_cast<float>(s.speed);
  }
};

}  // namespace two_landers
