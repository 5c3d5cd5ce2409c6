// A maze of rooms and passages, seen three cells wide, with a reward at a goal that is not seen (after Miconi et al.,
// "Backpropamine", 2019, and gymnax' MetaMaze, which both have one fixed map). Every row has a map of its own.
//
// Maps are perfect mazes: between any two open cells there is exactly one way. A randomised depth-first search carves
// them out of a grid whose rooms are the cells with odd row and column.
#pragma once

#include <cstdint>
#include <type_traits>

#include "metarl/detail/hd.h"

namespace metarl::maze {

constexpr std::int32_t kMaxSize = 51;        // of fields of type double
constexpr std::int32_t kMaxNarrowSize = 25;  // of fields of type float, which hold 24 bits
constexpr std::int32_t kMaxRooms = 25;       // a side
constexpr std::int32_t kFirstWallField = 8;
constexpr int kObs = 15;

// In the order of the definition's task_parameters.
struct Task {
  double map_seed;               // of the map and of a goal that is not given; negative: new ones every episode
  double goal_row, goal_column;  // of a room; negative: drawn
  double goal_reward, step_reward, bump_reward;  // of reaching the goal, of every step, of a step against a wall
  double shaping;                                // for each cell that a step comes closer to the goal
};

struct Params {
  std::int32_t size, rooms;  // rows and columns of cells with the walls around; rooms a side, (size - 1) / 2
  bool random_start;         // else in the room at (1, 1)
  bool teleport;             // at the goal go on from a new start, else the episode ends
  double per_step;           // what is observed of the time for each step
  Task own;
};

struct State {
  std::int32_t row, column, goal_row, goal_column;
  std::int32_t last_action;  // -1: none
  std::int32_t time;         // steps since the reset
  std::int32_t view;         // the walls around, of the cell (row + i, column + j) at bit 3 (i + 1) + j + 1
  float last_reward;
};

// A row of walls without the outermost ones, column c at bit c - 1.
template <class Real>
using Walls = std::conditional_t<std::is_same_v<Real, float>, std::uint32_t, std::uint64_t>;

template <class Real>
METARL_HD Walls<Real> walls_of(Real field) {
  using Signed = std::make_signed_t<Walls<Real>>;
  return static_cast<Walls<Real>>(static_cast<Signed>(field));
}

// From the field of row 0 of one map.
template <class Real>
METARL_HD std::int32_t view_of(const Real* walls, std::int64_t stride, std::int32_t size, std::int32_t row,
                               std::int32_t column) {
  using Bits = Walls<Real>;
  const Bits border = Bits{1} | Bits{1} << (size - 1);
  Bits view = 0;
  for (int i = 0; i < 3; ++i) {
    const Bits line = walls_of(walls[(row + i - 1) * stride]) << 1 | border;
    view |= (line >> (column - 1) & 7) << (3 * i);
  }
  return static_cast<std::int32_t>(view);
}

METARL_HD std::int32_t absolute(std::int32_t x) { return x < 0 ? -x : x; }

// Cells between two places if there were no walls.
METARL_HD std::int32_t distance(std::int32_t row, std::int32_t column, std::int32_t to_row, std::int32_t to_column) {
  return absolute(row - to_row) + absolute(column - to_column);
}

METARL_HD void write_observation(float* out, std::int32_t view, std::int32_t last_action, float last_reward,
                                 float time) {
  const std::int32_t bits = view | static_cast<std::int32_t>(std::uint32_t{1} << (9 + last_action) & ~0x1FFu);
  for (int j = 0; j < 13; ++j) out[j] = static_cast<float>(bits >> j & 1);
  out[13] = last_reward;
  out[14] = time;
}

}  // namespace metarl::maze
