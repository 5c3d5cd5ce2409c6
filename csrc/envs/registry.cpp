// From an id and its options to a definition that a BatchEnv runs.
#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "envs/acrobot.h"
#include "envs/cartpole.h"
#include "envs/deep_sea.h"
#include "envs/define.h"
#include "envs/define_minatar.h"
#include "envs/frozen_lake.h"
#include "envs/kernels.h"
#include "envs/mountain_car.h"
#include "envs/pendulum.h"
#include "metarl/batch_env.h"

namespace metarl {
namespace {

double number(const EnvOptions& options, const std::string& name) {
  const auto found = options.numbers.find(name);
  if (found == options.numbers.end()) throw std::invalid_argument("option '" + name + "' is missing");
  return found->second;
}

template <int kFields>
bool all_finite(const void*, const double* fields) {
  for (int f = 0; f < kFields; ++f) {
    if (!std::isfinite(fields[f])) return false;
  }
  return true;
}

bool is_within(double x, double low, double high) { return x >= low && x <= high; }

// Bounds hold as the kernels apply them, in the type of the fields.
template <class Real>
double rounded(double bound) {
  return static_cast<double>(static_cast<Real>(bound));
}

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

bool is_integer_in(double x, double low, double high) { return x >= low && x <= high && std::floor(x) == x; }

bool is_float32(const EnvOptions& options) { return number(options, "float32") != 0; }

// The parameters that may differ between rows, by their names as options, in the order of the model's row_params.
void allow_tasks(EnvDefinition* d, const EnvOptions& options, std::vector<std::string> names) {
  for (const std::string& name : names) d->task_defaults.push_back(number(options, name));
  d->task_parameters = std::move(names);
}

EnvDefinition cartpole_definition(const EnvOptions& o) {
  EnvDefinition d;
  d.field_names = {"x", "x_dot", "theta", "theta_dot"};
  d.obs_size = 4;
  d.num_actions = 2;
  d.nanoseconds_per_row = 6;
  d.valid_state = all_finite<4>;
  const bool sutton_barto = number(o, "sutton_barto_reward") != 0;
  d.params = std::make_shared<const cartpole::Params>(cartpole::Params{
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
               "x_threshold", "reset_bound"});
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
  d.params = std::make_shared<const mountain_car::Params>(mountain_car::Params{
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
  d.params = std::make_shared<const acrobot::Params>(acrobot::Params{
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
  d.params = std::make_shared<const pendulum::Params>(pendulum::Params{
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

EnvDefinition frozen_lake_definition(const EnvOptions& o) {
  using frozen_lake::Params;
  const std::int64_t rows = o.table_rows;
  const std::int64_t columns = o.table_columns;
  if (rows < 1 || columns < 1 || static_cast<std::int64_t>(o.table.size()) != rows * columns) {
    throw std::invalid_argument("the map must have rows and columns");
  }
  Params p{};
  p.slippery = number(o, "is_slippery") != 0;
  p.success_rate = number(o, "success_rate");
  p.fail_rate = (1.0 - p.success_rate) / 2.0;
  p.reward[frozen_lake::kGoal] = number(o, "goal_reward");
  p.reward[frozen_lake::kHole] = number(o, "hole_reward");
  p.reward[frozen_lake::kFrozen] = number(o, "frozen_reward");
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) {
      const std::int64_t cell = r * columns + c;
      const char letter = static_cast<char>(o.table[static_cast<std::size_t>(cell)]);
      p.kind.push_back(letter == 'H' ? frozen_lake::kHole : letter == 'G' ? frozen_lake::kGoal : frozen_lake::kFrozen);
      if (letter == 'S') p.starts.push_back(static_cast<std::int32_t>(cell));
      const std::int64_t neighbours[4] = {c > 0 ? cell - 1 : cell, r + 1 < rows ? cell + columns : cell,
                                          c + 1 < columns ? cell + 1 : cell, r > 0 ? cell - columns : cell};
      for (const std::int64_t next : neighbours) p.next.push_back(static_cast<std::int32_t>(next));
    }
  }
  if (p.starts.empty()) throw std::invalid_argument("the map has no start cell 'S'");
  EnvDefinition d;
  d.field_names = {"cell"};
  d.field_type = FieldType::int32;
  d.obs_type = ObsType::int64;
  d.num_actions = 4;
  d.draws_per_row = p.slippery ? 1 : 0;
  d.has_prob = true;
  d.nanoseconds_per_row = 10;
  d.valid_state = [](const void* params, const double* f) {
    return is_integer_in(f[0], 0, static_cast<double>(static_cast<const Params*>(params)->kind.size()) - 1);
  };
  d.params = std::make_shared<const Params>(std::move(p));
  METARL_ENV_KERNELS(d, frozen_lake);
  return d;
}

EnvDefinition deep_sea_definition(const EnvOptions& o) {
  EnvDefinition d;
  const std::int64_t size = o.table_rows;
  if (size < 1 || o.table_columns != size || static_cast<std::int64_t>(o.table.size()) != size * size) {
    throw std::invalid_argument("the action mapping must be size x size");
  }
  d.field_names = {"row", "column", "bad_episode", "total_bad_episodes", "denoised_return"};
  d.field_type = FieldType::int32;
  d.obs_size = size * size;
  d.num_actions = 2;
  const bool deterministic = number(o, "deterministic") != 0;
  d.draws_per_row = deterministic ? 0 : 2;
  d.has_end_flag = true;
  d.incremental_obs = true;
  d.nanoseconds_per_row = 20 + static_cast<double>(size * size) * 0.2;
  d.valid_state = [](const void* params, const double* f) {
    const double cells = static_cast<const deep_sea::Params*>(params)->size;
    return is_integer_in(f[0], 0, cells) && is_integer_in(f[1], 0, cells - 1) && is_integer_in(f[2], 0, 1) &&
           is_integer_in(f[3], 0, 0x7fffffff) && is_integer_in(f[4], 0, 0x7fffffff);
  };
  const double cost = number(o, "unscaled_move_cost");
  d.params = std::make_shared<const deep_sea::Params>(deep_sea::Params{
      .size = static_cast<std::int32_t>(size),
      .deterministic = deterministic,
      .unscaled_move_cost = cost,
      .move_cost = cost / static_cast<double>(size),
      .fail_probability = 1.0 / static_cast<double>(size),
      .mapping = o.table,
  });
  METARL_ENV_KERNELS(d, deep_sea);
  return d;
}

}  // namespace

EnvDefinition make_env_definition(const std::string& id, const EnvOptions& options) {
  EnvDefinition definition;
  if (id == "CartPole-v1") {
    definition = cartpole_definition(options);
  } else if (id == "MountainCar-v0") {
    definition = mountain_car_definition(options);
  } else if (id == "Acrobot-v1") {
    definition = acrobot_definition(options);
  } else if (id == "Pendulum-v1") {
    definition = pendulum_definition(options);
  } else if (id == "FrozenLake-v1") {
    definition = frozen_lake_definition(options);
  } else if (id == "DeepSea-v0") {
    definition = deep_sea_definition(options);
  } else if (id.starts_with("MinAtar/")) {
    definition = minatar_definition(id, options);
  } else if (!define_toy_text(id, options, &definition) && !define_bsuite(id, options, &definition)) {
    throw std::invalid_argument("unknown environment '" + id + "'");
  }
  definition.name = id;
  return definition;
}

}  // namespace metarl
