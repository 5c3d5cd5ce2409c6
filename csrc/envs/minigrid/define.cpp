// MiniGrid's environments.
#include "envs/define.h"

#include <stdexcept>

#include "envs/kernels.h"
#include "envs/minigrid/multi_room.h"
#include "envs/minigrid/room_levels.h"
#include "envs/minigrid/simple_levels.h"
#include "envs/minigrid/view.h"

namespace metarl {
namespace {

using define::is_integer_in;
using define::number;

std::int32_t integer(const EnvOptions& options, const std::string& name, double low, double high) {
  const double value = number(options, name);
  if (!is_integer_in(value, low, high)) throw std::invalid_argument("option '" + name + "' is out of range");
  return static_cast<std::int32_t>(value);
}

// What a cell can be; walls, goals and lava have one colour.
bool is_cell(double value, std::uint32_t kinds) {
  if (!is_integer_in(value, 0, 255)) return false;
  const auto c = static_cast<minigrid::Cell>(value);
  const std::uint32_t kind = minigrid::kind_of(c);
  if (!minigrid::is_one_of(kind, kinds) || minigrid::colour_of(c) >= minigrid::kColours) return false;
  switch (kind) {
    case minigrid::kEmpty:
      return c == minigrid::kNothing;
    case minigrid::kWall:
      return c == minigrid::kGreyWall;
    case minigrid::kGoal:
      return c == minigrid::kGreenGoal;
    case minigrid::kLava:
      return c == minigrid::kRedLava;
    default:
      return c == minigrid::cell(static_cast<minigrid::Kind>(kind), minigrid::colour_of(c));
  }
}

bool is_minigrid_state(const void* params, const double* f) {
  using namespace minigrid;
  const auto& p = *static_cast<const Params*>(params);
  constexpr std::uint32_t kAllKinds = kPassable | kPortable | kDoors | 1u << kWall;
  const int cells = p.width * p.height;
  const double* const grid = f + kHeader;
  int balls = kind_of(static_cast<Cell>(is_cell(f[kCarrying], kAllKinds) ? f[kCarrying] : 0)) == kBall;
  for (int k = 0; k < cells; ++k) {
    if (!is_cell(grid[k], kAllKinds)) return false;
    const auto c = static_cast<Cell>(grid[k]);
    if (kind_of(c) != kBall) continue;
    ++balls;
    if (c != f[kTarget]) return false;
  }
  const bool simple = is_integer_in(f[kAgentX], 0, p.width - 1) && is_integer_in(f[kAgentY], 0, p.height - 1) &&
                      is_integer_in(f[kDirection], 0, 3) && is_cell(f[kCarrying], kPortable | 1u << kEmpty) &&
                      is_integer_in(f[kTargetX], 0, p.width - 1) && is_integer_in(f[kTargetY], 0, p.height - 1);
  if (!simple) return false;
  const auto at = [&](Field x, Field y) {
    return static_cast<Cell>(grid[static_cast<int>(f[y]) * p.width + static_cast<int>(f[x])]);
  };
  if (!is_one_of(kind_of(at(kAgentX, kAgentY)), kPassable)) return false;
  const Cell target = at(kTargetX, kTargetY);
  if (p.family == kKeyCorridor) {
    const bool holds_other = kind_of(static_cast<Cell>(f[kCarrying])) == kBall && f[kCarrying] != f[kTarget];
    return is_cell(f[kTarget], 1u << kBall) && balls == 1 && !holds_other;
  }
  if (balls > 0) return false;
  if (p.family == kUnlock) {
    return is_cell(f[kTarget], 1u << kLockedDoor) && is_one_of(kind_of(target), kDoors) &&
           colour_of(target) == colour_of(static_cast<Cell>(f[kTarget]));
  }
  return f[kTarget] == kGreenGoal && target == kGreenGoal;
}

minigrid::Params minigrid_params(const EnvOptions& o) {
  using namespace minigrid;
  Params p{};
  p.family = integer(o, "family", 0, kFamilies - 1);
  p.room_size = integer(o, "room_size", 0, 64);
  p.count = integer(o, "count", 0, 64);
  p.width = integer(o, "width", 5, 64);
  p.height = integer(o, "height", 3, 64);
  p.random_start = define::flag(o, "random_start");
  p.lava = define::flag(o, "lava");
  p.map_seed = integer(o, "map_seed", -1, 2147483647.0);
  p.see_through_walls = p.family == kEmptyRoom;
  p.row_bytes = kHeader + p.width * p.height;
  bool fits = true;
  switch (p.family) {
    case kMultiRoom:
      fits = p.count >= 1 && p.count <= kMaxRooms && p.room_size >= kSmallestRoom && p.width == p.height &&
             p.room_size < p.width;
      break;
    case kKeyCorridor:
      fits = p.room_size >= 3 && p.count >= 1 && p.count <= kMaxCorridorRows &&
             p.width == kCorridorColumns * (p.room_size - 1) + 1 && p.height == p.count * (p.room_size - 1) + 1;
      break;
    case kUnlock:
      fits = p.room_size >= 4 && p.width == 2 * (p.room_size - 1) + 1 && p.height == p.room_size;
      break;
    case kCrossing:
      fits = p.width == p.height && p.width % 2 == 1 && p.width <= kMaxCrossingSize && p.count >= 1 &&
             p.count <= p.width - 3;
      break;
    default:
      fits = p.width == p.height;
  }
  if (!fits) throw std::invalid_argument("options of a MiniGrid environment contradict each other");
  return p;
}

}  // namespace

bool define_minigrid(const std::string& id, const EnvOptions& options, EnvDefinition* definition) {
  if (id.rfind("MiniGrid-", 0) != 0) return false;
  const minigrid::Params p = minigrid_params(options);
  EnvDefinition d;
  d.field_type = FieldType::uint8;
  d.row_major = true;
  d.field_names = {"agent_x", "agent_y", "direction", "carrying", "target_x", "target_y", "target"};
  for (int y = 0; y < p.height; ++y) {
    for (int x = 0; x < p.width; ++x) d.field_names.push_back("cell_" + std::to_string(x) + "_" + std::to_string(y));
  }
  d.obs_type = ObsType::uint8;
  d.obs_size = static_cast<std::int64_t>(minigrid::kImageBytes);
  d.num_actions = minigrid::kActions;
  d.nanoseconds_per_row = 90;
  d.task_parameters = {"map_seed"};
  d.task_defaults = {static_cast<double>(p.map_seed)};
  d.valid_state = is_minigrid_state;
  define::set_params(&d, p);
  METARL_ENV_KERNELS(d, minigrid);
  *definition = std::move(d);
  return true;
}

}  // namespace metarl
