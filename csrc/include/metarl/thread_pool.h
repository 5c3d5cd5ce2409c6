// A small pool of threads for static partitions of a loop, or for steps that whoever is free takes.
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

  // Calls task(context, step) once for every step in [0, num_steps), each on the thread that is free first, and returns
  // when all are done. Threads that do not come in time are not waited for, and if one of an earlier call has still not
  // come, the caller does all steps itself: on a busy machine this costs no more than doing so at once. Errors as in
  // run().
  void share(int num_steps, void (*task)(void*, int), void* context);

  template <class Function>
  void share(int num_steps, Function& function) {
    share(num_steps, [](void* context, int step) { (*static_cast<Function*>(context))(step); }, &function);
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
