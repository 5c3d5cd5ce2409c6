// Device memory for results. Allocating and freeing it may wait for the device, so what is dropped is used again, by
// later calls on the same stream, where the order of work makes that safe. (Who uses a result on another stream keeps
// it until that is done, as with PyTorch's tensors.)
#pragma once

#include <bit>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "cuda/device.h"

namespace metarl::cuda {

class MemoryPool : public std::enable_shared_from_this<MemoryPool> {
 public:
  explicit MemoryPool(std::shared_ptr<Device> device) : device_(std::move(device)) {}
  ~MemoryPool() {
    for (auto& [key, blocks] : free_) {
      for (void* block : blocks) device_->release(block);
    }
  }
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;

  // Goes back when the last owner drops it, in any thread. Throws OutOfMemoryError.
  std::shared_ptr<void> take(std::size_t bytes, Stream stream, const std::string& purpose) {
    const std::size_t size = std::bit_ceil(bytes < kLeastBytes ? kLeastBytes : bytes);
    const Key key{stream, size};
    void* block = nullptr;
    {
      const std::lock_guard lock(mutex_);
      auto& blocks = free_[key];
      if (!blocks.empty()) {
        block = blocks.back();
        blocks.pop_back();
      }
    }
    if (block == nullptr) block = device_->allocate(size, purpose);
    return std::shared_ptr<void>(block, [pool = shared_from_this(), key](void* memory) { pool->give(key, memory); });
  }

 private:
  using Key = std::pair<Stream, std::size_t>;
  static constexpr std::size_t kLeastBytes = 512;
  static constexpr std::size_t kMostFree = 64;  // of one size and stream

  void give(const Key& key, void* block) noexcept {
    {
      const std::lock_guard lock(mutex_);
      auto& blocks = free_[key];
      if (blocks.size() < kMostFree) {
        blocks.push_back(block);
        return;
      }
    }
    device_->release(block);
  }

  std::shared_ptr<Device> device_;
  std::mutex mutex_;
  std::map<Key, std::vector<void*>> free_;
};

}  // namespace metarl::cuda
