// FrozenLake: cross a grid of ice to the goal without falling into a hole; on slippery ice a move may go to either side
// (gymnasium FrozenLake-v1).
#pragma once

#include <cstdint>

#include "metarl/detail/hd.h"
#include "metarl/detail/philox.h"

namespace metarl::frozen_lake {

enum Cell : std::uint8_t { kFrozen = 0, kHole = 1, kGoal = 2 };

struct Rules {
  bool slippery;
  double success_rate, fail_rate;  // of the intended direction; of each neighbouring one
  double reward[3];                // by Cell
};

struct Params {
  Rules own;
  std::int32_t rows;
  std::int32_t cells;
  const std::int32_t* next;    // [cell][direction]: left, down, right, up
  const std::uint8_t* kind;    // [cell]: Cell
  const std::int32_t* starts;  // cells with an S
  std::uint64_t num_starts;
};

// Of one row. Its map is not part of it, but where an episode may start.
struct Task {
  Rules rules;
  const std::int32_t* starts;
  std::uint64_t num_starts;
};

// Columns of the task's numbers, in the order of the definition's task_parameters. NaN: as the environment was made.
enum TaskColumn : int { kSlippery, kSuccessRate, kGoalReward, kHoleReward, kFrozenReward, kMapSeed };

struct Outcome {
  std::int32_t cell;
  double reward;
  double probability;
  bool ended;
};

// A map, as a kernel holds it.
struct Tables {
  const std::int32_t* next;
  const std::uint8_t* kind;
};

// u: uniform in [0, 1), used on slippery ice: the directions before, at and after the action share it in that order.
METARL_HD Outcome step(const Rules& p, const Tables& t, std::int32_t cell, int action, double u) {
  if (t.kind[cell] != kFrozen) return {cell, 0.0, 1.0, true};
  int direction = action;
  double probability = 1.0;
  if (p.slippery) {
    const double first = p.fail_rate;
    const double second = first + p.success_rate;
    const double third = second + p.fail_rate;
    // Sums that round below u fall back to the first, as the reference's argmax does.
    const int side = ((u >= first) + (u >= second) - 1) * (u < third ? 1 : -1);
    direction = (action + side) & 3;
    probability = side == 0 ? p.success_rate : p.fail_rate;
  }
  const std::int32_t next = t.next[cell * 4 + direction];
  const std::uint8_t kind = t.kind[next];
  return {next, p.reward[kind], probability, kind != kFrozen};
}

}  // namespace metarl::frozen_lake
