#include "metarl/slot_set.h"

#include <algorithm>
#include <bit>

namespace metarl {

SlotSet::SlotSet(std::int64_t capacity)
    : capacity_(capacity),
      num_blocks_(((capacity - 1) >> kBlockBits) + 1),
      top_block_(static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(num_blocks_)))),
      // Whole blocks, so that the search within one needs no end.
      memory_(static_cast<std::size_t>(num_blocks_ * kBlockWords) * sizeof(std::uint64_t)),
      fenwick_(static_cast<std::size_t>(num_blocks_)) {}

void SlotSet::count(std::int64_t block, std::int64_t delta) {
  for (std::int64_t i = block + 1; i <= num_blocks_; i += i & -i) fenwick_[static_cast<std::size_t>(i - 1)] += delta;
}

void SlotSet::count_blocks() {
  const std::uint64_t* word = words();
  for (std::int64_t& members : fenwick_) {
    members = 0;
    for (std::int64_t w = 0; w < kBlockWords; ++w) members += std::popcount(*word++);
  }
  for (std::int64_t i = 1; i <= num_blocks_; ++i) {
    const std::int64_t parent = i + (i & -i);
    if (parent <= num_blocks_) {
      fenwick_[static_cast<std::size_t>(parent - 1)] += fenwick_[static_cast<std::size_t>(i - 1)];
    }
  }
}

void SlotSet::leave_prefix() {
  count_blocks();
  prefix_ = false;
}

bool SlotSet::insert(std::int64_t slot) {
  std::uint64_t& word = memory_.as<std::uint64_t>()[slot >> 6];
  const std::uint64_t bit = std::uint64_t{1} << (slot & 63);
  if ((word & bit) != 0) return false;
  if (prefix_ && slot != size_) leave_prefix();
  word |= bit;
  ++size_;
  if (!prefix_) count(slot >> kBlockBits, 1);
  return true;
}

bool SlotSet::erase(std::int64_t slot) {
  std::uint64_t& word = memory_.as<std::uint64_t>()[slot >> 6];
  const std::uint64_t bit = std::uint64_t{1} << (slot & 63);
  if ((word & bit) == 0) return false;
  if (prefix_ && slot != size_ - 1) leave_prefix();
  word &= ~bit;
  --size_;
  if (!prefix_) count(slot >> kBlockBits, -1);
  return true;
}

void SlotSet::insert_range(std::int64_t begin, std::int64_t end) {
  for (std::int64_t slot = begin; slot < end && size_ < capacity_; ++slot) insert(slot);
}

void SlotSet::clear() {
  std::fill_n(memory_.data(), memory_.size(), std::byte{0});
  size_ = 0;
  prefix_ = true;
}

void SlotSet::assign(const std::uint64_t* given, std::int64_t slots) {
  const std::int64_t num_words = (capacity_ + 63) / 64;
  auto* own = memory_.as<std::uint64_t>();
  const std::int64_t num_given = (slots + 63) / 64;
  std::copy_n(given, num_given, own);
  if (slots % 64 != 0) own[num_given - 1] &= (std::uint64_t{1} << (slots % 64)) - 1;
  for (std::int64_t w = num_given; w < num_words; ++w) {
    if (own[w] != 0) own[w] = 0;  // pages never used stay so
  }
  size_ = 0;
  std::int64_t end = 0;  // one past the last member
  for (std::int64_t w = 0; w < num_words; ++w) {
    if (own[w] == 0) continue;
    size_ += std::popcount(own[w]);
    end = w * 64 + static_cast<std::int64_t>(std::bit_width(own[w]));
  }
  prefix_ = size_ == end;
  if (!prefix_) count_blocks();
}

std::int64_t SlotSet::at_rank(std::int64_t rank) const {
  if (prefix_) return rank;
  std::int64_t block = 0;
  for (std::int64_t step = top_block_; step > 0; step >>= 1) {
    if (block + step > num_blocks_) continue;
    const std::int64_t members = fenwick_[static_cast<std::size_t>(block + step - 1)];
    if (members > rank) continue;
    rank -= members;
    block += step;
  }
  const std::uint64_t* word = words() + block * kBlockWords;
  const std::uint64_t* first = words();
  for (;; ++word) {
    const int members = std::popcount(*word);
    if (rank < members) break;
    rank -= members;
  }
  std::uint64_t bits = *word;
  for (; rank > 0; --rank) bits &= bits - 1;
  return (word - first) * 64 + std::countr_zero(bits);
}

}  // namespace metarl
