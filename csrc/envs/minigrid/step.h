// One step of MiniGrid: what an action does to the level, and how the episode ends (minigrid_env.py; unlock.py and
// keycorridor.py for theirs).
#pragma once

#include "envs/minigrid/level.h"

namespace metarl::minigrid {

struct Outcome {
  bool success;  // ends the episode with a reward
  bool failure;  // ends it without
};

// Free of branches on the action, which is random to a branch predictor. The agent does not leave the grid: what is
// beyond its edge, which only a state set by hand gets to, is a wall.
METARL_HD Outcome step(const Params& p, std::uint8_t* row, std::uint32_t action) {
  const Level level{row, p.width, p.height};
  const std::int32_t x = row[kAgentX], y = row[kAgentY], direction = row[kDirection];
  const Place front = ahead(x, y, direction);
  const bool inside = is_inside(level, front.x, front.y);
  Cell* const place = inside ? &at(level, front.x, front.y) : row + kHeader;
  const Cell seen = *place;
  const Cell found = inside ? seen : kGreyWall;
  const Cell held = row[kCarrying];
  const std::uint32_t kind = kind_of(found);

  const bool moves = (action == kForward) & is_one_of(kind, kPassable);
  const bool takes = (action == kPickUp) & is_one_of(kind, kPortable) & (held == kNothing);
  const bool drops = (action == kDrop) & (kind == kEmpty) & (held != kNothing);
  const bool toggles = action == kToggle;
  const bool has_key = held == cell(kKey, colour_of(found));
  const bool opens = toggles & ((kind == kClosedDoor) | ((kind == kLockedDoor) & has_key));
  const bool closes = toggles & (kind == kOpenDoor);

  row[kDirection] = static_cast<std::uint8_t>((direction + (action == kRight) + 3 * (action == kLeft)) & 3);
  row[kAgentX] = static_cast<std::uint8_t>(moves ? front.x : x);
  row[kAgentY] = static_cast<std::uint8_t>(moves ? front.y : y);
  row[kCarrying] = takes ? found : drops ? kNothing : held;
  Cell left = takes ? kNothing : drops ? held : seen;
  left = opens ? cell(kOpenDoor, colour_of(found)) : left;
  left = closes ? cell(kClosedDoor, colour_of(found)) : left;
  *place = left;

  bool success = moves & (kind == kGoal);
  if (p.family == kKeyCorridor) success |= (action == kPickUp) & (row[kCarrying] == row[kTarget]);
  if (p.family == kUnlock) success |= toggles & (kind_of(at(level, row[kTargetX], row[kTargetY])) == kOpenDoor);
  const bool failure = moves & (kind == kLava);
  return {success, failure};
}

}  // namespace metarl::minigrid
