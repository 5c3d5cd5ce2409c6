// Levels of one or two rooms, four rooms and crossings (empty.py, doorkey.py, fourrooms.py, crossing.py of the
// package).
#pragma once

#include <cstdint>

#include "envs/minigrid/build.h"

namespace metarl::minigrid {

METARL_HD Place last_corner(const Level& level) { return {level.width - 2, level.height - 2}; }

METARL_HD void build_empty(const Params& p, const Level& level, Random& random) {
  wall_around(level, everywhere(level));
  put_target(level, last_corner(level), kGreenGoal);
  if (p.random_start) {
    draw_agent(level, random, everywhere(level));
  } else {
    put_agent(level, {1, 1}, 0);
  }
}

// A wall with a locked door, the goal to its right, agent and key to its left.
METARL_HD void build_door_key(const Level& level, Random& random) {
  wall_around(level, everywhere(level));
  put_target(level, last_corner(level), kGreenGoal);
  const std::int32_t split = between(random, 2, level.width - 2);
  vertical_wall(level, split, 0, level.height);
  const Rectangle left = {0, 0, split, level.height};
  draw_agent(level, random, left);
  at(level, split, between(random, 1, level.width - 2)) = cell(kLockedDoor, kYellow);
  const Place key = draw_empty(level, random, left, agent_of(level));
  at(level, key.x, key.y) = cell(kKey, kYellow);
}

METARL_HD void build_four_rooms(const Level& level, Random& random) {
  wall_around(level, everywhere(level));
  const std::int32_t width = level.width / 2, height = level.height / 2;
  for (std::int32_t j = 0; j < 2; ++j) {
    for (std::int32_t i = 0; i < 2; ++i) {
      const std::int32_t x = i * width, y = j * height;
      if (i == 0) {
        vertical_wall(level, x + width, y, height);
        at(level, x + width, between(random, y + 1, y + height)) = kNothing;
      }
      if (j == 0) {
        horizontal_wall(level, x, y + height, width);
        at(level, between(random, x + 1, x + width), y + height) = kNothing;
      }
    }
  }
  draw_agent(level, random, everywhere(level));
  put_target(level, draw_empty(level, random, everywhere(level), agent_of(level)), kGreenGoal);
}

constexpr std::int32_t kMaxRivers = 64;
constexpr std::int32_t kMaxCrossingSize = 33;

// Rivers from edge to edge, and a way from corner to corner that crosses each of them once.
METARL_HD void build_crossing(const Params& p, const Level& level, Random& random) {
  wall_around(level, everywhere(level));
  put_agent(level, {1, 1}, 0);
  put_target(level, last_corner(level), kGreenGoal);
  // Number r is the vertical river at column 2 + 2 r, and after those the horizontal ones.
  const std::int32_t each = (level.width - 3) / 2;
  std::int32_t river[kMaxRivers];
  for (std::int32_t r = 0; r < 2 * each; ++r) river[r] = r;
  std::uint64_t columns = 0, rows = 0;  // of the chosen rivers, bit by bit
  for (std::int32_t k = 0; k < p.count; ++k) {
    const std::int32_t drawn = between(random, k, 2 * each);
    const std::int32_t r = river[drawn];
    river[drawn] = river[k];
    if (r < each) {
      columns |= std::uint64_t{1} << (2 + 2 * r);
    } else {
      rows |= std::uint64_t{1} << (2 + 2 * (r - each));
    }
  }
  const Cell obstacle = p.lava ? kRedLava : kGreyWall;
  // Borders and the rivers' positions, in order.
  std::int32_t column_limits[kMaxRivers], row_limits[kMaxRivers];
  std::int32_t num_columns = 0, num_rows = 0;
  column_limits[0] = row_limits[0] = 0;
  for (std::int32_t at_line = 1; at_line < level.width - 1; ++at_line) {
    for (std::int32_t k = 1; k < level.width - 1; ++k) {
      if ((rows >> at_line) & 1u) at(level, k, at_line) = obstacle;
      if ((columns >> at_line) & 1u) at(level, at_line, k) = obstacle;
    }
    if ((rows >> at_line) & 1u) row_limits[++num_rows] = at_line;
    if ((columns >> at_line) & 1u) column_limits[++num_columns] = at_line;
  }
  column_limits[num_columns + 1] = row_limits[num_rows + 1] = level.width - 1;
  // The way: each of its orders of steps to the right and down is as likely.
  std::int32_t i = 0, j = 0;
  while (i < num_columns || j < num_rows) {
    const std::int32_t to_right = num_columns - i, down = num_rows - j;
    if (below(random, to_right + down) < to_right) {
      const std::int32_t y = between(random, row_limits[j] + 1, row_limits[j + 1]);
      at(level, column_limits[++i], y) = kNothing;
    } else {
      const std::int32_t x = between(random, column_limits[i] + 1, column_limits[i + 1]);
      at(level, x, row_limits[++j]) = kNothing;
    }
  }
}

}  // namespace metarl::minigrid
