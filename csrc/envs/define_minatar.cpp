#include "envs/define_minatar.h"

#include <cmath>
#include <initializer_list>
#include <stdexcept>

#include "envs/kernels.h"
#include "envs/minatar_asterix.h"
#include "envs/minatar_breakout.h"
#include "envs/minatar_freeway.h"
#include "envs/minatar_space_invaders.h"

namespace metarl {
namespace {

double number(const EnvOptions& options, const std::string& name) {
  const auto found = options.numbers.find(name);
  if (found == options.numbers.end()) throw std::invalid_argument("option '" + name + "' is missing");
  return found->second;
}

bool is_integer_in(double x, double low, double high) { return x >= low && x <= high && std::floor(x) == x; }

const minatar::Params& params_of(const void* params) { return *static_cast<const minatar::Params*>(params); }

// Whether the reference's action x is one of the action set's.
bool is_action(const minatar::Params& p, double x) {
  for (int a = 0; a < p.num_actions; ++a) {
    if (x == static_cast<double>((p.action_set >> (4 * a)) & 15u)) return true;
  }
  return false;
}

// What all games have: params, actions, layout. minimal: the reference's minimal action set.
EnvDefinition game_definition(const EnvOptions& o, std::initializer_list<minatar::Action> minimal, int channels,
                              int draws) {
  minatar::Params p{};
  const auto add = [&p](minatar::Action action) {
    p.action_set |= static_cast<std::uint32_t>(action) << (4 * p.num_actions++);
  };
  if (number(o, "use_minimal_action_set") != 0) {
    for (const minatar::Action action : minimal) add(action);
  } else {
    for (int action = 0; action < minatar::kActions; ++action) add(static_cast<minatar::Action>(action));
  }
  p.sticky_probability = number(o, "sticky_action_prob");
  if (!(p.sticky_probability >= 0 && p.sticky_probability <= 1)) {
    throw std::invalid_argument("option 'sticky_action_prob' must be in [0, 1]");
  }
  p.sticky_below = static_cast<std::uint64_t>(std::ceil(p.sticky_probability * 0x1.0p32));
  p.ramping = number(o, "difficulty_ramping") != 0;
  EnvDefinition d;
  d.field_type = FieldType::int32;
  d.obs_type = ObsType::boolean;
  d.obs_size = std::int64_t{minatar::kCells} * channels;
  d.num_actions = p.num_actions;
  d.draws_per_row = draws;
  d.params = std::make_shared<const minatar::Params>(p);
  return d;
}

// Fields name_0, name_1, ...
void add_slots(EnvDefinition& d, const std::string& name, int count) {
  for (int i = 0; i < count; ++i) d.field_names.push_back(name + "_" + std::to_string(i));
}

bool breakout_state(const void* params, const double* f) {
  using namespace minatar::breakout;
  constexpr double kLast = minatar::kSide - 1;
  return is_action(params_of(params), f[kLastAction]) && is_integer_in(f[kBallX], 0, kLast) &&
         is_integer_in(f[kBallY], 0, kFloor) && is_integer_in(f[kDirection], 0, 3) &&
         is_integer_in(f[kLastX], 0, kLast) && is_integer_in(f[kLastY], 0, kFloor - 1) &&
         std::abs(f[kLastX] - f[kBallX]) <= 1 && std::abs(f[kLastY] - f[kBallY]) <= 1 &&
         is_integer_in(f[kPosition], 0, kLast) && is_integer_in(f[kBricks], 0, kWall) &&
         is_integer_in(f[kStrike], 0, 1);
}

EnvDefinition breakout_definition(const EnvOptions& o) {
  EnvDefinition d = game_definition(o, {minatar::kNothing, minatar::kLeft, minatar::kRight},
                                    minatar::breakout::kChannels, minatar::breakout::kDraws);
  d.field_names = {"last_action", "ball_x",   "ball_y", "ball_direction", "last_x",
                   "last_y",      "position", "bricks", "strike"};
  d.nanoseconds_per_row = 30;
  d.valid_state = breakout_state;
  METARL_ENV_KERNELS(d, minatar_breakout);
  return d;
}

bool freeway_state(const void* params, const double* f) {
  using namespace minatar::freeway;
  bool cars = true;
  for (int i = 0; i < kCars; ++i) {
    const double speed = std::abs(f[kCarSpeed + i]);
    cars = cars && is_integer_in(f[kCarX + i], 0, minatar::kSide - 1) && is_integer_in(speed, 1, kSlowest) &&
           is_integer_in(f[kCarTimer + i], 0, speed);
  }
  return cars && is_action(params_of(params), f[kLastAction]) && is_integer_in(f[kPosition], 1, kStart) &&
         is_integer_in(f[kMoveTimer], 0, kMoveEvery) && is_integer_in(f[kTimeLeft], -1, kTimeLimit);
}

EnvDefinition freeway_definition(const EnvOptions& o) {
  using minatar::freeway::kCars;
  EnvDefinition d = game_definition(o, {minatar::kNothing, minatar::kUp, minatar::kDown}, minatar::freeway::kChannels,
                                    minatar::freeway::kDraws);
  d.field_names = {"last_action", "position", "move_timer", "time_left"};
  add_slots(d, "car_x", kCars);
  add_slots(d, "car_timer", kCars);
  add_slots(d, "car_speed", kCars);
  d.nanoseconds_per_row = 50;
  d.valid_state = freeway_state;
  METARL_ENV_KERNELS(d, minatar_freeway);
  return d;
}

bool asterix_state(const void* params, const double* f) {
  using namespace minatar::asterix;
  const minatar::Params& p = params_of(params);
  bool entities = true;
  for (int i = 0; i < kSlots; ++i) {
    const double e = f[kEntity + i];
    entities = entities && is_integer_in(e, 0, kThere + kGoldBit + kRightBit + kColumnBits) &&
               (e == 0 || (e >= kThere && (static_cast<int>(e) & kColumnBits) < minatar::kSide));
  }
  return entities && is_action(p, f[kLastAction]) && is_integer_in(f[kPlayerX], 0, minatar::kSide - 1) &&
         is_integer_in(f[kPlayerY], 1, minatar::kSide - 2) && is_integer_in(f[kSpawnTimer], 0, kSpawnEvery) &&
         is_integer_in(f[kMoveTimer], 0, kMoveEvery) &&
         is_integer_in(f[kRampTimer], p.ramping ? -1 : kRampEvery, kRampEvery) &&
         is_integer_in(f[kRamp], 0, p.ramping ? kLastRamp : 0) && is_integer_in(f[kOver], 0, 1);
}

EnvDefinition asterix_definition(const EnvOptions& o) {
  EnvDefinition d =
      game_definition(o, {minatar::kNothing, minatar::kLeft, minatar::kUp, minatar::kRight, minatar::kDown},
                      minatar::asterix::kChannels, minatar::asterix::kDraws);
  d.field_names = {"last_action", "player_x",   "player_y",   "spawn_timer",
                   "move_timer",  "ramp_timer", "ramp_index", "terminal"};
  add_slots(d, "entity", minatar::asterix::kSlots);
  d.nanoseconds_per_row = 40;
  d.valid_state = asterix_state;
  METARL_ENV_KERNELS(d, minatar_asterix);
  return d;
}

bool space_invaders_state(const void* params, const double* f) {
  using namespace minatar::space_invaders;
  const minatar::Params& p = params_of(params);
  bool maps = true;
  for (int w = 0; w < 3 * kWords; ++w) {
    maps = maps && is_integer_in(f[kAliens + w], 0, w % kWords == kWords - 1 ? kRowBits : kWordBits);
  }
  const bool aliens = f[kAliens] + f[kAliens + 1] + f[kAliens + 2] + f[kAliens + 3] > 0;
  return maps && aliens && is_action(p, f[kLastAction]) && is_integer_in(f[kPosition], 0, kLastColumn) &&
         (f[kDirection] == -1 || f[kDirection] == 1) && is_integer_in(f[kMoveTimer], 0, kMoveEvery) &&
         is_integer_in(f[kAlienShotTimer], 0, kAlienShotEvery) && is_integer_in(f[kShotTimer], 0, kShotEvery - 1) &&
         is_integer_in(f[kRamp], 0, p.ramping ? kLastRamp : 0) && is_integer_in(f[kOver], 0, 1);
}

EnvDefinition space_invaders_definition(const EnvOptions& o) {
  using minatar::space_invaders::kWords;
  EnvDefinition d = game_definition(o, {minatar::kNothing, minatar::kLeft, minatar::kRight, minatar::kFire},
                                    minatar::space_invaders::kChannels, minatar::space_invaders::kDraws);
  d.field_names = {"last_action",      "position",   "alien_direction", "alien_move_timer",
                   "alien_shot_timer", "shot_timer", "ramp_index",      "terminal"};
  add_slots(d, "aliens", kWords);
  add_slots(d, "friendly_bullets", kWords);
  add_slots(d, "enemy_bullets", kWords);
  d.nanoseconds_per_row = 60;
  d.valid_state = space_invaders_state;
  METARL_ENV_KERNELS(d, minatar_space_invaders);
  return d;
}

}  // namespace

EnvDefinition minatar_definition(const std::string& id, const EnvOptions& options) {
  const std::string game = id.substr(0, id.rfind("-v"));
  if (game == "MinAtar/Asterix") return asterix_definition(options);
  if (game == "MinAtar/Breakout") return breakout_definition(options);
  if (game == "MinAtar/Freeway") return freeway_definition(options);
  if (game == "MinAtar/SpaceInvaders") return space_invaders_definition(options);
  throw std::invalid_argument("unknown environment '" + id + "'");
}

}  // namespace metarl
