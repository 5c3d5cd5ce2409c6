// Layout of the 16-ary sum tree: plain data, shared by every driver.
//
// Leaves are uint32 masses in groups of 16 (one cache line). A node describes 16 children (leaf groups at the lowest
// level, nodes above): four cache lines, of which a descent reads the first two. Memory that is all zero is a valid
// tree whose masses are all zero, so a large tree costs nothing until it is used.
#pragma once

#include <cstdint>

namespace metarl {

constexpr int kTreeFanout = 16;
constexpr int kMaxTreeLevels = 8;
// Keeps every sum below 2^63.
constexpr std::int64_t kMaxTreeCapacity = (std::int64_t{1} << 31) - 1;

struct alignas(64) TreeNode {
  // before[j]: sum of the children 0 .. j-1. A prefix sum, because a descent is then one compare per child and no
  // addition, and an update is one masked vector addition.
  std::uint64_t before[kTreeFanout];
  // Largest value below each child of [0] the mass, [1] 2^32 - mass (0 for mass 0): the second is the smallest positive
  // mass, and both are maxima that start at 0.
  std::uint32_t extreme[2][kTreeFanout];
};

struct TreeView {
  std::uint32_t* leaves;             // 16 * num_groups
  TreeNode* levels[kMaxTreeLevels];  // [0] describes the leaf groups, [num_levels - 1] is the root alone
  int num_levels;
  std::int64_t num_groups;
  std::uint64_t total;
  std::uint32_t root_extreme[2];
};

}  // namespace metarl
