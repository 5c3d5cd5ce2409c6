// Catch: a paddle in the last row must be below the ball when it arrives (Mnih et al., "Recurrent models of visual
// attention", 2014; bsuite catch).
#pragma once

#include <cstdint>
#include <limits>

#include "metarl/detail/hd.h"
#include "metarl/detail/philox.h"

namespace metarl::catch_ball {

struct Params {
  std::int32_t rows, columns;
};

struct State {
  std::int32_t ball_row, ball_column, paddle;
  std::int32_t misses;  // over all episodes, up to the largest int32; each costs a regret of 2
};

METARL_HD State reset(const Params& p, const PhiloxBlock& random, std::int32_t misses) {
  const std::uint64_t columns = static_cast<std::uint32_t>(p.columns);
  const auto column = static_cast<std::int32_t>((std::uint64_t{random.v[0]} * columns) >> 32);
  return {0, column, p.columns / 2, misses};
}

// action: 0 moves the paddle left, 1 not at all, 2 right. The episode is over when the ball is in the last row, for
// which `reward` is 1 or -1. Returns whether it is.
METARL_HD bool step(const Params& p, State& s, int action, double& reward) {
  const std::int32_t moved = s.paddle + action - 1;
  s.paddle = moved < 0 ? 0 : moved >= p.columns ? p.columns - 1 : moved;
  ++s.ball_row;
  const bool ended = s.ball_row == p.rows - 1;
  const bool caught = s.paddle == s.ball_column;
  reward = ended ? (caught ? 1.0 : -1.0) : 0.0;
  s.misses += ended && !caught && s.misses < std::numeric_limits<std::int32_t>::max();
  return ended;
}

}  // namespace metarl::catch_ball
