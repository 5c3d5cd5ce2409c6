// The sum tree in device memory: layout and state. Plain data, shared by the kernels and by who allocates.
//
// Leaves are the uint32 masses of the CPU's tree. Sums are uint64, one a group of 32 leaves (a cache line), then one a
// 16 sums (a line again) up to the root, kept as plain sums where the CPU keeps prefix sums: an update is then one
// atomic addition a level, and a descent forms the prefix sums of a line in eight lanes. Masses are exact, so neither
// the shape nor the order of additions shows in a result. Memory that is all zero is a valid empty tree.
#pragma once

#include <cstdint>

#include "metarl/detail/tree_layout.h"

namespace metarl::cuda {

constexpr int kGroupBits = 5;
constexpr int kGroupLeaves = 1 << kGroupBits;
constexpr int kSumBits = 4;
constexpr int kSumFanout = 1 << kSumBits;
constexpr int kMaxSumLevels = 8;
// A change adds to these sums in shared memory first: so few are in one level that threads would queue for them.
constexpr std::int64_t kSharedSums = 256;

// Sticky: the first call that failed is kept until the host clears it.
enum TreeError : std::uint32_t {
  kErrorIndex = 1,     // an index is not in [0, capacity)
  kErrorPriority = 2,  // a priority is negative, infinite or NaN
  kErrorEmpty = 4,     // a sample of a tree without valid leaves
  kErrorPrefix = 8,    // a prefix mass is not in [0, total)
  kErrorBeta = 16,     // beta is negative, infinite or NaN
  kErrorWeight = 32,   // a weight that nothing divides overflows
  kErrorStale = 64,    // a slot was overwritten since its batch was drawn, and the caller refuses that
  kErrorStack = 128,   // a row's next stack of frames is not its stack moved on by one
  kErrorTask = 256,    // a row's task is out of range
  kErrorNoTask = 512,  // a sample of a task without valid leaves
  kErrorShare = 1024,  // a task's weight is negative, infinite or NaN, or none is positive
};

// What SumTree::State, its members and MassTree's are on the CPU. Between calls every field of the second part is zero.
struct TreeState {
  std::uint64_t total;
  std::uint64_t changes;  // leaves set since the last change of scale
  std::uint64_t draws;
  std::uint64_t rescales;
  std::uint64_t num_valid;
  std::uint64_t valid_end;    // no valid leaf is at or behind it
  std::uint32_t extremes[2];  // keys of tree_layout.h: largest mass, smallest positive one
  std::int32_t scale_exponent;
  std::uint32_t error;
  // Of the first call that failed: its bits, its number, the first bad item, and what was given there.
  std::uint32_t first_error;
  std::uint64_t calls;
  std::uint64_t error_call;
  std::uint64_t error_item;
  std::int64_t error_index;
  double error_value;

  // Of the call under way.
  std::uint64_t top_bits;   // the largest priority, as bits
  std::uint64_t first_bad;  // ~item, so that the largest is the first
  std::uint32_t bad;
  std::uint32_t batch_least;  // key of the smallest mass of a batch
  std::uint32_t next_extremes[2];
  double weight_sum;
};

struct DeviceTree {
  std::int64_t capacity;
  std::int64_t num_blocks;  // of kTreeBlockLeaves leaves
  std::int64_t num_sums[kMaxSumLevels];
  std::uint64_t* sums[kMaxSumLevels];  // [num_levels - 1] is the total alone
  int num_levels;
  std::uint32_t* leaves;
  std::uint32_t* owners;        // 1 + the item of a batch that sets the leaf; zero between calls
  std::uint32_t* keys[2];       // extremes of each block, exact between calls
  std::uint32_t* dirty;         // bit w: keys[w] of the block may be too large; zero between calls
  std::uint32_t* valid;         // bits
  std::uint32_t* valid_counts;  // of each block
  TreeState* state;
};

// Leaves and the sums above them. allocate(bytes, name) returns zeroed memory aligned to 256 bytes, or null where only
// the sizes are asked for.
template <typename Allocate>
void place_masses(DeviceTree* tree, std::int64_t capacity, Allocate& allocate) {
  const auto array = [&]<typename T>(T** to, std::int64_t count, const char* name) {
    *to = static_cast<T*>(allocate(static_cast<std::size_t>(count) * sizeof(T), name));
  };
  tree->capacity = capacity;
  tree->num_blocks = (capacity - 1) / kTreeBlockLeaves + 1;
  array(&tree->leaves, tree->num_blocks * kTreeBlockLeaves, "leaves");
  std::int64_t count = tree->num_blocks * (kTreeBlockLeaves / kGroupLeaves);
  for (;;) {
    tree->num_sums[tree->num_levels] = count;
    // Whole lines: a descent reads all of one.
    array(&tree->sums[tree->num_levels], (count + kSumFanout - 1) / kSumFanout * kSumFanout, "sums");
    ++tree->num_levels;
    if (count == 1) break;
    count = (count + kSumFanout - 1) / kSumFanout;
  }
}

// Of the blocks that place_masses counted.
template <typename Allocate>
void place_extremes(DeviceTree* tree, Allocate& allocate) {
  const auto array = [&](std::uint32_t** to, const char* name) {
    *to =
        static_cast<std::uint32_t*>(allocate(static_cast<std::size_t>(tree->num_blocks) * sizeof(std::uint32_t), name));
  };
  for (std::uint32_t*& keys : tree->keys) array(&keys, "keys");
  array(&tree->dirty, "dirty");
}

// allocate as of place_masses. Needs 1 <= capacity <= kMaxTreeCapacity.
template <typename Allocate>
DeviceTree make_device_tree(std::int64_t capacity, Allocate allocate) {
  const auto array = [&]<typename T>(T** to, std::int64_t count, const char* name) {
    *to = static_cast<T*>(allocate(static_cast<std::size_t>(count) * sizeof(T), name));
  };
  DeviceTree tree{};
  place_masses(&tree, capacity, allocate);
  place_extremes(&tree, allocate);
  array(&tree.owners, capacity, "owners");
  array(&tree.valid, tree.num_blocks * (kTreeBlockLeaves / 32), "valid");
  array(&tree.valid_counts, tree.num_blocks, "valid_counts");
  array(&tree.state, 1, "state");
  return tree;
}

}  // namespace metarl::cuda
