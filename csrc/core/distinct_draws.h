// Draws without replacement. Internal to the core.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "metarl/detail/philox.h"
#include "metarl/mass_tree.h"

namespace metarl {

// The random 64-bit numbers of one sample call, one after the other; the same as those of the kernel tree_draws.
class RandomBits {
 public:
  RandomBits(std::uint64_t seed, std::uint64_t call, std::uint32_t tag) : seed_(seed), call_(call), tag_(tag) {}

  std::uint64_t next() {
    const int half = static_cast<int>(count_ & 1) * 2;
    if (half == 0) block_ = philox(seed_, static_cast<std::uint32_t>(count_ >> 1), call_, tag_);
    ++count_;
    return std::uint64_t{block_.v[half]} << 32 | block_.v[half + 1];
  }

 private:
  std::uint64_t seed_, call_;
  std::uint32_t tag_;
  std::uint64_t count_ = 0;
  PhiloxBlock block_{};
};

// Successive sampling: each draw is proportional to mass among the leaves not drawn before. Returns how many were
// drawn: n, or all leaves of positive mass if there are fewer. `masses` are the leaves' own; the tree is the same
// afterwards, also if `poll`, called every few milliseconds, throws. Throws std::bad_alloc before anything changes.
std::int64_t draw_successive(MassTree* tree, RandomBits bits, std::int64_t n, std::vector<std::uint64_t>* scratch,
                             std::int64_t* indices, std::uint32_t* masses, const std::function<void()>& poll = {});

// Throws std::invalid_argument: only `drawable` items can be drawn without replacement.
[[noreturn]] void refuse_batch_size(std::int64_t n, std::int64_t drawable);

// n distinct numbers in [0, total), every sequence of them equally likely. Precondition: n <= total.
void draw_distinct(std::int64_t total, RandomBits bits, std::int64_t n, std::int64_t* out,
                   const std::function<void()>& poll = {});

}  // namespace metarl
