// A new level: the package's _gen_grid of each environment, with this library's random numbers.
#pragma once

#include "envs/minigrid/multi_room.h"
#include "envs/minigrid/room_levels.h"
#include "envs/minigrid/simple_levels.h"

namespace metarl::minigrid {

METARL_HD void generate(const Params& p, std::uint8_t* row, Random random) {
  const Level level{row, p.width, p.height};
  clear(level);
  row[kCarrying] = kNothing;
  switch (p.family) {
    case kEmptyRoom:
      return build_empty(p, level, random);
    case kDoorKey:
      return build_door_key(level, random);
    case kMultiRoom:
      return build_multi_room(p, level, random);
    case kKeyCorridor:
      return build_key_corridor(p, level, random);
    case kFourRooms:
      return build_four_rooms(level, random);
    case kUnlock:
      return build_unlock(p, level, random);
    default:
      return build_crossing(p, level, random);
  }
}

}  // namespace metarl::minigrid
