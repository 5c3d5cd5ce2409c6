// Draws the map of a maze and the places in it. Included by kernel files only.
#pragma once

#include <cstdint>

#include "envs/meta/maze.h"
#include "envs/meta/task_random.h"

namespace metarl::maze {

struct Room {
  std::int32_t row, column;  // of its cell
};

METARL_HD Room room_at(const Params& p, std::int32_t index) {
  return {2 * (index / p.rooms) + 1, 2 * (index % p.rooms) + 1};
}

// A room that is not the first one.
METARL_HD Room draw_goal(const Params& p, std::uint32_t word) {
  return room_at(p, 1 + index_below(word, p.rooms * p.rooms - 1));
}

// A room that is not the goal.
METARL_HD Room draw_start(const Params& p, std::uint32_t word, std::int32_t goal_row, std::int32_t goal_column) {
  const std::int32_t goal = goal_row / 2 * p.rooms + goal_column / 2;
  const std::int32_t index = index_below(word, p.rooms * p.rooms - 1);
  return room_at(p, index + (index >= goal));
}

// Randomised depth-first search from a random room: go on to an unvisited neighbour, each equally likely, and back
// where there is none. One word of random numbers for the first room and for each of the others.
template <class Bits>
METARL_HD void carve(const Params& p, const TaskSource& source, Bits* walls) {
  // For the set of free directions (bits up, right, down, left): how many, and which one by its number.
  static constexpr std::uint8_t kCount[16] = {0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4};
  static constexpr std::uint8_t kChoice[16][4] = {
      {0, 0, 0, 0}, {0, 0, 0, 0}, {1, 0, 0, 0}, {0, 1, 0, 0}, {2, 0, 0, 0}, {0, 2, 0, 0}, {1, 2, 0, 0}, {0, 1, 2, 0},
      {3, 0, 0, 0}, {0, 3, 0, 0}, {1, 3, 0, 0}, {0, 1, 3, 0}, {2, 3, 0, 0}, {0, 2, 3, 0}, {1, 2, 3, 0}, {0, 1, 2, 3}};
  static constexpr std::int32_t kDown[4] = {-1, 0, 1, 0};
  static constexpr std::int32_t kRight[4] = {0, 1, 0, -1};
  const Bits all = (Bits{1} << (p.size - 2)) - 1;
  for (std::int32_t row = 0; row < p.size; ++row) walls[row] = all;
  // Rooms as in a grid with a rim of visited ones: row r, column c at bit c of unvisited[r], both from 1.
  std::uint32_t unvisited[kMaxRooms + 2];
  for (std::int32_t row = 1; row <= p.rooms; ++row) unvisited[row] = ((1u << p.rooms) - 1) << 1;
  unvisited[0] = unvisited[p.rooms + 1] = 0;
  std::uint16_t way[kMaxRooms * kMaxRooms];  // the rooms between the first and the present one
  std::int32_t length = 0;
  PhiloxBlock block = generate(source, 1);
  std::uint32_t used = 1;
  const std::int32_t start = index_below(block.v[0], p.rooms * p.rooms);
  std::int32_t row = start / p.rooms + 1;
  std::int32_t column = start % p.rooms + 1;
  unvisited[row] &= ~(1u << column);
  walls[2 * row - 1] &= ~(Bits{1} << (2 * column - 2));
  for (;;) {
    const std::uint32_t free = (unvisited[row - 1] >> column & 1) | (unvisited[row] >> (column + 1) & 1) << 1 |
                               (unvisited[row + 1] >> column & 1) << 2 | (unvisited[row] >> (column - 1) & 1) << 3;
    if (free == 0) {
      if (length == 0) return;
      --length;
      row = way[length] >> 8;
      column = way[length] & 0xFF;
      continue;
    }
    if (used % 4 == 0) block = generate(source, 1 + used / 4);
    const std::uint8_t direction = kChoice[free][index_below(block.v[used % 4], kCount[free])];
    ++used;
    way[length++] = static_cast<std::uint16_t>(row << 8 | column);
    const std::int32_t down = kDown[direction];
    const std::int32_t right = kRight[direction];
    walls[2 * row - 1 + down] &= ~(Bits{1} << (2 * column - 2 + right));
    row += down;
    column += right;
    walls[2 * row - 1] &= ~(Bits{1} << (2 * column - 2));
    unvisited[row] &= ~(1u << column);
  }
}

}  // namespace metarl::maze
