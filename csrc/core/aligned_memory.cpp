#include "metarl/aligned_memory.h"

#include <cstdlib>
#include <limits>
#include <string>
#include <utility>

#include "metarl/errors.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

namespace metarl {
namespace {

constexpr std::size_t kLine = 64;
[[maybe_unused]] constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::byte* align(void* block, std::size_t alignment) {
  return reinterpret_cast<std::byte*>((reinterpret_cast<std::uintptr_t>(block) + alignment - 1) & ~(alignment - 1));
}

[[noreturn]] void refuse(const std::string& bytes) { throw OutOfMemoryError("cannot allocate " + bytes + " bytes"); }

}  // namespace

std::uint64_t physical_memory() {
#if defined(_SC_PHYS_PAGES) && defined(_SC_PAGESIZE)
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long page = sysconf(_SC_PAGESIZE);
  if (pages > 0 && page > 0) return static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page);
#endif
  return std::numeric_limits<std::uint64_t>::max();
}

void check_allocation(std::uint64_t count, std::uint64_t bytes_each) {
  const long double bytes = static_cast<long double>(count) * static_cast<long double>(bytes_each);
  // An allocation above the physical memory may succeed (overcommitment) and kill the process later.
  static const std::uint64_t memory = physical_memory();  // asking takes half a microsecond
  if (bytes > static_cast<long double>(memory) ||
      bytes > static_cast<long double>(std::numeric_limits<std::ptrdiff_t>::max())) {
    std::string digits = std::to_string(bytes);
    refuse(digits.substr(0, digits.find('.')));
  }
}

AlignedMemory::AlignedMemory(std::size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  check_allocation(bytes, 1);
#if defined(__linux__)
  if (bytes >= 2 * kHugePage) {
    // Not by calloc: where it uses memory again, it zeroes all of it, the room for the alignment too.
    const std::size_t length = bytes + kHugePage;
    void* block = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) refuse(std::to_string(bytes));
    block_ = block;
    mapped_ = length;
    data_ = align(block, kHugePage);
#if defined(MADV_HUGEPAGE)
    madvise(data_, bytes & ~(kHugePage - 1), MADV_HUGEPAGE);  // advice only
#endif
    return;
  }
#endif
  block_ = std::calloc(bytes + kLine, 1);
  if (block_ == nullptr) refuse(std::to_string(bytes));
  data_ = align(block_, kLine);
}

AlignedMemory::~AlignedMemory() {
#if defined(__linux__)
  if (mapped_ > 0) {
    munmap(block_, mapped_);
    return;
  }
#endif
  std::free(block_);
}

AlignedMemory::AlignedMemory(AlignedMemory&& other) noexcept
    : block_(std::exchange(other.block_, nullptr)),
      mapped_(std::exchange(other.mapped_, 0)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

AlignedMemory& AlignedMemory::operator=(AlignedMemory&& other) noexcept {
  std::swap(block_, other.block_);
  std::swap(mapped_, other.mapped_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace metarl
