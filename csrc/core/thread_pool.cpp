#include "metarl/thread_pool.h"

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "core/own_threads.h"

namespace metarl {

struct ThreadPool::Workers {
  long owner = process_id();
  std::vector<std::thread> threads;
  std::atomic<std::uint32_t> generation{0};
  std::atomic<int> pending{0};
  // Written by the caller before it advances `generation`, read by the workers after they saw it advance.
  bool stopping = false;
  int num_parts = 0;
  int num_steps = 0;  // of share(), otherwise 0
  std::atomic<int> next_step{0};
  std::atomic<int> steps_done{0};
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

  void take_steps() {
    for (int step = next_step.fetch_add(1, std::memory_order_relaxed); step < num_steps;
         step = next_step.fetch_add(1, std::memory_order_relaxed)) {
      call(step);
      if (steps_done.fetch_add(1, std::memory_order_acq_rel) + 1 == num_steps) steps_done.notify_one();
    }
  }

  static void wait_for(const std::atomic<int>& counter, int value) {
    for (int now = counter.load(std::memory_order_acquire); now != value;
         now = counter.load(std::memory_order_acquire)) {
      counter.wait(now, std::memory_order_acquire);
    }
  }

  void rethrow() {
    if (!error) return;
    std::exception_ptr thrown;
    std::swap(thrown, error);
    std::rethrow_exception(thrown);
  }

  void work(int part) {
    std::uint32_t seen = 0;
    while (true) {
      generation.wait(seen, std::memory_order_acquire);
      seen = generation.load(std::memory_order_acquire);
      if (stopping) return;
      if (num_steps > 0) {
        take_steps();
      } else if (part < num_parts) {
        call(part);
      }
      if (pending.fetch_sub(1, std::memory_order_acq_rel) == 1) pending.notify_one();
    }
  }

  void announce() {
    generation.fetch_add(1, std::memory_order_release);
    generation.notify_all();
  }

  ~Workers() {
    wait_for(pending, 0);
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
  Workers::wait_for(w.pending, 0);  // threads that share() did not wait for
  w.num_steps = 0;
  w.task = task;
  w.context = context;
  w.num_parts = num_parts;
  w.error = nullptr;
  w.pending.store(num_threads_ - 1, std::memory_order_relaxed);
  w.announce();
  w.call(0);
  Workers::wait_for(w.pending, 0);
  w.rethrow();
}

void ThreadPool::share(int num_steps, void (*task)(void*, int), void* context) {
  bool alone = num_steps <= 1 || num_threads_ == 1;
  if (!alone) {
    ensure_started();
    alone = workers_->pending.load(std::memory_order_acquire) != 0;
  }
  if (alone) {
    for (int step = 0; step < num_steps; ++step) task(context, step);
    return;
  }
  Workers& w = *workers_;
  w.task = task;
  w.context = context;
  w.num_steps = num_steps;
  w.error = nullptr;
  w.next_step.store(0, std::memory_order_relaxed);
  w.steps_done.store(0, std::memory_order_relaxed);
  w.pending.store(num_threads_ - 1, std::memory_order_relaxed);
  w.announce();
  w.take_steps();
  Workers::wait_for(w.steps_done, num_steps);
  // A thread that comes later finds no step left and does not touch the context.
  w.rethrow();
}

}  // namespace metarl
