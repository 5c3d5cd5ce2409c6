#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "core/distinct_draws.h"
#include "core/poll.h"
#include "core/tree_kernels.h"
#include "metarl/detail/fixed_point.h"
#include "metarl/detail/philox.h"
#include "metarl/errors.h"
#include "metarl/fork_mutex.h"
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

SumTree::SumTree(std::int64_t capacity, std::uint64_t seed)
    : seed_(seed), key_(seed), masses_(capacity), valid_(capacity) {}

void SumTree::set_random_stream(std::uint64_t stream) {
  if (stream == stream_) return;
  stream_ = stream;
  key_ = stream_key(seed_, stream);
}

double SumTree::factor() const { return power_of_two(state_.scale_exponent); }

double SumTree::unit() const { return power_of_two(-state_.scale_exponent); }

void SumTree::shift(int by) {
  std::vector<std::uint64_t> scratch(
      static_cast<std::size_t>(masses_.scratch_size()));  // throws before anything changes
  masses_.shift(by, scratch.data());
  state_.scale_exponent += by;
  state_.changes = 0;
  ++rescales_;
}

// Makes `top` representable.
void SumTree::fit_scale(double top) {
  if (top <= 0.0) return;
  const bool empty = masses_.total() == 0;
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
  if (state_.changes < static_cast<std::uint64_t>(capacity()) / 4 + 1) return;
  const std::uint32_t largest = masses_.largest();
  if (largest == 0 || largest >= kRaiseBelow) return;
  const int by =
      std::min(kTargetBits - static_cast<int>(std::bit_width(largest)), kLargestExponent - state_.scale_exponent);
  if (by <= 0) return;
  try {
    shift(by);
  } catch (const std::bad_alloc&) {
    // The leaves are set already; a finer scale can wait for the next update.
  }
}

template <typename T>
void SumTree::assign(const std::int64_t* indices, const T* priorities, std::int64_t n, double top, bool valid,
                     std::int64_t fetched, const Poll& poll) {
  const std::int64_t most = poll ? std::min(n, kPollItems) : n;
  if (new_masses_.size() < static_cast<std::size_t>(most)) new_masses_.resize(static_cast<std::size_t>(most));
  fit_scale(top);
  in_parts(n, poll, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t count = end - begin;
    if constexpr (std::is_same_v<T, float>) {
      METARL_SELECT_KERNEL(quantize_floats)(priorities + begin, count, factor(), new_masses_.data());
    } else {
      METARL_SELECT_KERNEL(quantize)(priorities + begin, count, factor(), new_masses_.data());
    }
    masses_.set(indices + begin, new_masses_.data(), count, begin == 0 ? std::min(fetched, count) : 0);
    state_.changes += static_cast<std::uint64_t>(count);
    if (valid) insert_valid(indices + begin, count);
  });
  raise_scale();
}

void SumTree::insert_valid(const std::int64_t* indices, std::int64_t n) {
  if (num_valid() == capacity()) return;
  for (std::int64_t i = 0; i < n; ++i) valid_.insert(indices[i]);
}

void SumTree::update(const std::int64_t* indices, const double* priorities, std::int64_t n, double top,
                     std::int64_t fetched) {
  assign(indices, priorities, n, top, false, fetched, {});
}

template <typename T>
void SumTree::set_any(const std::int64_t* indices, const T* priorities, std::int64_t n, std::int64_t fetched,
                      const Poll& poll) {
  double top = 0.0;
  in_parts(n, poll, [&](std::int64_t begin, std::int64_t end) {
    double largest = 0.0;
    if constexpr (std::is_same_v<T, float>) {
      largest = METARL_SELECT_KERNEL(largest_priority_float)(priorities + begin, end - begin);
    } else {
      largest = METARL_SELECT_KERNEL(largest_priority)(priorities + begin, end - begin);
    }
    // Negative zeros are zeros, and below any top.
    if (largest < 0.0 && end > begin) {
      largest = static_cast<double>(*std::max_element(priorities + begin, priorities + end));
    }
    top = std::max(top, largest);
  });
  assign(indices, priorities, n, top, true, fetched, poll);
}

