// The sum tree as a host object: owns the memory, orders calls across streams, reads the state. What it is given are
// pointers to device memory; their content is checked on the device, by check().
#pragma once

#include <cstdint>
#include <memory>

#include "cuda/device.h"
#include "cuda/memory_pool.h"
#include "cuda/timeline.h"

namespace metarl::cuda {

// Not synchronised: the caller holds Python's lock. No call but the constructor and state() allocates or waits.
class Tree {
 public:
  // Needs 1 <= capacity <= kMaxTreeCapacity. Throws OutOfMemoryError.
  Tree(std::shared_ptr<Device> device, std::int64_t capacity, std::uint64_t seed);
  ~Tree();
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  std::int64_t capacity() const { return tree_.capacity; }
  const DeviceTree& arrays() const { return tree_; }
  std::uint64_t key() const { return key_; }
  std::size_t num_bytes() const { return num_bytes_; }
  Device& device() const { return *device_; }
  const std::shared_ptr<Timeline>& timeline() const { return timeline_; }
  MemoryPool& pool() const { return *pool_; }

  template <typename Priority>
  void set(const std::int64_t* indices, const Priority* priorities, std::int64_t n, Stream stream) {
    run(SetCall<Priority>{tree_, indices, priorities, n, SetKind::set}, stream);
  }
  void invalidate(const std::int64_t* indices, std::int64_t n, Stream stream) {
    run(SetCall<double>{tree_, indices, nullptr, n, SetKind::invalidate}, stream);
  }
  // Of the call, tree and key are filled in. n >= 1.
  void sample(SampleCall call, Stream stream);
  void find(const double* at, std::int64_t n, std::int64_t* indices, Stream stream);
  void get(const std::int64_t* indices, std::int64_t n, double* priorities, Stream stream);

  // Waits for the calls so far.
  TreeState state(Stream stream);
  // Forgets the error that state() shows.
  void clear_error(Stream stream);

  // For checkpoints; these wait. Masses of the leaves [0, n), and which of them are valid: bit i % 32 of word i / 32.
  void read_leaves(std::int64_t n, std::uint32_t* masses, std::uint32_t* valid, Stream stream);
  // Replaces everything. Of `state`, draws, changes, scale_exponent, rescales and calls are taken over.
  void load(const TreeState& state, std::int64_t n, const std::uint32_t* masses, const std::uint32_t* valid,
            Stream stream);

 private:
  template <typename Call>
  void run(const Call& call, Stream stream) {
    timeline_->follow(stream);
    device_->start(call, stream);
    timeline_->end_call(stream);
  }

  std::shared_ptr<Device> device_;
  std::shared_ptr<Timeline> timeline_;
  std::shared_ptr<MemoryPool> pool_;
  std::uint64_t key_;
  std::size_t num_bytes_ = 0;
  void* memory_ = nullptr;
  DeviceTree tree_{};
};

// Priorities as stored, as SumTree's members of these names.
double state_total(const TreeState& state);
double state_min(const TreeState& state);
double state_max(const TreeState& state);

}  // namespace metarl::cuda
