// DeepSea: a diver descends one row a step through a size x size grid; one path of size right moves finds the treasure
// (Osband et al., "Behaviour suite for reinforcement learning", ICLR 2020).
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "metarl/detail/hd.h"
#include "metarl/detail/math.h"
#include "metarl/detail/philox.h"

namespace metarl::deep_sea {

struct Rules {
  std::int32_t size;
  bool deterministic;
  double move_cost;         // unscaled_move_cost / size
  double fail_probability;  // 1 / size
};

struct Params {
  Rules own;
  const std::uint8_t* mapping;  // size x size: the action that moves right
};

// Columns of a task's numbers, in the order of the definition's task_parameters. A row's mapping is its layout.
enum TaskColumn : int { kDeterministic, kUnscaledMoveCost, kRandomizeActions, kMappingSeed };

struct State {
  std::int32_t row, column;
  std::int32_t bad;        // the episode left the right-moving path by an own move
  std::int32_t total_bad;  // bad episodes so far
  std::int32_t treasures;  // treasures found so far (bsuite's denoised_return); both counters stop at the largest int32
};

struct Draws {
  double normal;   // added to the reward at either end of the last row
  double uniform;  // a right move succeeds if above 1 / size
};

// Box-Muller: words 0, 1 make the uniform number, words 2, 3 the normal one.
METARL_HD Draws draws_from(const PhiloxBlock& random) {
  const double radius_uniform = (static_cast<double>(random.v[2]) + 0.5) * 0x1.0p-32;
  const double angle = static_cast<double>(random.v[3]) * (0x1.921fb54442d18p+2 * 0x1.0p-32);
  return {std::sqrt(-2.0 * natural_log(radius_uniform)) * sincos(angle).cos, uniform53(random.v[0], random.v[1])};
}

METARL_HD bool takes_normal(const Rules& p, const State& s) {
  return !p.deterministic && s.row == p.size - 1 && (s.column == 0 || s.column == p.size - 1);
}

// Returns the reward; the episode is over when the row has reached size. mapping: size x size, as in Params.
METARL_HD double step(const Rules& p, const std::uint8_t* mapping, State& s, int action, const Draws& draws) {
  const bool right = action == mapping[s.row * p.size + s.column];
  const std::int32_t last = p.size - 1;
  double reward = 0.0;
  if (right && s.column == last) {
    reward += 1.0;
    s.treasures += s.treasures < std::numeric_limits<std::int32_t>::max();
  }
  if (takes_normal(p, s)) reward += draws.normal;
  if (right) {
    if ((p.deterministic || draws.uniform > p.fail_probability) && s.column < last) ++s.column;
    reward -= p.move_cost;
  } else {
    if (s.row == s.column) s.bad = 1;
    if (s.column > 0) --s.column;
  }
  ++s.row;
  return reward;
}

}  // namespace metarl::deep_sea
