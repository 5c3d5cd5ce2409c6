// MemoryChain: bits are shown first; after a delay, one of them is asked for (bsuite memory_chain, of the experiments
// memory_len and memory_size).
#pragma once

#include <cstdint>

namespace metarl::memory_chain {

// A reset takes one word for the query and the next ones for the bits, four words a block of random numbers.
constexpr std::int32_t kMaxBits = 1024;
constexpr std::int32_t kFirstBitField = 4;

struct Params {
  std::int32_t length, bits;
  const float* time;  // [0, length]: what is shown of the time, 1 - step / length
};

struct State {
  std::int32_t step;      // steps taken; an observation is that of the step before
  std::int32_t query;     // which bit will be asked for
  std::int32_t perfect;   // right answers over all episodes, up to the largest int32
  std::int32_t mistakes;  // wrong ones; each costs a regret of 2
  const std::int32_t* context;
  std::int64_t stride;  // bit j is context[j * stride]
};

}  // namespace metarl::memory_chain
