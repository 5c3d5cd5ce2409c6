// Small discrete environments by table: at most three outcomes for each state and action. Included by kernel files.
#pragma once

#include <cstdint>

#include "metarl/detail/hd.h"

namespace metarl::tabular {

struct Outcome {
  std::uint16_t next;
  std::uint8_t ended;
  std::uint8_t probability;  // index into Table::probability
  float reward;
};

struct Chances {
  double bound[3];        // running sums of the outcomes' probabilities
  double probability[4];  // that a step reports; the first is of steps without a choice
};

template <int kStates, int kActions>
struct Table : Chances {
  static constexpr int kNumStates = kStates;
  static constexpr int kNumActions = kActions;
  bool random;  // whether a step draws which outcome it is; else it is the first
  Outcome outcomes[kStates * kActions * 3];
};

// u: uniform in [0, 1). Sums that round below u fall back to the first outcome, as the reference's argmax does.
METARL_HD int which_outcome(const Chances& t, double u) {
  return ((u >= t.bound[0]) + (u >= t.bound[1])) & -static_cast<int>(u < t.bound[2]);
}

template <class AnyTable>
METARL_HD const Outcome& outcome(const AnyTable& t, std::int32_t state, int action, int which) {
  return t.outcomes[(state * AnyTable::kNumActions + action) * 3 + which];
}

}  // namespace metarl::tabular
