// Gymnasium's classic control.
#include "envs/define.h"

#include <algorithm>

#include "envs/classic_control/acrobot.h"
#include "envs/classic_control/cartpole.h"
#include "envs/classic_control/mountain_car.h"
#include "envs/classic_control/mountain_car_continuous.h"
#include "envs/classic_control/pendulum.h"
#include "envs/kernels.h"

namespace metarl {
namespace {

using define::all_finite;
using define::allow_tasks;
using define::flag;
using define::is_within;
using define::number;
using define::rounded;

bool is_float32(const EnvOptions& options) { return flag(options, "float32"); }

template <class Real>
bool mountain_car_state(const void* params, const double* f) {
  const auto& p = *static_cast<const mountain_car::Params*>(params);
  const double speed = rounded<Real>(p.max_speed);
  return is_within(f[0], rounded<Real>(p.min_position), rounded<Real>(p.max_position)) &&
         is_within(f[1], -speed, speed);
}

template <class Real>
bool acrobot_state(const void* params, const double* f) {
  const auto& p = *static_cast<const acrobot::Params*>(params);
  // A reset is not clipped, and rounds to float32.
  const double start = static_cast<double>(static_cast<float>(p.reset_bound));
  const double angle = std::max(rounded<Real>(0x1.921fb54442d18p+1), start);
  const double speed1 = std::max(rounded<Real>(p.max_vel_1), start);
  const double speed2 = std::max(rounded<Real>(p.max_vel_2), start);
  return is_within(f[0], -angle, angle) && is_within(f[1], -angle, angle) && is_within(f[2], -speed1, speed1) &&
         is_within(f[3], -speed2, speed2);
}

template <class Real>
bool pendulum_state(const void* params, const double* f) {
  const auto& p = *static_cast<const pendulum::Params*>(params);
  const double speed = std::max(rounded<Real>(p.max_speed), rounded<Real>(p.reset_speed));
  return std::isfinite(f[0]) && is_within(f[1], -speed, speed);
}

EnvDefinition cartpole_definition(const EnvOptions& o) {
  EnvDefinition d;
  d.field_names = {"x", "x_dot", "theta", "theta_dot"};
  d.obs_size = 4;
  d.num_actions = 2;
  d.nanoseconds_per_row = 6;
  d.valid_state = all_finite<4>;
  const bool sutton_barto = number(o, "sutton_barto_reward") != 0;
  define::set_params(&d, cartpole::Params{
                             .gravity = number(o, "gravity"),
                             .masscart = number(o, "masscart"),
                             .masspole = number(o, "masspole"),
                             .length = number(o, "length"),
                             .force_mag = number(o, "force_mag"),
                             .tau = number(o, "tau"),
                             .theta_threshold = number(o, "theta_threshold_radians"),
                             .x_threshold = number(o, "x_threshold"),
                             .reset_bound = number(o, "reset_bound"),
                             .step_reward = sutton_barto ? 0.0 : 1.0,
                             .end_reward = sutton_barto ? -1.0 : 1.0,
                         });
  allow_tasks(&d, o,
              {"gravity", "masscart", "masspole", "length", "force_mag", "tau", "theta_threshold_radians",
               "x_threshold", "reset_bound", "sutton_barto_reward"});
  const bool semi_implicit = number(o, "semi_implicit") != 0;
  if (is_float32(o)) d.field_type = FieldType::float32;
  if (is_float32(o) && semi_implicit) {
    METARL_ENV_KERNELS(d, cartpole_semi_implicit_f32);
  } else if (is_float32(o)) {
    METARL_ENV_KERNELS(d, cartpole_euler_f32);
  } else if (semi_implicit) {
    METARL_ENV_KERNELS(d, cartpole_semi_implicit_f64);
  } else {
    METARL_ENV_KERNELS(d, cartpole_euler_f64);
  }
  return d;
}

EnvDefinition mountain_car_definition(const EnvOptions& o) {
  EnvDefinition d;
  d.field_names = {"position", "velocity"};
  d.obs_size = 2;
  d.num_actions = 3;
  d.nanoseconds_per_row = 5;
  d.valid_state = is_float32(o) ? mountain_car_state<float> : mountain_car_state<double>;
  define::set_params(&d, mountain_car::Params{
                             .min_position = number(o, "min_position"),
                             .max_position = number(o, "max_position"),
                             .max_speed = number(o, "max_speed"),
                             .goal_position = number(o, "goal_position"),
                             .goal_velocity = number(o, "goal_velocity"),
                             .force = number(o, "force"),
                             .gravity = number(o, "gravity"),
                             .reset_low = number(o, "reset_low"),
                             .reset_high = number(o, "reset_high"),
                         });
  allow_tasks(&d, o,
              {"min_position", "max_position", "max_speed", "goal_position", "goal_velocity", "force", "gravity",
               "reset_low", "reset_high"});
  if (is_float32(o)) {
    d.field_type = FieldType::float32;
    METARL_ENV_KERNELS(d, mountain_car_f32);
  } else {
    METARL_ENV_KERNELS(d, mountain_car_f64);
  }
  return d;
}

EnvDefinition acrobot_definition(const EnvOptions& o) {
  EnvDefinition d;
  d.field_names = {"theta1", "theta2", "dtheta1", "dtheta2"};
  d.obs_size = 6;
  d.num_actions = 3;
  d.nanoseconds_per_row = 60;
  d.valid_state = is_float32(o) ? acrobot_state<float> : acrobot_state<double>;
  define::set_params(&d, acrobot::Params{
                             .link_length_1 = number(o, "link_length_1"),
                             .link_mass_1 = number(o, "link_mass_1"),
                             .link_mass_2 = number(o, "link_mass_2"),
                             .link_com_pos_1 = number(o, "link_com_pos_1"),
                             .link_com_pos_2 = number(o, "link_com_pos_2"),
                             .link_moi = number(o, "link_moi"),
                             .gravity = number(o, "gravity"),
                             .dt = number(o, "dt"),
                             .max_vel_1 = number(o, "max_vel_1"),
                             .max_vel_2 = number(o, "max_vel_2"),
                             .torque = number(o, "torque"),
                             .reset_bound = number(o, "reset_bound"),
                             .centrifugal = number(o, "nips") != 0 ? 0.0 : 1.0,
                         });
  allow_tasks(&d, o,
              {"link_length_1", "link_mass_1", "link_mass_2", "link_com_pos_1", "link_com_pos_2", "link_moi", "gravity",
               "dt", "max_vel_1", "max_vel_2", "torque", "reset_bound"});
  if (is_float32(o)) {
    d.field_type = FieldType::float32;
    METARL_ENV_KERNELS(d, acrobot_f32);
  } else {
    METARL_ENV_KERNELS(d, acrobot_f64);
  }
  return d;
}

EnvDefinition pendulum_definition(const EnvOptions& o) {
  EnvDefinition d;
  d.field_names = {"theta", "theta_dot"};
  d.obs_size = 3;
  d.num_actions = 0;
  d.nanoseconds_per_row = 10;
  d.valid_state = is_float32(o) ? pendulum_state<float> : pendulum_state<double>;
  define::set_params(&d, pendulum::Params{
                             .gravity = number(o, "g"),
                             .mass = number(o, "m"),
                             .length = number(o, "l"),
                             .dt = number(o, "dt"),
                             .max_speed = number(o, "max_speed"),
                             .max_torque = number(o, "max_torque"),
                             .reset_angle = number(o, "x_init"),
                             .reset_speed = number(o, "y_init"),
                         });
  allow_tasks(&d, o, {"g", "m", "l", "dt", "max_speed", "max_torque", "x_init", "y_init"});
  if (is_float32(o)) {
    d.field_type = FieldType::float32;
    METARL_ENV_KERNELS(d, pendulum_f32);
  } else {
    METARL_ENV_KERNELS(d, pendulum_f64);
  }
  return d;
}

// Whether float32 rounding of a bound, or the bound itself in the state of a reset, leaves room for x.
bool is_within_rounded(double x, double low, double high) {
  return is_within(x, std::min(low, static_cast<double>(static_cast<float>(low))),
                   std::max(high, static_cast<double>(static_cast<float>(high))));
}

EnvDefinition mountain_car_continuous_definition(const EnvOptions& o) {
  using mountain_car_continuous::Params;
  EnvDefinition d;
  d.field_names = {"position", "velocity"};
  d.obs_size = 2;
  d.num_actions = 0;
  d.nanoseconds_per_row = 6;
  d.valid_state = [](const void* params, const double* f) {
    const auto& p = *static_cast<const Params*>(params);
    return is_within_rounded(f[0], p.min_position, p.max_position) &&
           is_within_rounded(f[1], -p.max_speed, p.max_speed);
  };
  define::set_params(&d, Params{
                             .min_action = number(o, "min_action"),
                             .max_action = number(o, "max_action"),
                             .min_position = number(o, "min_position"),
                             .max_position = number(o, "max_position"),
                             .max_speed = number(o, "max_speed"),
                             .goal_position = number(o, "goal_position"),
                             .goal_velocity = number(o, "goal_velocity"),
                             .power = number(o, "power"),
                             .gravity = number(o, "gravity"),
                             .reset_low = number(o, "reset_low"),
                             .reset_high = number(o, "reset_high"),
                         });
  allow_tasks(&d, o,
              {"min_action", "max_action", "min_position", "max_position", "max_speed", "goal_position",
               "goal_velocity", "power", "gravity", "reset_low", "reset_high"});
  if (flag(o, "float32")) {
    d.field_type = FieldType::float32;
    METARL_ENV_KERNELS(d, mountain_car_continuous_f32);
  } else {
    METARL_ENV_KERNELS(d, mountain_car_continuous_f64);
  }
  return d;
}

}  // namespace

bool define_classic_control(const std::string& id, const EnvOptions& options, EnvDefinition* definition) {
  if (id == "CartPole-v1") {
    *definition = cartpole_definition(options);
  } else if (id == "MountainCar-v0") {
    *definition = mountain_car_definition(options);
  } else if (id == "MountainCarContinuous-v0") {
    *definition = mountain_car_continuous_definition(options);
  } else if (id == "Acrobot-v1") {
    *definition = acrobot_definition(options);
  } else if (id == "Pendulum-v1") {
    *definition = pendulum_definition(options);
  } else {
    return false;
  }
  return true;
}

}  // namespace metarl
