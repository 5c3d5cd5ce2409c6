// bsuite's environments.
#include "envs/define.h"

#include <algorithm>
#include <limits>

#include "envs/bsuite/bandit.h"
#include "envs/bsuite/cartpole_swingup.h"
#include "envs/bsuite/catch_ball.h"
#include "envs/bsuite/deep_sea.h"
#include "envs/bsuite/discounting_chain.h"
#include "envs/bsuite/memory_chain.h"
#include "envs/kernels.h"
#include "envs/numpy_random.h"

namespace metarl {
namespace {

using define::allow_tasks;
using define::flag;
using define::is_integer_in;
using define::is_within;
using define::number;
using define::with_none;

constexpr double kMostCounted = std::numeric_limits<std::int32_t>::max();

std::int32_t integer(const EnvOptions& o, const std::string& name, double low, double high) {
  const double value = number(o, name);
  if (!is_integer_in(value, low, high)) throw std::invalid_argument("option '" + name + "' is out of range");
  return static_cast<std::int32_t>(value);
}

EnvDefinition catch_definition(const EnvOptions& o) {
  using catch_ball::Params;
  const Params p{.rows = integer(o, "rows", 2, 1024), .columns = integer(o, "columns", 1, 1024)};
  EnvDefinition d;
  d.field_names = {"ball_row", "ball_column", "paddle", "misses"};
  d.field_type = FieldType::int32;
  d.obs_size = std::int64_t{p.rows} * p.columns;
  d.num_actions = 3;
  d.incremental_obs = true;
  d.nanoseconds_per_row = 8 + static_cast<double>(d.obs_size) * 0.2;
  d.valid_state = [](const void* params, const double* f) {
    const auto& size = *static_cast<const Params*>(params);
    return is_integer_in(f[0], 0, size.rows - 1) && is_integer_in(f[1], 0, size.columns - 1) &&
           is_integer_in(f[2], 0, size.columns - 1) && is_integer_in(f[3], 0, kMostCounted);
  };
  define::set_params(&d, p);
  METARL_ENV_KERNELS(d, catch_ball);
  return d;
}

// A byte for each arm: which of the ascending means it has, by bsuite's order of this seed.
void make_bandit_order(const void* params, const double* task, std::uint8_t* order) {
  const auto& p = *static_cast<const bandit::Params*>(params);
  const double seed = task[bandit::kMappingSeed];
  if (std::isnan(seed)) {
    for (int arm = 0; arm < p.arms; ++arm) {
      order[arm] = static_cast<std::uint8_t>(std::lower_bound(p.level, p.level + p.arms, p.mean[arm]) - p.level);
    }
    return;
  }
  const auto ranks =
      numpy::RandomState(static_cast<std::uint32_t>(seed)).permutation(static_cast<std::uint32_t>(p.arms));
  std::transform(ranks.begin(), ranks.end(), order, [](std::uint32_t rank) { return static_cast<std::uint8_t>(rank); });
}

EnvDefinition bandit_definition(const EnvOptions& given) {
  const EnvOptions o = with_none(given, {"mapping_seed"});
  bandit::Params p{};
  p.noise_scale = number(o, "noise_scale");
  p.reward_scale = number(o, "reward_scale");
  p.arms = integer(o, "num_actions", 1, bandit::kMaxArms);
  EnvDefinition d;
  d.num_actions = p.arms;
  for (int arm = 0; arm < p.arms; ++arm) p.mean[arm] = number(o, "mean_" + std::to_string(arm));
  std::copy_n(p.mean, p.arms, p.level);
  std::sort(p.level, p.level + p.arms);
  allow_tasks(&d, o, {"noise_scale", "reward_scale", "mapping_seed"});
  d.layout_bytes = p.arms;
  d.make_layout = make_bandit_order;
  d.field_names = {"total_regret"};
  d.draws_per_row = p.noise_scale != 0.0 ? 1 : 0;
  d.nanoseconds_per_row = p.noise_scale != 0.0 ? 25 : 6;
  d.valid_state = [](const void*, const double* f) { return std::isfinite(f[0]) && f[0] >= 0.0; };
  define::set_params(&d, p);
  METARL_ENV_KERNELS(d, bandit);
  return d;
}

bool memory_chain_state(const void* params, const double* f) {
  const auto& p = *static_cast<const memory_chain::Params*>(params);
  const double* const context = f + memory_chain::kFirstBitField;
  return is_integer_in(f[0], 0, p.length + 1) && is_integer_in(f[1], 0, p.bits - 1) &&
         is_integer_in(f[2], 0, kMostCounted) && is_integer_in(f[3], 0, kMostCounted) &&
         std::all_of(context, context + p.bits, [](double bit) { return bit == 0.0 || bit == 1.0; });
}

EnvDefinition memory_chain_definition(const EnvOptions& o) {
  memory_chain::Params p{};
  p.length = integer(o, "memory_length", 1, 1e6);
  p.bits = integer(o, "num_bits", 1, memory_chain::kMaxBits);
  std::vector<float> time;
  for (std::int32_t step = 0; step <= p.length; ++step) {
    time.push_back(static_cast<float>(1.0 - static_cast<double>(step) / p.length));
  }
  EnvDefinition d;
  d.field_names = {"step", "query", "perfect", "mistakes"};
  for (std::int32_t bit = 0; bit < p.bits; ++bit) d.field_names.push_back("context_" + std::to_string(bit));
  d.field_type = FieldType::int32;
  d.obs_size = p.bits + 2;
  d.num_actions = 2;
  d.nanoseconds_per_row = 8 + p.bits * 0.3;
  d.valid_state = memory_chain_state;
  define::set_params(&d, p, define::ArrayOf{&memory_chain::Params::time, std::move(time)});
  METARL_ENV_KERNELS(d, memory_chain);
  return d;
}

EnvDefinition discounting_chain_definition(const EnvOptions& given) {
  using namespace discounting_chain;
  const EnvOptions o = with_none(given, {"mapping_seed"});
  Params p{.pays_at = {1, 3, 10, 30, 100}, .bonus_chain = 0, .time = {}};
  p.bonus_chain = integer(o, "bonus_chain", 0, kChains - 1);
  for (std::int32_t step = 0; step <= kLength; ++step) p.time[step] = static_cast<float>(step / double{kLength});
  EnvDefinition d;
  d.field_names = {"step", "chain"};
  d.field_type = FieldType::int32;
  d.obs_size = 2;
  d.num_actions = kChains;
  d.nanoseconds_per_row = 6;
  d.valid_state = [](const void*, const double* f) {
    return is_integer_in(f[0], 0, kLength) && (f[0] == 0 ? f[1] == -1.0 : is_integer_in(f[1], 0, kChains - 1));
  };
  d.wide_tasks = true;
  allow_tasks(&d, o, {"mapping_seed"});
  define::set_params(&d, p);
  METARL_ENV_KERNELS(d, discounting_chain);
  return d;
}

bool cartpole_swingup_state(const void* params, const double* f) {
  const auto& p = *static_cast<const cartpole_swingup::Params*>(params);
  constexpr double kPi = 0x1.921fb54442d18p+1;
  const double low = std::min(0.0, kPi - p.init_range);
  const double high = std::max(2.0 * kPi, kPi + p.init_range);
  const double slack = 1e-6;  // of float32
  return std::all_of(f, f + 9, [](double x) { return std::isfinite(x); }) &&
         is_within(f[2], low - slack, high + slack) && f[4] >= 0.0 && f[8] >= 0.0;
}

EnvDefinition cartpole_swingup_definition(const EnvOptions& o) {
  using cartpole_swingup::Params;
  EnvDefinition d;
  d.field_names = {"x",          "x_dot",        "theta",        "theta_dot", "time", "episode_return",
                   "raw_return", "best_episode", "total_upright"};
  d.obs_size = 8;
  d.num_actions = 3;
  d.nanoseconds_per_row = 15;
  d.valid_state = cartpole_swingup_state;
  define::set_params(&d, Params{
                             .height_threshold = number(o, "height_threshold"),
                             .theta_dot_threshold = number(o, "theta_dot_threshold"),
                             .x_reward_threshold = number(o, "x_reward_threshold"),
                             .move_cost = number(o, "move_cost"),
                             .x_threshold = number(o, "x_threshold"),
                             .timescale = number(o, "timescale"),
                             .max_time = number(o, "max_time"),
                             .init_range = number(o, "init_range"),
                             .mass_cart = number(o, "mass_cart"),
                             .mass_pole = number(o, "mass_pole"),
                             .length = number(o, "length"),
                             .force_mag = number(o, "force_mag"),
                             .gravity = number(o, "gravity"),
                         });
  allow_tasks(&d, o,
              {"height_threshold", "move_cost", "timescale", "init_range", "mass_cart", "mass_pole", "length",
               "force_mag", "gravity"});
  if (flag(o, "float32")) {
    d.field_type = FieldType::float32;
    METARL_ENV_KERNELS(d, cartpole_swingup_f32);
  } else {
    METARL_ENV_KERNELS(d, cartpole_swingup_f64);
  }
  return d;
}

// bsuite's mapping of this seed.
void make_sea_mapping(const void* params, const double* task, std::uint8_t* mapping) {
  const auto& p = *static_cast<const deep_sea::Params*>(params);
  const double seed = task[deep_sea::kMappingSeed];
  const std::int64_t cells = std::int64_t{p.own.size} * p.own.size;
  if (task[deep_sea::kRandomizeActions] == 0) {
    std::fill_n(mapping, cells, std::uint8_t{1});
  } else if (std::isnan(seed)) {
    std::copy_n(p.mapping, cells, mapping);
  } else {
    numpy::RandomState random(static_cast<std::uint32_t>(seed));
    std::generate_n(mapping, cells, [&] { return static_cast<std::uint8_t>(random.coin()); });
  }
}

EnvDefinition deep_sea_definition(const EnvOptions& given) {
  const EnvOptions o = with_none(given, {"mapping_seed"});
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
    const double cells = static_cast<const deep_sea::Params*>(params)->own.size;
    return is_integer_in(f[0], 0, cells) && is_integer_in(f[1], 0, cells - 1) && is_integer_in(f[2], 0, 1) &&
           is_integer_in(f[3], 0, 0x7fffffff) && is_integer_in(f[4], 0, 0x7fffffff);
  };
  d.wide_tasks = true;
  allow_tasks(&d, o, {"deterministic", "unscaled_move_cost", "randomize_actions", "mapping_seed"});
  d.layout_bytes = size * size;
  d.make_layout = make_sea_mapping;
  const deep_sea::Params p{
      .own = {.size = static_cast<std::int32_t>(size),
              .deterministic = deterministic,
              .move_cost = number(o, "unscaled_move_cost") / static_cast<double>(size),
              .fail_probability = 1.0 / static_cast<double>(size)},
      .mapping = nullptr,
  };
  define::set_params(&d, p, define::ArrayOf{&deep_sea::Params::mapping, o.table});
  METARL_ENV_KERNELS(d, deep_sea);
  return d;
}

}  // namespace

bool define_bsuite(const std::string& id, const EnvOptions& options, EnvDefinition* definition) {
  if (id == "Catch-v0") {
    *definition = catch_definition(options);
  } else if (id == "Bandit-v0") {
    *definition = bandit_definition(options);
  } else if (id == "MemoryChain-v0") {
    *definition = memory_chain_definition(options);
  } else if (id == "DiscountingChain-v0") {
    *definition = discounting_chain_definition(options);
  } else if (id == "DeepSea-v0") {
    *definition = deep_sea_definition(options);
  } else if (id == "CartPoleSwingup-v0") {
    *definition = cartpole_swingup_definition(options);
  } else {
    return false;
  }
  return true;
}

}  // namespace metarl
