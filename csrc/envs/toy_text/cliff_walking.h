// CliffWalking: walk from one corner of a 4 x 12 grid to the other beside a cliff, whose cells lead back to the start
// (Sutton and Barto, Reinforcement Learning, example 6.6; gymnasium CliffWalking-v1).
#pragma once

#include <cstdint>

#include "envs/toy_text/tabular.h"

namespace metarl::cliff_walking {

constexpr int kRows = 4;
constexpr int kColumns = 12;
constexpr std::int32_t kStart = (kRows - 1) * kColumns;
constexpr std::int32_t kGoal = kRows * kColumns - 1;

constexpr bool is_cliff(std::int32_t cell) { return cell > kStart && cell < kGoal; }

struct Params {
  tabular::Table<kRows * kColumns, 4> table;
  tabular::Table<kRows * kColumns, 4> slippery;  // for rows with tasks, those on firm ground included
};

struct Task {
  tabular::Chances chances;
};

// Of the outcomes of the slippery table: to the side before the action, as the action says, to the side after it. On
// firm ground every number in [0, 1) chooses the second.
METARL_HD tabular::Chances slip_chances(bool slippery) {
  if (!slippery) return {{0.0, 2.0, 2.0}, {1.0, 1.0, 1.0, 1.0}};
  constexpr double kThird = 1.0 / 3.0;
  return {{kThird, kThird + kThird, kThird + kThird + kThird}, {1.0, kThird, kThird, kThird}};
}

}  // namespace metarl::cliff_walking
