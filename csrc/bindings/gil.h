// When calls into the core keep the GIL, and when they release it.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <optional>

namespace metarl {

// Copying more than this takes more than a few microseconds: the GIL is released.
constexpr std::size_t kReleaseBytes = 16 * 1024;

// While one of these lives, the thread may wait for a lock of the core (ForkMutex): if the lock is taken, the GIL is
// released before the wait, and had again when the scope ends, so that nobody waits for one lock with the other in
// hand. If the lock is free the GIL stays. In the scope, what runs after the core was called must not touch Python
// objects.
class GilScope {
 public:
  // release: at once, for calls that take long.
  explicit GilScope(bool release);
  ~GilScope();
  GilScope(const GilScope&) = delete;
  GilScope& operator=(const GilScope&) = delete;

 private:
  static void before_wait();
  friend void watch_core_locks();

  GilScope* outer_;
  std::optional<pybind11::gil_scoped_release> released_;
};

// Once, when the module is made.
void watch_core_locks();

template <typename F>
auto without_gil(bool release, F&& f) {
  const GilScope scope(release);
  return f();
}

// The same for short calls.
template <typename F>
auto with_core(F&& f) {
  return without_gil(false, f);
}

}  // namespace metarl
