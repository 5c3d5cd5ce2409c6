// DiscountingChain: the first action chooses a chain, which pays once, after 1, 3, 10, 30 or 100 steps; one of them
// pays a tenth more (bsuite discounting_chain).
#pragma once

#include <cstdint>

#include "metarl/detail/hd.h"

namespace metarl::discounting_chain {

constexpr int kChains = 5;
constexpr std::int32_t kLength = 100;

struct Params {
  std::int32_t pays_at[kChains];
  std::int32_t bonus_chain;  // pays a tenth more
  float time[kLength + 1];   // what is shown of the time, step / kLength
};

struct State {
  std::int32_t step;
  std::int32_t chain;  // -1 before the first action
};

METARL_HD double step(const Params& p, std::int32_t bonus_chain, State& s, int action) {
  s.chain = s.step == 0 ? action : s.chain;
  ++s.step;
  return s.step == p.pays_at[s.chain] ? (s.chain == bonus_chain ? 1.1 : 1.0) : 0.0;
}

}  // namespace metarl::discounting_chain
