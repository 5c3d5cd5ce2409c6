#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>

#include "core/tree_kernels.h"
#include "metarl/detail/fixed_point.h"
#include "metarl/detail/philox.h"
#include "metarl/errors.h"
#include "metarl/sum_tree.h"

namespace metarl {
namespace {

constexpr int kTargetBits = 28;                  // a new scale puts the largest mass in [2^27, 2^28)
constexpr std::uint32_t kRaiseBelow = 1u << 20;  // the scale is raised when the largest mass is smaller
constexpr double kLargestMass = 4294967040.0;    // 2^32 - 2^8: the margin covers a bound that is slightly too large
constexpr int kLargestExponent = 1000;           // 2^exponent and its inverse are normal numbers

// For a normal result.
double power_of_two(int exponent) { return bits_double(static_cast<std::uint64_t>(exponent + 1023) << 52); }

}  // namespace

SumTree::SumTree(std::int64_t capacity, std::uint64_t seed) : capacity_(capacity), seed_(seed) {
  if (capacity < 1) throw std::invalid_argument("capacity is " + std::to_string(capacity) + "; must be >= 1");
  std::int64_t nodes = 0;
  std::int64_t counts[kMaxTreeLevels] = {};
  tree_.num_groups = (capacity - 1) / kTreeFanout + 1;
  int levels = 0;
  if (capacity <= kMaxTreeCapacity) {
    std::int64_t children = tree_.num_groups;
    do {
      children = (children + kTreeFanout - 1) / kTreeFanout;
      counts[levels++] = children;
      nodes += children;
    } while (children > 1);
  } else {
    // Beyond what the 64-bit sums allow; no machine of today holds it.
    check_allocation(static_cast<std::uint64_t>(capacity), 6);
    throw OutOfMemoryError("capacity is " + std::to_string(capacity) + ", more than " +
                           std::to_string(static_cast<std::uint64_t>(capacity) * 6) +
                           " bytes; the sum tree allows at most " + std::to_string(kMaxTreeCapacity) + " slots");
  }
  leaf_memory_ = AlignedMemory(static_cast<std::size_t>(tree_.num_groups) * kTreeFanout * sizeof(std::uint32_t));
  node_memory_ = AlignedMemory(static_cast<std::size_t>(nodes) * sizeof(TreeNode));
  valid_memory_ = AlignedMemory(static_cast<std::size_t>((capacity + 63) / 64) * sizeof(std::uint64_t));
  tree_.leaves = leaf_memory_.as<std::uint32_t>();
  tree_.num_levels = levels;
  TreeNode* next = node_memory_.as<TreeNode>();
  for (int level = 0; level < levels; ++level) {
    tree_.levels[level] = next;
    next += counts[level];
  }
}

double SumTree::factor() const { return power_of_two(state_.scale_exponent); }

void SumTree::shift(int by) {
  std::vector<std::uint64_t> sums(static_cast<std::size_t>(tree_.num_groups));  // throws before anything changes
  METARL_SELECT_KERNEL(tree_shift_leaves)(&tree_, by);
  METARL_SELECT_KERNEL(tree_rebuild)(&tree_, sums.data());
  state_.scale_exponent += by;
  state_.changes = 0;
}

// Makes `top` representable.
void SumTree::fit_scale(double top) {
  if (top <= 0.0) return;
  const bool empty = tree_.total == 0;
  if (!empty && top * factor() < kLargestMass) return;
  const int wanted = std::min(kTargetBits - 1 - std::ilogb(top), kLargestExponent);
  if (empty) {
    if (wanted != state_.scale_exponent) state_.changes = 0;
    state_.scale_exponent = wanted;
  } else {
    shift(std::max(wanted - state_.scale_exponent, -63));
    state_.scale_exponent = wanted;
  }
}

void SumTree::raise_scale() {
  const std::uint32_t largest = tree_.root_extreme[0];
  if (largest == 0 || largest >= kRaiseBelow || state_.changes < static_cast<std::uint64_t>(capacity_) / 4 + 1) return;
  const int by =
      std::min(kTargetBits - static_cast<int>(std::bit_width(largest)), kLargestExponent - state_.scale_exponent);
  if (by <= 0) return;
  try {
    shift(by);
  } catch (const std::bad_alloc&) {
    // The leaves are set already; a finer scale can wait for the next update.
  }
}

void SumTree::mark_valid(std::int64_t index) {
  std::uint64_t& word = valid_memory_.as<std::uint64_t>()[index >> 6];
  const std::uint64_t bit = std::uint64_t{1} << (index & 63);
  if ((word & bit) != 0) return;
  word |= bit;
  ++num_valid_;
  valid_end_ = std::max(valid_end_, index + 1);
}

void SumTree::update(const std::int64_t* indices, const double* priorities, std::int64_t n, double top) {
  if (masses_.size() < static_cast<std::size_t>(n)) masses_.resize(static_cast<std::size_t>(n));
  fit_scale(top);
  METARL_SELECT_KERNEL(quantize)(priorities, n, factor(), masses_.data());
  METARL_SELECT_KERNEL(tree_set)(&tree_, indices, masses_.data(), n);
  state_.changes += static_cast<std::uint64_t>(n);
  raise_scale();
}

void SumTree::set(const std::int64_t* indices, const double* priorities, std::int64_t n) {
  double top = 0.0;
  for (std::int64_t i = 0; i < n; ++i) top = std::max(top, priorities[i]);
  update(indices, priorities, n, top);
  for (std::int64_t i = 0; i < n; ++i) mark_valid(indices[i]);
}

void SumTree::fill(std::int64_t begin, std::int64_t end, double priority) {
  if (begin >= end) return;
  fit_scale(priority);
  METARL_SELECT_KERNEL(tree_fill)(&tree_, begin, end, to_mass(priority, factor()));
  state_.changes += static_cast<std::uint64_t>(end - begin);
  if (num_valid_ < capacity_) {
    for (std::int64_t i = begin; i < end; ++i) mark_valid(i);
  }
  raise_scale();
}

void SumTree::get(const std::int64_t* indices, std::int64_t n, double* priorities) const {
  const double unit = power_of_two(-state_.scale_exponent);
  for (std::int64_t i = 0; i < n; ++i) {
    priorities[i] = std::min(tree_.leaves[indices[i]] * unit, std::numeric_limits<double>::max());
  }
}

void SumTree::clear() {
  AlignedMemory* const memories[] = {&leaf_memory_, &node_memory_, &valid_memory_};
  for (AlignedMemory* memory : memories) std::fill_n(memory->data(), memory->size(), std::byte{0});
  tree_.total = 0;
  tree_.root_extreme[0] = tree_.root_extreme[1] = 0;
  state_.scale_exponent = 0;
  state_.changes = 0;
  num_valid_ = valid_end_ = 0;
}

double SumTree::total() const { return static_cast<double>(tree_.total) * power_of_two(-state_.scale_exponent); }

double SumTree::min() const { return min_mass() * power_of_two(-state_.scale_exponent); }

double SumTree::max() const {
  return std::min(tree_.root_extreme[0] * power_of_two(-state_.scale_exponent), std::numeric_limits<double>::max());
}

void SumTree::find(const double* at, std::int64_t n, std::int64_t* indices) const {
  std::vector<std::uint64_t> masses(static_cast<std::size_t>(n));
  std::vector<std::uint32_t> found(static_cast<std::size_t>(n));
  const double scale = factor();
  for (std::int64_t i = 0; i < n; ++i) {
    // Above 2^53 the product may round up to the total itself.
    masses[static_cast<std::size_t>(i)] = std::min(static_cast<std::uint64_t>(at[i] * scale), tree_.total - 1);
  }
  METARL_SELECT_KERNEL(tree_descend)(&tree_, masses.data(), n, indices, found.data());
}

void SumTree::sample(std::int64_t n, bool stratified, std::int64_t* indices, std::uint32_t* masses) {
  if (num_valid_ == 0) throw BufferEmptyError("cannot sample: no item is valid");
  if (n == 0) return;
  if (tree_.total == 0) {
    sample_valid(n, stratified, indices);
    std::fill_n(masses, n, 0u);
    return;
  }
  if (scratch_.size() < static_cast<std::size_t>(n)) scratch_.resize(static_cast<std::size_t>(n));
  METARL_SELECT_KERNEL(tree_draws)
  (seed_, state_.draws, kTagTreeSample, tree_.total, n, stratified, scratch_.data());
  ++state_.draws;
  METARL_SELECT_KERNEL(tree_descend)(&tree_, scratch_.data(), n, indices, masses);
}

void SumTree::sample(std::int64_t n, bool stratified, std::int64_t* indices, double* probabilities) {
  if (masses_.size() < static_cast<std::size_t>(n)) masses_.resize(static_cast<std::size_t>(n));
  sample(n, stratified, indices, masses_.data());
  if (tree_.total == 0) {
    std::fill_n(probabilities, n, 1.0 / static_cast<double>(num_valid_));
    return;
  }
  const double total = static_cast<double>(tree_.total);
  for (std::int64_t i = 0; i < n; ++i) probabilities[i] = masses_[static_cast<std::size_t>(i)] / total;
}

// Uniform over the valid leaves, by rank.
void SumTree::sample_valid(std::int64_t n, bool stratified, std::int64_t* indices) {
  std::vector<std::uint64_t> ranks(static_cast<std::size_t>(n));
  const std::size_t num_words = static_cast<std::size_t>((valid_end_ + 63) / 64);
  std::vector<std::uint64_t> before(num_valid_ == valid_end_ ? 0 : num_words);
  METARL_SELECT_KERNEL(tree_draws)
  (seed_, state_.draws, kTagTreeSample, static_cast<std::uint64_t>(num_valid_), n, stratified, ranks.data());
  ++state_.draws;
  if (num_valid_ == valid_end_) {  // the valid leaves are [0, num_valid)
    for (std::int64_t i = 0; i < n; ++i) indices[i] = static_cast<std::int64_t>(ranks[static_cast<std::size_t>(i)]);
    return;
  }
  // Number of valid leaves before each word of the bit map.
  const std::uint64_t* words = valid_memory_.as<std::uint64_t>();
  std::uint64_t count = 0;
  for (std::size_t w = 0; w < num_words; ++w) {
    before[w] = count;
    count += static_cast<std::uint64_t>(std::popcount(words[w]));
  }
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint64_t rank = ranks[static_cast<std::size_t>(i)];
    const std::size_t w =
        static_cast<std::size_t>(std::upper_bound(before.begin(), before.end(), rank) - before.begin()) - 1;
    std::uint64_t word = words[w];
    for (std::uint64_t skip = rank - before[w]; skip > 0; --skip) word &= word - 1;
    indices[i] = static_cast<std::int64_t>(w * 64) + std::countr_zero(word);
  }
}

void SumTree::restore(const State& state, const std::uint32_t* masses, std::int64_t n) {
  std::vector<std::uint64_t> sums(static_cast<std::size_t>(tree_.num_groups));  // throws before anything changes
  clear();
  std::copy_n(masses, n, tree_.leaves);
  METARL_SELECT_KERNEL(tree_rebuild)(&tree_, sums.data());
  state_ = state;
  for (std::int64_t i = 0; i < n; ++i) mark_valid(i);
}

}  // namespace metarl
