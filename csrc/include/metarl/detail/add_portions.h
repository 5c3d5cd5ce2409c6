// How a slot of a replay buffer is laid out, and in which portions a large add goes, so that Ctrl-C may come between
// two. Tasks leave and join portion by portion, so both devices must cut alike.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace metarl {

// Calls from this many items or bytes on take more than some 10 ms: Ctrl-C must end them.
constexpr std::int64_t kInterruptItems = 1 << 18;
constexpr std::size_t kInterruptBytes = std::size_t{64} << 20;

constexpr std::size_t kPollBytes = std::size_t{8} << 20;  // of memory, between two polls
constexpr std::int64_t kPollItems = 1 << 17;              // that each cost a few random accesses, between two polls

constexpr std::size_t kMaxPackedBytes = 256;   // of a field in the packed row; a larger one has an array of its own
constexpr std::size_t kElementAlignment = 16;  // of large fields: what a streaming store asks for
constexpr std::size_t kRowAlignment = 4;       // more would only add padding: rows are read by memcpy

constexpr std::size_t padded(std::size_t bytes, std::size_t alignment) {
  return (bytes + alignment - 1) / alignment * alignment;
}

// Bytes of a slot, a field after another.
struct SlotBytes {
  std::size_t packed = 0;
  std::size_t alignment = 1;
  std::size_t large = 0;

  constexpr void add(std::size_t bytes, std::size_t item_alignment) {
    if (bytes <= kMaxPackedBytes) {
      packed += bytes;
      alignment = std::max(alignment, std::min(item_alignment, kRowAlignment));
    } else {
      large += padded(bytes, kElementAlignment);
    }
  }
  constexpr std::size_t row() const { return padded(packed, alignment); }
};

// Whether an add of n rows, `bytes` of them in all, goes in portions.
constexpr bool adds_in_portions(std::int64_t n, std::size_t bytes) {
  return n > 1 && (n >= kInterruptItems || bytes >= kInterruptBytes);
}

// Rows of a portion; the end of the ring ends one, too.
constexpr std::int64_t rows_of_portion(std::size_t bytes_per_slot) {
  const auto rows = static_cast<std::int64_t>(kPollBytes / std::max(bytes_per_slot, std::size_t{1}));
  return std::clamp(rows, std::int64_t{1}, kPollItems);
}

}  // namespace metarl
