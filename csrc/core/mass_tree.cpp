#include "metarl/mass_tree.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "core/tree_kernels.h"
#include "metarl/errors.h"

namespace metarl {

MassTree::MassTree(std::int64_t capacity) : capacity_(capacity) {
  if (capacity < 1) throw std::invalid_argument("capacity is " + std::to_string(capacity) + "; must be >= 1");
  std::int64_t nodes = 0;
  std::int64_t counts[kMaxTreeLevels] = {};
  view_.num_groups = (capacity - 1) / kTreeFanout + 1;
  int levels = 0;
  if (capacity <= kMaxTreeCapacity) {
    std::int64_t children = view_.num_groups;
    do {
      children = (children + kTreeFanout - 1) / kTreeFanout;
      counts[levels++] = children;
      nodes += children;
    } while (children > 1);
  } else {
    // Beyond what the 64-bit sums allow; no machine of today holds it.
    check_allocation(static_cast<std::uint64_t>(capacity), 5);
    throw OutOfMemoryError("capacity is " + std::to_string(capacity) + ", more than " +
                           std::to_string(static_cast<std::uint64_t>(capacity) * 5) +
                           " bytes; the sum tree allows at most " + std::to_string(kMaxTreeCapacity) + " slots");
  }
  leaf_memory_ = AlignedMemory(static_cast<std::size_t>(view_.num_groups) * kTreeFanout * sizeof(std::uint32_t));
  const std::int64_t blocks = tree_blocks(view_.num_groups);
  node_memory_ = AlignedMemory(static_cast<std::size_t>(nodes) * sizeof(TreeNode) +
                               static_cast<std::size_t>(4 * blocks) * sizeof(std::uint32_t));
  view_.leaves = leaf_memory_.as<std::uint32_t>();
  view_.num_levels = levels;
  TreeNode* next = node_memory_.as<TreeNode>();
  for (int level = 0; level < levels; ++level) {
    view_.levels[level] = next;
    next += counts[level];
  }
  auto* of_blocks = reinterpret_cast<std::uint32_t*>(next);
  for (TreeExtreme& extreme : view_.extremes) {
    extreme.keys = of_blocks;
    extreme.holders = of_blocks + blocks;
    of_blocks += 2 * blocks;
  }
}

void MassTree::set(const std::int64_t* indices, const std::uint32_t* masses, std::int64_t n, std::int64_t fetched) {
  METARL_SELECT_KERNEL(tree_set)(&view_, indices, masses, n, fetched);
}

void MassTree::fill(std::int64_t begin, std::int64_t end, std::uint32_t mass) {
  METARL_SELECT_KERNEL(tree_fill)(&view_, begin, end, mass);
}

void MassTree::clear() {
  std::fill_n(leaf_memory_.data(), leaf_memory_.size(), std::byte{0});
  std::fill_n(node_memory_.data(), node_memory_.size(), std::byte{0});
  view_.total = 0;
  for (TreeExtreme& extreme : view_.extremes) {
    extreme.top = 0;
    extreme.loose = false;
  }
}

std::uint32_t MassTree::top(int which) {
  if (view_.extremes[which].loose) METARL_SELECT_KERNEL(tree_settle)(&view_, which);
  return view_.extremes[which].top;
}

void MassTree::descend(const std::uint64_t* at, std::int64_t n, std::int64_t* indices, std::uint32_t* masses) const {
  METARL_SELECT_KERNEL(tree_descend)(&view_, at, n, indices, masses);
}

void MassTree::rebuild(std::uint64_t* scratch) { METARL_SELECT_KERNEL(tree_rebuild)(&view_, scratch); }

void MassTree::shift(int by, std::uint64_t* scratch) {
  METARL_SELECT_KERNEL(tree_shift_leaves)(&view_, by);
  rebuild(scratch);
}

}  // namespace metarl
