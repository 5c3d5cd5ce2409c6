// MinAtar's games.
#include "envs/define.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <initializer_list>
#include <stdexcept>

#include "envs/kernels.h"
#include "envs/minatar/asterix.h"
#include "envs/minatar/breakout.h"
#include "envs/minatar/freeway.h"
#include "envs/minatar/seaquest.h"
#include "envs/minatar/space_invaders.h"

namespace metarl {
namespace {

using define::is_integer_in;
using define::number;

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
  d.wide_tasks = true;
  define::allow_tasks(&d, o, {"sticky_action_prob", "difficulty_ramping"});
  define::set_params(&d, p);
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

// One list of a Seaquest row: whether its slots are things and the rest 0, then what is in it.
struct SeaquestList {
  SeaquestList(const double* f, int list, std::int32_t longest_timer, std::int32_t longest_reload) {
    using namespace minatar::seaquest;
    const double count = f[kCounts + list];
    valid = is_integer_in(count, 0, capacity_of(list));
    for (std::int32_t i = 0; valid && i < capacity_of(list); ++i) {
      const double x = f[first_slot(list) + i];
      if (i >= count) {
        valid = x == 0;
        continue;
      }
      valid = is_integer_in(x, 0, (16 << kReloadShift) - 1);
      if (!valid) return;
      const auto t = static_cast<std::int32_t>(x);
      // Own bullets fly at the surface too.
      valid = !is_outside(t) && row_of(t) >= (list == kShots ? 0 : 1) && row_of(t) <= kLastRow &&
              timer_of(t) <= longest_timer && reload_of(t) <= longest_reload;
      things.push_back(t);
    }
  }
  bool valid;
  std::vector<std::int32_t> things;
};

// Columns that something has come from where it appeared, and steps that it stays at most when it moves every
// `speed` + 1 steps.
std::int32_t columns_made(std::int32_t t) {
  using namespace minatar::seaquest;
  return right_of(t) ? column_of(t) : kLastColumn - column_of(t);
}
std::int32_t steps_left(std::int32_t t, std::int32_t speed) {
  return minatar::seaquest::timer_of(t) + 1 + (minatar::seaquest::kLastColumn - columns_made(t)) * (speed + 1);
}

// The bounds that keep lists from overflowing; see minatar_seaquest.h.
bool are_spaced(std::vector<std::int32_t> left, double every, double timer) {
  std::sort(left.begin(), left.end(), std::greater<>());
  for (std::size_t j = 0; j < left.size(); ++j) {
    if (left[j] > 60 - every + timer - every * static_cast<double>(j)) return false;
  }
  return true;
}

bool seaquest_lists(const double* f) {
  using namespace minatar::seaquest;
  const SeaquestList shots(f, kShots, 0, 0), divers(f, kDivers, kDiverMoveEvery, 0), torpedoes(f, kTorpedoes, 0, 0),
      fishes(f, kFishes, kMoveEvery, 0), subs(f, kSubs, kMoveEvery, kEnemyShotEvery);
  if (!shots.valid || !divers.valid || !torpedoes.valid || !fishes.valid || !subs.valid) return false;
  for (std::size_t i = 0; i < shots.things.size(); ++i) {
    const auto later = static_cast<double>(shots.things.size() - 1 - i);
    if (columns_made(shots.things[i]) < kShotEvery - f[kShotTimer] + kShotEvery * later) return false;
  }
  std::vector<std::int32_t> left;
  for (const std::int32_t diver : divers.things) left.push_back(steps_left(diver, kDiverMoveEvery));
  if (!are_spaced(left, kDiverEvery, f[kDiverTimer])) return false;
  const auto ramp = static_cast<std::int32_t>(f[kRamp]);
  left.clear();
  std::int32_t ways[minatar::kSide] = {};  // by row: 1 something moves left, 2 something moves right
  for (const SeaquestList* list : {&fishes, &subs}) {
    for (const std::int32_t enemy : list->things) {
      left.push_back(steps_left(enemy, move_speed(ramp)));
      if ((ways[row_of(enemy)] |= 1 + right_of(enemy)) == 3) return false;
    }
  }
  if (!are_spaced(left, spawn_speed(ramp), f[kSpawnTimer])) return false;
  for (std::int32_t i = 0; i < 9; ++i) {
    std::int32_t count = 0;
    for (const std::int32_t torpedo : torpedoes.things) {
      if (columns_made(torpedo) == 0) return false;  // it has moved at least once
      count += minatar::kSide - columns_made(torpedo) > i;
    }
    for (const std::int32_t one : subs.things) count += reload_of(one) <= i;
    if (count > capacity_of(kTorpedoes)) return false;
  }
  return true;
}

bool seaquest_state(const void* params, const double* f) {
  using namespace minatar::seaquest;
  const minatar::Params& p = params_of(params);
  const bool simple =
      is_action(p, f[kLastAction]) && is_integer_in(f[kSubX], 0, kLastColumn) && is_integer_in(f[kSubY], 0, kLastRow) &&
      is_integer_in(f[kFacesRight], 0, 1) && is_integer_in(f[kOxygen], -1, kMaxOxygen) &&
      is_integer_in(f[kDiverCount], kFewestDivers, kMaxDivers) && is_integer_in(f[kSpawnTimer], 0, kSpawnEvery) &&
      is_integer_in(f[kDiverTimer], 0, kDiverEvery) && is_integer_in(f[kShotTimer], 0, kShotEvery - 1) &&
      is_integer_in(f[kRamp], 0, p.ramping ? kLastRamp : 0) && is_integer_in(f[kSurface], 0, 1) &&
      is_integer_in(f[kOver], 0, 1);
  if (!simple) return false;
  // The submarine's back is on the board; at the surface it has come up, or the episode is over; as it is without air.
  const bool fits = (f[kSubX] > 0 || f[kFacesRight] == 0) && (f[kSubX] < kLastColumn || f[kFacesRight] == 1) &&
                    (f[kSubY] > 0 ? f[kSurface] == 0 : f[kSurface] == 1 || f[kOver] == 1) &&
                    (f[kOxygen] >= 0 || f[kOver] == 1);
  return fits && seaquest_lists(f);
}

EnvDefinition seaquest_definition(const EnvOptions& o) {
  using namespace minatar::seaquest;
  EnvDefinition d = game_definition(
      o, {minatar::kNothing, minatar::kLeft, minatar::kUp, minatar::kRight, minatar::kDown, minatar::kFire}, kChannels,
      kDraws);
  d.field_names = {"last_action",   "sub_x",         "sub_y",      "sub_faces_right", "oxygen",  "diver_count",
                   "e_spawn_timer", "d_spawn_timer", "shot_timer", "ramp_index",      "surface", "terminal"};
  const std::string names[kLists] = {"f_bullet", "diver", "e_bullet", "e_fish", "e_sub"};
  for (const std::string& name : names) d.field_names.push_back("num_" + name);
  for (int list = 0; list < kLists; ++list) add_slots(d, names[list], capacity_of(list));
  d.nanoseconds_per_row = 100;
  d.valid_state = seaquest_state;
  METARL_ENV_KERNELS(d, minatar_seaquest);
  return d;
}

}  // namespace

bool define_minatar(const std::string& id, const EnvOptions& options, EnvDefinition* definition) {
  const std::string game = id.substr(0, id.rfind("-v"));
  if (game == "MinAtar/Asterix") {
    *definition = asterix_definition(options);
  } else if (game == "MinAtar/Breakout") {
    *definition = breakout_definition(options);
  } else if (game == "MinAtar/Freeway") {
    *definition = freeway_definition(options);
  } else if (game == "MinAtar/Seaquest") {
    *definition = seaquest_definition(options);
  } else if (game == "MinAtar/SpaceInvaders") {
    *definition = space_invaders_definition(options);
  } else {
    return false;
  }
  return true;
}

}  // namespace metarl
