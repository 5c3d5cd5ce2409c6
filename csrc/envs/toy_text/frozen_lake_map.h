// FrozenLake's random maps: gymnasium.envs.toy_text.frozen_lake.generate_random_map(size, p=0.8, seed).
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "envs/numpy_random.h"
#include "envs/toy_text/frozen_lake.h"

namespace metarl::frozen_lake {

constexpr double kFrozenProbability = 0.8;

// Whether the goal can be reached from cell 0 of the size x size cells. `seen` is scratch.
inline bool has_path(const std::uint8_t* kind, std::int64_t size, std::vector<std::int64_t>& frontier,
                     std::vector<bool>& seen) {
  frontier.assign(1, 0);
  seen.assign(static_cast<std::size_t>(size * size), false);
  while (!frontier.empty()) {
    const std::int64_t cell = frontier.back();
    frontier.pop_back();
    if (kind[cell] == kGoal) return true;
    if (kind[cell] == kHole || seen[static_cast<std::size_t>(cell)]) continue;
    seen[static_cast<std::size_t>(cell)] = true;
    if (cell % size > 0) frontier.push_back(cell - 1);
    if (cell % size < size - 1) frontier.push_back(cell + 1);
    if (cell >= size) frontier.push_back(cell - size);
    if (cell < size * (size - 1)) frontier.push_back(cell + size);
  }
  return false;
}

// Writes the kinds of size x size cells, size >= 2, row by row. The start is cell 0, the goal the last.
inline void random_map(std::uint32_t seed, std::int64_t size, std::uint8_t* kind) {
  numpy::Generator random(seed);
  std::vector<std::int64_t> frontier;
  std::vector<bool> seen;
  const std::int64_t cells = size * size;
  do {
    for (std::int64_t cell = 0; cell < cells; ++cell) {
      kind[cell] = random.uniform() < kFrozenProbability ? kFrozen : kHole;
    }
    kind[0] = kFrozen;
    kind[cells - 1] = kGoal;
  } while (!has_path(kind, size, frontier, seen));
}

}  // namespace metarl::frozen_lake
