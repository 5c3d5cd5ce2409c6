// Layout of the 16-ary sum tree: plain data, shared by every driver.
//
// Leaves are uint32 masses in groups of 16 (one cache line). A node describes 16 children (leaf groups at the lowest
// level, nodes above): two cache lines. The largest and the smallest positive mass are kept by blocks of 1024 leaves,
// apart from the nodes: a few kilobytes for a million leaves, which stay near. Memory that is all zero is a valid tree
// whose masses are all zero, so a large tree costs nothing until it is used.
#pragma once

#include <cstdint>

#include "metarl/detail/hd.h"

namespace metarl {

constexpr int kTreeFanout = 16;
constexpr int kMaxTreeLevels = 8;
// Keeps every sum below 2^63.
constexpr std::int64_t kMaxTreeCapacity = (std::int64_t{1} << 31) - 1;
constexpr int kTreeBlockBits = 10;
constexpr std::int64_t kTreeBlockLeaves = std::int64_t{1} << kTreeBlockBits;

struct alignas(64) TreeNode {
  // before[j]: sum of the children 0 .. j-1. A prefix sum, because a descent is then one compare per child and no
  // addition, and an update is one masked vector addition.
  std::uint64_t before[kTreeFanout];
};

// One extreme of the masses as the maximum of keys that start at 0: the mass itself for the largest one, 2^32 - mass (0
// for mass 0) for the smallest positive one.
//
// No leaf of block b has a key above keys[b], and holders[b] leaves have that key (0 if it is 0). A block that lost its
// last holder only has a bound: its leaves are looked through when the extreme is asked for and the bound matters. So
// one changed leaf costs at most one later look at the 1024 leaves of its block and at the keys of all blocks, about 1
// us for 2^20 leaves; of random changes 2 of 1024 may.
struct TreeExtreme {
  std::uint32_t* keys;
  std::uint32_t* holders;
  std::uint32_t top;  // no block has a larger key
  bool loose;         // perhaps none has this one
};

struct TreeView {
  std::uint32_t* leaves;             // 16 * num_groups
  TreeNode* levels[kMaxTreeLevels];  // [0] describes the leaf groups, [num_levels - 1] is the root alone
  int num_levels;
  std::int64_t num_groups;
  std::uint64_t total;
  TreeExtreme extremes[2];  // largest mass, smallest positive mass
};

METARL_HD std::int64_t tree_blocks(std::int64_t num_groups) {
  return (num_groups * kTreeFanout - 1) / kTreeBlockLeaves + 1;
}

}  // namespace metarl