void SumTree::set(const std::int64_t* indices, const double* priorities, std::int64_t n, std::int64_t fetched,
                  const Poll& poll) {
  set_any(indices, priorities, n, fetched, poll);
}

void SumTree::set(const std::int64_t* indices, const float* priorities, std::int64_t n, std::int64_t fetched,
                  const Poll& poll) {
  set_any(indices, priorities, n, fetched, poll);
}

void SumTree::fill(std::int64_t begin, std::int64_t end, double priority) {
  if (begin >= end) return;
  fit_scale(priority);
  masses_.fill(begin, end, to_mass(priority, factor()));
  state_.changes += static_cast<std::uint64_t>(end - begin);
  valid_.insert_range(begin, end);
  raise_scale();
}

void SumTree::prepare(std::int64_t n, double priority) {
  if (new_masses_.size() < static_cast<std::size_t>(n)) new_masses_.resize(static_cast<std::size_t>(n));
  fit_scale(priority);
}

void SumTree::fill_at(const std::int64_t* indices, std::int64_t n, double priority) {
  if (n == 0) return;
  if (new_masses_.size() < static_cast<std::size_t>(n)) new_masses_.resize(static_cast<std::size_t>(n));
  fit_scale(priority);
  std::fill_n(new_masses_.data(), n, to_mass(priority, factor()));
  masses_.set(indices, new_masses_.data(), n);
  state_.changes += static_cast<std::uint64_t>(n);
  insert_valid(indices, n);
  raise_scale();
}

void SumTree::invalidate(const std::int64_t* indices, std::int64_t n) {
  if (new_masses_.size() < static_cast<std::size_t>(n)) new_masses_.resize(static_cast<std::size_t>(n));
  std::fill_n(new_masses_.data(), n, 0u);
  masses_.set(indices, new_masses_.data(), n);
  for (std::int64_t i = 0; i < n; ++i) valid_.erase(indices[i]);
}

void SumTree::get(const std::int64_t* indices, std::int64_t n, double* priorities) const {
  const double unit = power_of_two(-state_.scale_exponent);
  for (std::int64_t i = 0; i < n; ++i) {
    priorities[i] = std::min(masses_.leaves()[indices[i]] * unit, std::numeric_limits<double>::max());
  }
}

void SumTree::clear() {
  masses_.clear();
  valid_.clear();
  state_.scale_exponent = 0;
  state_.changes = 0;
  ++rescales_;
}

double SumTree::total() const { return static_cast<double>(masses_.total()) * power_of_two(-state_.scale_exponent); }

double SumTree::min() { return min_mass() * power_of_two(-state_.scale_exponent); }

double SumTree::max() {
  return std::min(masses_.largest() * power_of_two(-state_.scale_exponent), std::numeric_limits<double>::max());
}

void SumTree::find(const double* at, std::int64_t n, std::int64_t* indices) const {
  std::vector<std::uint64_t> masses(static_cast<std::size_t>(n));
  std::vector<std::uint32_t> found(static_cast<std::size_t>(n));
  const double scale = factor();
  for (std::int64_t i = 0; i < n; ++i) {
    // Above 2^53 the product may round up to the total itself.
    masses[static_cast<std::size_t>(i)] = std::min(static_cast<std::uint64_t>(at[i] * scale), masses_.total() - 1);
  }
  masses_.descend(masses.data(), n, indices, found.data());
}

bool SumTree::sample(std::int64_t n, SamplingMode mode, std::int64_t* indices, std::uint32_t* masses,
                     const Poll& poll) {
  if (!poll) return draw(n, mode, indices, masses, poll);
  const std::uint64_t before = state_.draws;
  try {
    return draw(n, mode, indices, masses, poll);
  } catch (...) {
    state_.draws = before;
    throw;
  }
}

