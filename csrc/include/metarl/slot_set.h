// Set of slots that answers "which is the k-th member?", for uniform draws among the slots in use.
//
// Not synchronised: one thread at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "metarl/aligned_memory.h"

namespace metarl {

// One bit a slot, and the number of members of each block of 512 slots as a Fenwick tree (Fenwick, "A new data
// structure for cumulative frequency tables", 1994). While the members are exactly [0, size), the common case of a
// buffer without hidden slots, the counts are not kept and rank k is slot k. Memory: 0.141 bytes a slot.
class SlotSet {
 public:
  explicit SlotSet(std::int64_t capacity);

  std::int64_t capacity() const { return capacity_; }
  std::int64_t size() const { return size_; }
  // Whether the members are [0, size).
  bool is_prefix() const { return prefix_; }
  bool contains(std::int64_t slot) const { return (words()[slot >> 6] >> (slot & 63) & 1) != 0; }
  // (capacity + 63) / 64 words, bit i of word w being slot 64 w + i.
  const std::uint64_t* words() const { return memory_.as<std::uint64_t>(); }

  // O(1) in a prefix set, otherwise O(log capacity). Each returns whether anything changed.
  bool insert(std::int64_t slot);
  bool erase(std::int64_t slot);
  void insert_range(std::int64_t begin, std::int64_t end);
  void clear();
  // Replaces everything by the members among the first `slots` slots; later bits are ignored.
  void assign(const std::uint64_t* words, std::int64_t slots);

  // Slot of the k-th member in ascending order, 0 <= rank < size(); O(log capacity).
  std::int64_t at_rank(std::int64_t rank) const;

 private:
  static constexpr int kBlockBits = 9;
  static constexpr std::int64_t kBlockWords = (1 << kBlockBits) / 64;
  void leave_prefix();
  void count_blocks();
  void count(std::int64_t block, std::int64_t delta);

  std::int64_t capacity_;
  std::int64_t num_blocks_;
  std::int64_t top_block_;  // largest power of two <= num_blocks_
  AlignedMemory memory_;
  std::vector<std::int64_t> fenwick_;  // [i - 1]: members of the blocks (i - lowest set bit of i, i]
  std::int64_t size_ = 0;
  bool prefix_ = true;
};

}  // namespace metarl
