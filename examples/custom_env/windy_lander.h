// WindyLander-v0: set a craft down on a pad, in wind that gusts. Not among the built-in environments: this header is
// all that it takes (docs/custom-environments.md).
#pragma once

#include <metarl/env/environment.h>

namespace windy_lander {

using metarl::env::Field;
using metarl::env::Parameter;
using metarl::env::select;

template <class Real>
struct WindyLander {
  static constexpr const char* kId = "WindyLander-v0";
  static constexpr metarl::env::Text kText = {
      .source = "this example",
      .state = "x, height (m), x_speed, climb, wind (m/s)",
      .observation = "float32[5]: the state",
      .action = "integer in {0, 1, 2, 3}: no engine, push right, main engine, push left",
      .reward = "1 for a landing, -1 for any other end, -fuel_cost for a step with an engine on",
      .ending = "on the ground, or |x| > 10; a landing: |x| <= pad and both speeds <= safe_speed",
  };
  static constexpr int kActions = 4;
  static constexpr int kMaxEpisodeSteps = 400;
  static constexpr int kResetUniforms = 3;
  static constexpr int kStepUniforms = 1;

  struct State {
    Real x, height, x_speed, climb, wind;
  };
  static constexpr Field<State, Real> kFields[] = {
      {"x", &State::x},         {"height", &State::height}, {"x_speed", &State::x_speed},
      {"climb", &State::climb}, {"wind", &State::wind},
  };

  struct Params {
    Real gravity, thrust, side_thrust, drag, gust, calming, pad, safe_speed, fuel_cost, start_height, dt;
  };
  static constexpr Parameter<Params, Real> kParameters[] = {
      {"gravity", &Params::gravity, 1.62, "Gravity, m/s^2."},
      {"thrust", &Params::thrust, 4.0, "Acceleration by the main engine, m/s^2.", 0.0},
      {"side_thrust", &Params::side_thrust, 1.0, "Acceleration by a side engine, m/s^2.", 0.0},
      {"drag", &Params::drag, 0.1, "Acceleration by each m/s of the air's speed past the craft, 1/s.", 0.0},
      {"gust", &Params::gust, 0.6, "The wind changes by at most this in a step, m/s.", 0.0},
      {"calming", &Params::calming, 0.95, "What a step leaves of the wind.", 0.0, 1.0},
      {"pad", &Params::pad, 1.0, "Half the width of the pad, m.", 0.0},
      {"safe_speed", &Params::safe_speed, 1.0, "Largest speed of a landing, in either direction, m/s.", 0.0},
      {"fuel_cost", &Params::fuel_cost, 0.005, "Cost of a step with an engine on."},
      {"start_height", &Params::start_height, 8.0, "Height at the start, m.", 0.0, 1e6, true},
      {"dt", &Params::dt, 0.1, "Seconds between two steps.", 0.0, 1.0, true},
  };

  static constexpr int kObs = 5;

  METARL_HD State reset(const Params& p, const Real* u) {
    return {Real{6} * u[0] - Real{3}, p.start_height, Real{2} * u[1] - Real{1}, Real{0}, Real{4} * u[2] - Real{2}};
  }

  METARL_HD bool step(const Params& p, State& s, auto action, Real& reward, const Real* u) {
    const Real push = select(action == 1, Real{1}, Real{0}) - select(action == 3, Real{1}, Real{0});
    const Real lift = select(action == 2, Real{1}, Real{0});
    const Real fuel = select(action == 0, Real{0}, p.fuel_cost);
    s.wind = p.calming * s.wind + p.gust * (Real{2} * u[0] - Real{1});
    s.x_speed += p.dt * (p.side_thrust * push + p.drag * (s.wind - s.x_speed));
    s.climb += p.dt * (p.thrust * lift - p.gravity - p.drag * s.climb);
    s.x += p.dt * s.x_speed;
    s.height += p.dt * s.climb;
    const bool down = s.height <= Real{0};
    const bool ended = down | !within(s.x, Real{10});
    const bool soft = within(s.x_speed, p.safe_speed) & within(s.climb, p.safe_speed);
    const Real outcome = select(down & soft & within(s.x, p.pad), Real{1}, Real{-1});
    reward = select(ended, outcome, -fuel);
    return ended;
  }

  METARL_HD void observe(const State& s, float* obs) {
    obs[0] = static_cast<float>(s.x);
    obs[1] = static_cast<float>(s.height);
    obs[2] = static_cast<float>(s.x_speed);
    obs[3] = static_cast<float>(s.climb);
    obs[4] = static_cast<float>(s.wind);
  }

  METARL_HD bool within(Real x, Real limit) { return (x >= -limit) & (x <= limit); }
};

}  // namespace windy_lander
