// Counter-based random numbers: Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
//
// key = the user's seed; counter = (stream, time_lo, time_hi, tag). `stream` is the environment or draw number and
// `tag` names the purpose, so that two uses of one seed never share numbers. There is no state: the same counter gives
// the same bits on every thread, instruction set and device.
#pragma once

#include <cstdint>

#include "metarl/detail/hd.h"

namespace metarl {

struct PhiloxBlock {
  std::uint32_t v[4];
};

// Purposes. A new user of random numbers adds a line here; values never change meaning (stored runs depend on them).
enum PhiloxTag : std::uint32_t {
  kTagTreeSample = 1,
  kTagUniformSample = 2,
  kTagWithoutReplacement = 3,
  // Of these two the task is added, times 256.
  kTagTaskSample = 4,
  kTagTaskDistinct = 5,
  kTagTaskCounts = 6,
  kTagReservoir = 7,
  kTagFork = 8,  // keys and lineages of forked processes; `stream` is one of three purposes
  // Of these two the number of the block is added, times 256, where four words are not enough.
  kTagEnvReset = 16,
  kTagEnvStep = 17,
  kTagEnvTask = 18,
  kTagEnvAction = 19,  // uniform actions of a rollout; the number of the block is added, times 256
  // A level that a number names; of this one too the number of the block is added, times 256.
  kTagEnvMap = 20,
  kTagEnvGenerate = 21,  // maps, arms and tables of a task or an episode; the number of the block is added, times 256
};

METARL_HD PhiloxBlock philox4x32(std::uint64_t key, std::uint32_t c0, std::uint32_t c1, std::uint32_t c2,
                                 std::uint32_t c3) {
  std::uint32_t k0 = static_cast<std::uint32_t>(key);
  std::uint32_t k1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c0;
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * c2;
    const std::uint32_t n0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
    const std::uint32_t n2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c0 = n0;
    c1 = static_cast<std::uint32_t>(p1);
    c2 = n2;
    c3 = static_cast<std::uint32_t>(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return PhiloxBlock{{c0, c1, c2, c3}};
}

METARL_HD PhiloxBlock philox(std::uint64_t seed, std::uint32_t stream, std::uint64_t time, std::uint32_t tag) {
  return philox4x32(seed, stream, static_cast<std::uint32_t>(time), static_cast<std::uint32_t>(time >> 32), tag);
}

// 53 random bits as a double in [0, 1); hi and lo are two words of a block.
METARL_HD double uniform53(std::uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1.0p-53; }
METARL_HD double uniform53(std::uint32_t hi, std::uint32_t lo) { return uniform53(std::uint64_t{hi} << 32 | lo); }

}  // namespace metarl
