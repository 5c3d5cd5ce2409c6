// A small pool of threads for static partitions of a loop.
#pragma once

#include <memory>

namespace metarl {

// Not thread-safe: one caller at a time. Threads start at the first call of run() that needs them, never earlier, and
// end with the pool. In a forked child, where the parent's threads do not exist, the first run() starts new ones.
class ThreadPool {
 public:
  // num_threads counts the caller, which takes part in every run; at least 1.
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return num_threads_; }

  // Calls task(context, part) once for every part in [0, num_parts) and returns when all are done. num_parts must not
  // exceed num_threads(); part 0 runs on the caller. Rethrows the first exception that a part threw, after every part
  // has ended. Throws std::system_error if a thread cannot be started; then no part has run.
  void run(int num_parts, void (*task)(void*, int), void* context);

  template <class Function>
  void run(int num_parts, Function& function) {
    run(num_parts, [](void* context, int part) { (*static_cast<Function*>(context))(part); }, &function);
  }

  // Ends the threads; a later run() starts new ones.
  void stop();

 private:
  struct Workers;
  void ensure_started();
  void drop_if_forked();

  int num_threads_;
  std::unique_ptr<Workers> workers_;
};

}  // namespace metarl
