#include "metarl/fork_mutex.h"

#include <chrono>
#include <thread>

#include "metarl/detail/philox.h"
#include "metarl/errors.h"

#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace metarl {

std::atomic<std::uint32_t> fork_state::generation{0};
std::atomic<void (*)()> ForkMutex::before_wait_{nullptr};

namespace {

constexpr auto kPatience = std::chrono::milliseconds(300);

std::uint64_t hash(std::uint64_t key, std::uint64_t counter, std::uint32_t purpose) {
  const PhiloxBlock block = philox(key, purpose, counter, kTagFork);
  return std::uint64_t{block.v[0]} << 32 | block.v[1];
}

#if !defined(_WIN32)

std::uint64_t lineage = 0;
std::atomic<std::uint64_t> num_forks{0};
// Threads may fork at the same time; a child runs in a copy of the thread that made it.
thread_local std::uint64_t this_fork = 0;

void before_fork() { this_fork = num_forks.fetch_add(1, std::memory_order_relaxed) + 1; }

void in_child() {
  lineage = hash(lineage, this_fork, 0);
  num_forks.store(0, std::memory_order_relaxed);
  fork_state::generation.fetch_add(1, std::memory_order_relaxed);
}

void watch_forks() {
  static const int registered = pthread_atfork(&before_fork, nullptr, &in_child);
  if (registered != 0) throw std::bad_alloc();
}

#else

constexpr std::uint64_t lineage = 0;
void watch_forks() {}

#endif

}  // namespace

std::uint64_t stream_key(std::uint64_t seed, std::uint64_t stream) {
  return stream == 0 ? seed : hash(seed, stream, 2);
}

ForkMutex::ForkMutex() {
  watch_forks();
  generation_.store(fork_state::generation.load(std::memory_order_relaxed), std::memory_order_relaxed);
}

void ForkMutex::wait_and_lock() {
  if (auto* const before_wait = before_wait_.load(std::memory_order_acquire)) before_wait();
  mutex_.lock();
}

void ForkMutex::refuse_closed() {
  mutex_.unlock();
  throw ClosedError("this buffer is closed");
}

void ForkMutex::lock_in_child() {
  if (bound_.load(std::memory_order_relaxed)) {
    if (closed_) throw ClosedError("this buffer is closed");
    throw ForkedWhileLockedError(
        "this buffer's files (storage='mmap:...') are those of the process that was forked, which goes on to write to "
        "them; a child must open a folder of its own");
  }
  const std::uint32_t here = fork_state::generation.load(std::memory_order_relaxed);
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    if (mutex_.try_lock()) {
      if (generation_.load(std::memory_order_relaxed) != here) {
        stream_ = hash(lineage, stream_, 1) >> 2 | 1;  // never 0
        generation_.store(here, std::memory_order_release);
      }
      if (closed_) refuse_closed();
      return;
    }
    // Held by a thread of this process, which came first, or by one that does not exist here.
    if (generation_.load(std::memory_order_acquire) == here) {
      wait_and_lock();
      if (closed_) refuse_closed();
      return;
    }
    if (abandoned_.load(std::memory_order_relaxed) || std::chrono::steady_clock::now() > deadline) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  abandoned_.store(true, std::memory_order_relaxed);
  throw ForkedWhileLockedError(
      "this object was in use by another thread when the process was forked, so this copy of it cannot be used; make a "
      "new one, or fork while no thread uses it");
}

}  // namespace metarl
