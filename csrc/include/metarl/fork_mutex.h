// A mutex for objects that may find themselves in a forked child.
//
// A child is a copy of its parent with one thread. If another thread held the lock at that moment, the data may be half
// changed and nobody will unlock: lock() throws ForkedWhileLockedError. Otherwise the object works on, but its random
// numbers must not be those that the parent goes on to use: stream() then names another stream.
//
// Streams are reproducible: a process counts its forks, and a child's lineage follows from its parent's and the number
// of the fork. So the n-th child of a program has the same numbers in every run of it.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

namespace metarl {

namespace fork_state {
// Of this process: number of forks between the first process and this one.
extern std::atomic<std::uint32_t> generation;
}  // namespace fork_state

// The key of random numbers on a stream; stream 0 is the seed itself.
std::uint64_t stream_key(std::uint64_t seed, std::uint64_t stream);

class ForkMutex {
 public:
  ForkMutex();
  ForkMutex(const ForkMutex&) = delete;
  ForkMutex& operator=(const ForkMutex&) = delete;

  void lock() {
    if (generation_.load(std::memory_order_acquire) == fork_state::generation.load(std::memory_order_relaxed)) {
      if (!mutex_.try_lock()) wait_and_lock();
      if (closed_) refuse_closed();
    } else {
      lock_in_child();
    }
  }
  void unlock() { mutex_.unlock(); }

  // From now on lock() throws ClosedError, or no longer does. With the lock held, or before anybody else has the
  // object.
  void set_closed(bool closed) { closed_ = closed; }
  // In a forked child lock() then throws ForkedWhileLockedError: what it guards is the parent's. Before anybody else
  // has the object.
  void bind_to_process() { bound_.store(true, std::memory_order_relaxed); }

  // With the lock held. In [0, 2^62); 0 as long as the object is in the process that made it.
  std::uint64_t stream() const { return stream_; }
  void set_stream(std::uint64_t stream) { stream_ = stream; }

  // Called by every thread that is about to wait for one of these locks, before it does: a host language releases its
  // own lock there, so that whoever waits keeps nobody else waiting.
  static void set_before_wait(void (*function)()) { before_wait_.store(function, std::memory_order_release); }

 private:
  void lock_in_child();
  void wait_and_lock();
  [[noreturn]] void refuse_closed();

  static std::atomic<void (*)()> before_wait_;

  std::mutex mutex_;
  std::atomic<std::uint32_t> generation_;  // of the process that locked last
  std::atomic<bool> abandoned_{false};
  std::atomic<bool> bound_{false};
  bool closed_ = false;
  std::uint64_t stream_ = 0;
};

}  // namespace metarl
