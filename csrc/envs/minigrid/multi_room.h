// A chain of rooms of random sizes, each behind a door of the one before (multiroom.py of the package).
#pragma once

#include <cstdint>

#include "envs/minigrid/build.h"

namespace metarl::minigrid {

constexpr std::int32_t kMaxRooms = 8;
constexpr std::int32_t kSmallestRoom = 4;
constexpr std::int32_t kTriesPerRoom = 8;
// The package builds chains until one has all rooms, without an end. More than one chain in five has, so that this many
// never fail (1e-100); if they did, the longest would be the level.
constexpr std::int32_t kMaxChains = 1024;

struct Chain {
  Rectangle room[kMaxRooms];
  Place door[kMaxRooms];  // of room k: the one that leads into it
  std::int32_t length;
};

// Sides in the package's order: 0 right, 1 below, 2 left, 3 above. Adds a room whose door is on that side of it, if it
// has space.
METARL_HD bool add_room(const Params& p, Random& random, Chain& chain, std::int32_t side, Place door) {
  const std::int32_t width = between(random, kSmallestRoom, p.room_size + 1);
  const std::int32_t height = between(random, kSmallestRoom, p.room_size + 1);
  Rectangle r = {door.x, door.y, width, height};
  if (chain.length > 0) {
    if (side == 0) r.x = door.x - width + 1;
    if (side == 1) r.y = door.y - height + 1;
    if (side % 2 == 0) {
      r.y = between(random, door.y - height + 2, door.y);
    } else {
      r.x = between(random, door.x - width + 2, door.x);
    }
  }
  if (r.x < 0 || r.y < 0 || r.x + width > p.width || r.y + height >= p.height) return false;
  for (std::int32_t k = 0; k + 1 < chain.length; ++k) {  // it may touch the last one
    const Rectangle& other = chain.room[k];
    const bool apart = r.x + width < other.x || other.x + other.width <= r.x || r.y + height < other.y ||
                       other.y + other.height <= r.y;
    if (!apart) return false;
  }
  chain.room[chain.length] = r;
  chain.door[chain.length] = door;
  ++chain.length;
  return true;
}

METARL_HD void draw_chain(const Params& p, Random& random, Chain& chain) {
  chain.length = 0;
  std::int32_t side = 2;
  const std::int32_t x = below(random, p.width - 2);
  Place door = {x, below(random, p.width - 2)};
  if (!add_room(p, random, chain, side, door)) return;
  while (chain.length < p.count) {
    const Rectangle r = chain.room[chain.length - 1];
    bool added = false;
    for (std::int32_t k = 0; k < kTriesPerRoom && !added; ++k) {
      std::int32_t exit = below(random, 3);
      exit += exit >= side;
      if (exit % 2 == 0) {
        door = {exit == 0 ? r.x + r.width - 1 : r.x, r.y + between(random, 1, r.height - 1)};
      } else {
        door = {r.x + between(random, 1, r.width - 1), exit == 1 ? r.y + r.height - 1 : r.y};
      }
      added = add_room(p, random, chain, (exit + 2) % 4, door);
      if (added) side = (exit + 2) % 4;
    }
    if (!added) return;
  }
}

METARL_HD void build_multi_room(const Params& p, const Level& level, Random& random) {
  Chain best{}, chain{};
  for (std::int32_t k = 0; k < kMaxChains && best.length < p.count; ++k) {
    draw_chain(p, random, chain);
    if (chain.length > best.length) best = chain;
  }
  std::int32_t colour = -1;
  for (std::int32_t k = 0; k < best.length; ++k) {
    wall_around(level, best.room[k]);
    if (k == 0) continue;
    // Another colour than the door before has.
    const std::int32_t drawn = below(random, colour < 0 ? kColours : kColours - 1);
    colour = drawn + (colour >= 0 && drawn >= colour);
    at(level, best.door[k].x, best.door[k].y) = cell(kClosedDoor, static_cast<std::uint8_t>(colour));
  }
  draw_agent(level, random, best.room[0]);
  put_target(level, draw_empty(level, random, best.room[best.length - 1], agent_of(level)), kGreenGoal);
}

}  // namespace metarl::minigrid