bool SumTree::draw(std::int64_t n, SamplingMode mode, std::int64_t* indices, std::uint32_t* masses, const Poll& poll) {
  if (num_valid() == 0) throw BufferEmptyError("cannot sample: no item is valid");
  if (n == 0) return true;
  if (mode == SamplingMode::uniform || masses_.total() == 0) {
    sample_valid(n, mode, indices, poll);
    std::fill_n(masses, n, 0u);
    return false;
  }
  if (mode == SamplingMode::without_replacement) {
    const RandomBits bits(key_, state_.draws, kTagWithoutReplacement);
    if (n > num_valid() || draw_successive(&masses_, bits, n, &scratch_, indices, masses, poll) < n) {
      refuse_batch_size(n, std::count_if(leaves(), leaves() + capacity(), [](std::uint32_t mass) { return mass > 0; }));
    }
    ++state_.draws;
    return true;
  }
  grow(&scratch_, static_cast<std::size_t>(n), poll);
  in_parts(n, poll, [&](std::int64_t begin, std::int64_t end) {
    METARL_SELECT_KERNEL(tree_draws)
    (key_, state_.draws, kTagTreeSample, masses_.total(), n, mode == SamplingMode::stratified, begin, end,
     scratch_.data());
    masses_.descend(scratch_.data() + begin, end - begin, indices + begin, masses + begin);
  });
  ++state_.draws;
  return true;
}

void SumTree::sample(std::int64_t n, SamplingMode mode, std::int64_t* indices, double* probabilities,
                     const Poll& poll) {
  grow(&new_masses_, static_cast<std::size_t>(n), poll);
  if (poll) touch(probabilities, static_cast<std::size_t>(n) * sizeof *probabilities, poll);
  if (!sample(n, mode, indices, new_masses_.data(), poll)) {
    std::fill_n(probabilities, n, 1.0 / static_cast<double>(num_valid()));
    return;
  }
  const double total = static_cast<double>(masses_.total());
  const std::uint32_t* masses = new_masses_.data();
  for (std::int64_t i = 0; i < n; ++i) probabilities[i] = static_cast<double>(masses[i]) / total;
}

// Uniform over the valid leaves, by rank.
void SumTree::sample_valid(std::int64_t n, SamplingMode mode, std::int64_t* indices, const Poll& poll) {
  if (mode == SamplingMode::without_replacement) {
    if (n > num_valid()) refuse_batch_size(n, num_valid());
    draw_distinct(num_valid(), RandomBits(key_, state_.draws, kTagWithoutReplacement), n, indices, poll);
    ++state_.draws;
    in_parts(n, poll, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) indices[i] = valid_.at_rank(indices[i]);
    });
    return;
  }
  grow(&scratch_, static_cast<std::size_t>(n), poll);
  in_parts(n, poll, [&](std::int64_t begin, std::int64_t end) {
    METARL_SELECT_KERNEL(tree_draws)
    (key_, state_.draws, kTagTreeSample, static_cast<std::uint64_t>(num_valid()), n, mode == SamplingMode::stratified,
     begin, end, scratch_.data());
    for (std::int64_t i = begin; i < end; ++i) {
      indices[i] = valid_.at_rank(static_cast<std::int64_t>(scratch_[static_cast<std::size_t>(i)]));
    }
  });
  ++state_.draws;
}

void SumTree::adopt_leaves(const State& state, SlotSet valid) {
  std::vector<std::uint64_t> scratch(static_cast<std::size_t>(masses_.scratch_size()));
  masses_.rebuild(scratch.data());
  state_ = state;
  valid_ = std::move(valid);
  ++rescales_;
}

void SumTree::restore(const State& state, const std::uint32_t* masses, std::int64_t n, const std::uint64_t* valid) {
  std::vector<std::uint64_t> scratch(
      static_cast<std::size_t>(masses_.scratch_size()));  // throws before anything changes
  clear();
  std::copy_n(masses, n, masses_.raw_leaves());
  masses_.rebuild(scratch.data());
  state_ = state;
  if (valid != nullptr) {
    valid_.assign(valid, capacity());
  } else {
    valid_.insert_range(0, n);
  }
}

}  // namespace metarl
