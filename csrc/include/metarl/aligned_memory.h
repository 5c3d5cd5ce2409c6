// Large zeroed arrays, aligned to cache lines, on huge pages where the system offers them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace metarl {

// Zero-initialised memory that the system backs with pages only when they are written. Move-only.
class AlignedMemory {
 public:
  AlignedMemory() = default;
  // Throws OutOfMemoryError, stating `bytes`, if the system refuses or has less physical memory than that.
  explicit AlignedMemory(std::size_t bytes);
  ~AlignedMemory();
  AlignedMemory(AlignedMemory&& other) noexcept;
  AlignedMemory& operator=(AlignedMemory&& other) noexcept;
  AlignedMemory(const AlignedMemory&) = delete;
  AlignedMemory& operator=(const AlignedMemory&) = delete;

  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }
  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  void* block_ = nullptr;
  std::size_t mapped_ = 0;  // bytes of the block that came straight from the system, or 0
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// Throws OutOfMemoryError if count * bytes_each overflows or exceeds the machine's physical memory.
void check_allocation(std::uint64_t count, std::uint64_t bytes_each);

// Of the machine in bytes; the largest number if it is not known.
std::uint64_t physical_memory();

}  // namespace metarl
