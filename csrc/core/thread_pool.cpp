#include "metarl/thread_pool.h"

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#if !defined(_WIN32)
#include <pthread.h>
#include <signal.h>
#include <unistd.h>
#endif

namespace metarl {
namespace {

#if defined(_WIN32)
long process_id() { return 0; }
#else
long process_id() { return static_cast<long>(getpid()); }
#endif

// Threads inherit the signal mask of their creator; signals belong to the program's own threads.
class BlockSignals {
 public:
#if defined(_WIN32)
  BlockSignals() {}
#else
  BlockSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &previous_);
  }
  ~BlockSignals() { pthread_sigmask(SIG_SETMASK, &previous_, nullptr); }

 private:
  sigset_t previous_;
#endif
};

}  // namespace

struct ThreadPool::Workers {
  long owner = process_id();
  std::vector<std::thread> threads;
  std::atomic<std::uint32_t> generation{0};
  std::atomic<int> pending{0};
  // Written by the caller before it advances `generation`, read by the workers after they saw it advance.
  bool stopping = false;
  int num_parts = 0;
  void (*task)(void*, int) = nullptr;
  void* context = nullptr;
  std::mutex error_mutex;
  std::exception_ptr error;

  void call(int part) noexcept {
    try {
      task(context, part);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(error_mutex);
      if (!error) error = std::current_exception();
    }
  }

  void work(int part) {
    std::uint32_t seen = 0;
    while (true) {
      generation.wait(seen, std::memory_order_acquire);
      seen = generation.load(std::memory_order_acquire);
      if (stopping) return;
      if (part < num_parts) call(part);
      if (pending.fetch_sub(1, std::memory_order_acq_rel) == 1) pending.notify_one();
    }
  }

  void announce() {
    generation.fetch_add(1, std::memory_order_release);
    generation.notify_all();
  }

  ~Workers() {
    stopping = true;
    announce();
    for (std::thread& thread : threads) thread.join();
  }
};

ThreadPool::ThreadPool(int num_threads) : num_threads_(num_threads < 1 ? 1 : num_threads) {}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::drop_if_forked() {
  // The threads of the parent do not exist here: joining them would hang, so their handles are abandoned.
  if (workers_ && workers_->owner != process_id()) workers_.release();
}

void ThreadPool::stop() {
  drop_if_forked();
  workers_.reset();
}

void ThreadPool::ensure_started() {
  drop_if_forked();
  if (workers_) return;
  auto workers = std::make_unique<Workers>();
  const BlockSignals blocked;
  for (int part = 1; part < num_threads_; ++part) {
    workers->threads.emplace_back([w = workers.get(), part] { w->work(part); });
  }
  workers_ = std::move(workers);
}

void ThreadPool::run(int num_parts, void (*task)(void*, int), void* context) {
  if (num_parts <= 1 || num_threads_ == 1) {
    for (int part = 0; part < num_parts; ++part) task(context, part);
    return;
  }
  ensure_started();
  Workers& w = *workers_;
  w.task = task;
  w.context = context;
  w.num_parts = num_parts;
  w.error = nullptr;
  w.pending.store(num_threads_ - 1, std::memory_order_relaxed);
  w.announce();
  w.call(0);
  for (int left = w.pending.load(std::memory_order_acquire); left != 0;
       left = w.pending.load(std::memory_order_acquire)) {
    w.pending.wait(left, std::memory_order_acquire);
  }
  if (w.error) {
    std::exception_ptr error;
    std::swap(error, w.error);
    std::rethrow_exception(error);
  }
}

}  // namespace metarl
