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
};

}  // namespace metarl::cliff_walking
