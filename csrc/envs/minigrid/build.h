// What levels are built with: walls, and places drawn from those that are free.
//
// The package draws a place in a rectangle again and again until it is free, which never ends where none is. A draw
// from the free ones has the same distribution.
#pragma once

#include <cstdint>
#include <cstring>

#include "envs/minigrid/level.h"
#include "envs/minigrid/random.h"

namespace metarl::minigrid {

struct Rectangle {
  std::int32_t x, y, width, height;
};

METARL_HD Rectangle everywhere(const Level& level) { return {0, 0, level.width, level.height}; }

METARL_HD void clear(const Level& level) {
  std::memset(level.row + kHeader, kNothing, static_cast<std::size_t>(level.width) * level.height);
}

METARL_HD void horizontal_wall(const Level& level, std::int32_t x, std::int32_t y, std::int32_t length) {
  for (std::int32_t i = 0; i < length; ++i) at(level, x + i, y) = kGreyWall;
}

METARL_HD void vertical_wall(const Level& level, std::int32_t x, std::int32_t y, std::int32_t length) {
  for (std::int32_t i = 0; i < length; ++i) at(level, x, y + i) = kGreyWall;
}

METARL_HD void wall_around(const Level& level, const Rectangle& r) {
  horizontal_wall(level, r.x, r.y, r.width);
  horizontal_wall(level, r.x, r.y + r.height - 1, r.width);
  vertical_wall(level, r.x, r.y, r.height);
  vertical_wall(level, r.x + r.width - 1, r.y, r.height);
}

METARL_HD void put_agent(const Level& level, Place place, std::int32_t direction) {
  level.row[kAgentX] = static_cast<std::uint8_t>(place.x);
  level.row[kAgentY] = static_cast<std::uint8_t>(place.y);
  level.row[kDirection] = static_cast<std::uint8_t>(direction);
}

METARL_HD void put_target(const Level& level, Place place, Cell target) {
  at(level, place.x, place.y) = target;
  level.row[kTargetX] = static_cast<std::uint8_t>(place.x);
  level.row[kTargetY] = static_cast<std::uint8_t>(place.y);
  level.row[kTarget] = target;
}

// One of the empty cells of a rectangle within the grid, other than `not_here`; every level has some.
METARL_HD Place draw_empty(const Level& level, Random& random, const Rectangle& r, Place not_here) {
  std::int32_t left = -1;
  for (int pass = 0; pass < 2; ++pass) {  // counts them, then goes to the one that was drawn
    std::int32_t count = 0;
    for (std::int32_t y = r.y; y < r.y + r.height; ++y) {
      for (std::int32_t x = r.x; x < r.x + r.width; ++x) {
        if (at(level, x, y) != kNothing || (x == not_here.x && y == not_here.y)) continue;
        if (count++ == left) return {x, y};
      }
    }
    left = below(random, count);
  }
  return {r.x, r.y};
}

constexpr Place kNowhere = {-1, -1};

METARL_HD void draw_agent(const Level& level, Random& random, const Rectangle& r) {
  const Place place = draw_empty(level, random, r, kNowhere);
  put_agent(level, place, below(random, 4));
}

METARL_HD Place agent_of(const Level& level) { return {level.row[kAgentX], level.row[kAgentY]}; }

}  // namespace metarl::minigrid
