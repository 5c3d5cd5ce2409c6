// The random numbers that a level is made from: as many words as it takes, by counter.
#pragma once

#include <cstdint>

#include "metarl/detail/hd.h"
#include "metarl/detail/philox.h"

namespace metarl::minigrid {

struct Random {
  std::uint64_t seed;
  std::uint32_t stream, time, tag;
  std::uint32_t used;  // words
  PhiloxBlock block;
};

METARL_HD Random random_from(std::uint64_t seed, std::uint32_t stream, std::uint32_t time, std::uint32_t tag) {
  return {seed, stream, time, tag, 0, {}};
}

// An integer in [0, n).
METARL_HD std::int32_t below(Random& r, std::int32_t n) {
  if (r.used % 4 == 0) r.block = philox(r.seed, r.stream, r.time, r.tag + 256 * (r.used / 4));
  const std::uint32_t word = r.block.v[r.used++ % 4];
  return static_cast<std::int32_t>((std::uint64_t{word} * static_cast<std::uint64_t>(n)) >> 32);
}

// An integer in [low, high).
METARL_HD std::int32_t between(Random& r, std::int32_t low, std::int32_t high) { return low + below(r, high - low); }

}  // namespace metarl::minigrid
