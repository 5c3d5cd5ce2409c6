// Environments of the meta-learning literature, whose tasks are drawn from a distribution.
#include "envs/define.h"

#include <algorithm>
#include <limits>

#include "envs/kernels.h"
#include "envs/meta/maze.h"
#include "envs/meta/point_robot.h"
#include "envs/meta/random_mdp.h"
#include "envs/meta/trial_bandit.h"

namespace metarl {
namespace {

using define::allow_tasks;
using define::flag;
using define::is_integer_in;
using define::number;

constexpr double kMostCounted = std::numeric_limits<std::int32_t>::max();

std::int32_t integer(const EnvOptions& o, const std::string& name, double low, double high) {
  const double value = number(o, name);
  if (!is_integer_in(value, low, high)) throw std::invalid_argument("option '" + name + "' is out of range");
  return static_cast<std::int32_t>(value);
}

// Whether float32, the type of observations, has room for it.
bool is_float(double x) { return std::abs(x) <= static_cast<double>(std::numeric_limits<float>::max()); }

bool point_robot_state(const void*, const double* f) { return std::all_of(f, f + 4, is_float); }

EnvDefinition point_robot_definition(const EnvOptions& given) {
  const EnvOptions o = define::with_none(given, {"goal_x", "goal_y"});
  EnvDefinition d;
  d.field_names = {"x", "y", "goal_x", "goal_y"};
  d.obs_size = 2;
  d.action_size = 2;
  d.nanoseconds_per_row = 4;
  d.valid_state = point_robot_state;
  define::set_params(&d, point_robot::Params{
                             .goal_x = number(o, "goal_x"),
                             .goal_y = number(o, "goal_y"),
                             .goal_range = number(o, "goal_range"),
                             .max_step = number(o, "max_step"),
                             .goal_tolerance = number(o, "goal_tolerance"),
                         });
  allow_tasks(&d, o, {"goal_x", "goal_y", "goal_range", "max_step", "goal_tolerance"});
  if (flag(o, "float32")) {
    d.field_type = FieldType::float32;
    METARL_ENV_KERNELS(d, point_robot_f32);
  } else {
    METARL_ENV_KERNELS(d, point_robot_f64);
  }
  return d;
}

EnvDefinition sparse_point_robot_definition(const EnvOptions& given) {
  const EnvOptions o = define::with_none(given, {"goal_angle"});
  EnvDefinition d;
  d.field_names = {"x", "y", "goal_x", "goal_y"};
  d.obs_size = 2;
  d.action_size = 2;
  d.nanoseconds_per_row = 4;
  d.valid_state = point_robot_state;
  define::set_params(&d, point_robot::SparseParams{
                             .goal_angle = number(o, "goal_angle"),
                             .circle_radius = number(o, "circle_radius"),
                             .max_step = number(o, "max_step"),
                             .goal_radius = number(o, "goal_radius"),
                             .dense = number(o, "dense_reward"),
                         });
  allow_tasks(&d, o, {"goal_angle", "circle_radius", "max_step", "goal_radius", "dense_reward"});
  if (flag(o, "float32")) {
    d.field_type = FieldType::float32;
    METARL_ENV_KERNELS(d, sparse_point_robot_f32);
  } else {
    METARL_ENV_KERNELS(d, sparse_point_robot_f64);
  }
  return d;
}

template <bool kGaussian>
bool bandit_state(const void* params, const double* f) {
  const auto& p = *static_cast<const trial_bandit::Params*>(params);
  const double* const means = f + trial_bandit::kFirstMeanField;
  return is_integer_in(f[0], 0, p.horizon) && is_integer_in(f[1], -1, p.arms - 1) && is_float(f[2]) &&
         std::all_of(means, means + p.arms,
                     [](double mean) { return kGaussian ? is_float(mean) : define::is_within(mean, 0, 1); });
}

EnvDefinition bandit_definition(const EnvOptions& o, bool gaussian) {
  trial_bandit::Params p{};
  p.arms = integer(o, "num_arms", 1, trial_bandit::kMaxArms);
  p.horizon = integer(o, "horizon", 1, kMostCounted - 1);
  p.own.seed = number(o, "task_seed");
  EnvDefinition d;
  if (gaussian) {
    p.own.low = number(o, "mean_loc");
    p.own.high = number(o, "mean_scale");
    p.own.reward_std = number(o, "reward_scale");
    allow_tasks(&d, o, {"task_seed", "mean_loc", "mean_scale", "reward_scale"});
    d.valid_state = bandit_state<true>;
    METARL_ENV_KERNELS(d, gaussian_bandit);
  } else {
    p.own.low = number(o, "mean_low");
    p.own.high = number(o, "mean_high");
    allow_tasks(&d, o, {"task_seed", "mean_low", "mean_high"});
    d.valid_state = bandit_state<false>;
    METARL_ENV_KERNELS(d, bernoulli_bandit);
  }
  d.field_names = {"pulls", "last_action", "last_reward"};
  for (std::int32_t arm = 0; arm < p.arms; ++arm) d.field_names.push_back("mean_" + std::to_string(arm));
  d.obs_size = p.arms + 1;
  d.num_actions = p.arms;
  d.draws_per_row = 1;
  d.nanoseconds_per_row = (gaussian ? 15 : 8) + p.arms * 0.3;
  define::set_params(&d, p);
  return d;
}

bool random_mdp_state(const void* params, const double* f) {
  const auto& p = *static_cast<const random_mdp::Params*>(params);
  return is_integer_in(f[0], 0, p.states - 1) && is_integer_in(f[1], 0, static_cast<double>(p.horizon) * p.episodes) &&
         is_integer_in(f[2], -1, p.actions - 1) && is_float(f[3]) && is_integer_in(f[4], 0, 0xFFFFFFFFu) &&
         is_integer_in(f[5], 0, 0xFFFFFFFFu);
}

EnvDefinition random_mdp_definition(const EnvOptions& o) {
  random_mdp::Params p{};
  p.states = integer(o, "num_states", 1, random_mdp::kMaxStates);
  p.actions = integer(o, "num_actions", 1, random_mdp::kMaxActions);
  p.horizon = integer(o, "horizon", 1, kMostCounted - 1);
  p.episodes = integer(o, "num_episodes", 1, std::floor((kMostCounted - 1) / p.horizon));
  p.history = flag(o, "history");
  p.own = {.seed = number(o, "task_seed"),
           .reward_mean = number(o, "mean_loc"),
           .reward_mean_std = number(o, "mean_scale"),
           .reward_std = number(o, "reward_scale")};
  EnvDefinition d;
  d.field_names = {"state", "step", "last_action", "last_reward", "mdp_name_low", "mdp_name_high"};
  d.obs_size = p.history ? p.states + p.actions + 2 : 1;
  d.obs_type = p.history ? ObsType::float32 : ObsType::int64;
  d.num_actions = p.actions;
  d.draws_per_row = 2;
  d.nanoseconds_per_row = 40 + p.states * 1.5;
  d.valid_state = random_mdp_state;
  allow_tasks(&d, o, {"task_seed", "mean_loc", "mean_scale", "reward_scale"});
  define::set_params(&d, p);
  METARL_ENV_KERNELS(d, random_mdp);
  return d;
}

// Whether the fields are those of a map with the outer walls, and of two open cells; whether the map is one that is
// generated is not asked.
bool maze_state(const void* params, const double* f) {
  const auto& p = *static_cast<const maze::Params*>(params);
  const double* const walls = f + maze::kFirstWallField;
  const double all = std::ldexp(1.0, p.size - 2) - 1;
  const auto is_inside = [&](double x) { return is_integer_in(x, 1, p.size - 2); };
  if (!is_inside(f[0]) || !is_inside(f[1]) || !is_inside(f[2]) || !is_inside(f[3])) return false;
  if (!is_integer_in(f[4], -1, 3) || !is_integer_in(f[5], 0, 1 << 24) || !is_float(f[7])) return false;
  if (!std::all_of(walls, walls + p.size, [&](double row) { return is_integer_in(row, 0, all); })) return false;
  if (walls[0] != all || walls[p.size - 1] != all) return false;
  const std::int32_t view =
      maze::view_of(walls, 1, p.size, static_cast<std::int32_t>(f[0]), static_cast<std::int32_t>(f[1]));
  return f[6] == view && (view >> 4 & 1) == 0;
}

EnvDefinition maze_definition(const EnvOptions& o) {
  maze::Params p{};
  p.size = integer(o, "size", 5, maze::kMaxSize);
  if (p.size % 2 == 0) throw std::invalid_argument("option 'size' must be odd");
  p.rooms = (p.size - 1) / 2;
  p.random_start = flag(o, "random_start");
  p.teleport = flag(o, "teleport");
  p.per_step = number(o, "time_limit") > 0 ? 1.0 / number(o, "time_limit") : 0.0;
  p.own = {.map_seed = number(o, "map_seed"),
           .goal_row = number(o, "goal_row"),
           .goal_column = number(o, "goal_column"),
           .goal_reward = number(o, "goal_reward"),
           .step_reward = number(o, "step_reward"),
           .bump_reward = number(o, "bump_reward"),
           .shaping = number(o, "shaping")};
  if (!is_integer_in(p.own.goal_row, -1, p.size - 2) || !is_integer_in(p.own.goal_column, -1, p.size - 2)) {
    throw std::invalid_argument("the goal must be a cell of the maze");
  }
  EnvDefinition d;
  d.field_names = {"row", "column", "goal_row", "goal_column", "last_action", "time", "view", "last_reward"};
  for (std::int32_t row = 0; row < p.size; ++row) d.field_names.push_back("walls_" + std::to_string(row));
  d.obs_size = maze::kObs;
  d.num_actions = 4;
  d.nanoseconds_per_row = 15;
  d.valid_state = maze_state;
  d.wide_tasks = true;
  allow_tasks(&d, o, {"map_seed", "goal_row", "goal_column", "goal_reward", "step_reward", "bump_reward", "shaping"});
  define::set_params(&d, p);
  if (p.size <= maze::kMaxNarrowSize) {
    d.field_type = FieldType::float32;
    METARL_ENV_KERNELS(d, maze_f32);
  } else {
    METARL_ENV_KERNELS(d, maze_f64);
  }
  return d;
}

}  // namespace

bool define_meta(const std::string& id, const EnvOptions& options, EnvDefinition* definition) {
  if (id == "PointRobot-v0") {
    *definition = point_robot_definition(options);
  } else if (id == "SparsePointRobot-v0") {
    *definition = sparse_point_robot_definition(options);
  } else if (id == "BernoulliBandit-v0") {
    *definition = bandit_definition(options, false);
  } else if (id == "GaussianBandit-v0") {
    *definition = bandit_definition(options, true);
  } else if (id == "TabularMDP-v0") {
    *definition = random_mdp_definition(options);
  } else if (id == "Maze-v0") {
    *definition = maze_definition(options);
  } else {
    return false;
  }
  return true;
}

}  // namespace metarl
