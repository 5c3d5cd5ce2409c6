// Tree of exact integer masses: uint32 leaves, uint64 sums, smallest and largest mass. No scale and no notion of which
// leaves are in use; see SumTree for those.
//
// Not synchronised: one thread at a time.
#pragma once

#include <cstdint>

#include "metarl/aligned_memory.h"
#include "metarl/detail/prefetch.h"
#include "metarl/detail/tree_layout.h"

namespace metarl {

// Move-only; a moved-from tree may only be destroyed or assigned to.
class MassTree {
 public:
  // All masses are 0. Throws std::invalid_argument if capacity < 1, OutOfMemoryError if it is above 2^31 - 1 or does
  // not fit.
  explicit MassTree(std::int64_t capacity);
  MassTree(MassTree&&) = default;
  MassTree& operator=(MassTree&&) = default;

  std::int64_t capacity() const { return capacity_; }
  std::uint64_t total() const { return view_.total; }
  // Not const: what updates left open is settled here, at most one look at 1024 leaves for each changed leaf.
  std::uint32_t largest() { return top(0); }
  // Smallest positive mass, 0 if there is none.
  std::uint32_t smallest() { return 0u - top(1); }
  const std::uint32_t* leaves() const { return view_.leaves; }

  // Preconditions of the following: indices in [0, capacity), at in [0, total()).
  // set: the last of equal indices wins; of the first ones, so many were prefetched.
  void set(const std::int64_t* indices, const std::uint32_t* masses, std::int64_t n, std::int64_t fetched = 0);
  void fill(std::int64_t begin, std::int64_t end, std::uint32_t mass);
  void clear();
  // The leaf that contains each prefix mass, and its mass.
  void descend(const std::uint64_t* at, std::int64_t n, std::int64_t* indices, std::uint32_t* masses) const;

  // Fetches what set will need for one leaf.
  void prefetch(std::int64_t index) const {
    const TreeNode& node = view_.levels[0][index >> 8];
    prefetch_to_write(view_.leaves + index);
    prefetch_to_write(node.before);
    prefetch_to_write(node.before + 8);
  }

  // Elements of scratch that rebuild and shift need.
  std::int64_t scratch_size() const { return view_.num_groups; }
  // Leaves to be written in any order; rebuild then makes the sums.
  std::uint32_t* raw_leaves() { return view_.leaves; }
  void rebuild(std::uint64_t* scratch);
  // Multiplies all masses by 2^by (by < 0: rounded half up, positive ones stay positive).
  void shift(int by, std::uint64_t* scratch);

 private:
  std::uint32_t top(int which);

  std::int64_t capacity_;
  AlignedMemory leaf_memory_;
  AlignedMemory node_memory_;
  TreeView view_{};
};

}  // namespace metarl
