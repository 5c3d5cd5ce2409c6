// Long calls that Ctrl-C ends.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "bindings/gil.h"
#include "metarl/detail/add_portions.h"

namespace metarl {

// Runs `f` in a thread of its own with the GIL released, and meanwhile lets Python's signal handlers run. If one
// raises, `cancel` is set, which `f` must look at often and then throw; the Python error is thrown when f has ended.
// Not on the calling thread: a handler needs the GIL, and whoever has it may wait for a lock that f holds.
// Exceptions of f are rethrown. Call with the GIL held.
void run_interruptible(std::atomic<bool>& cancel, const std::function<void()>& f);

// What a poll of f throws when `cancel` is set.
struct Cancelled {};

inline std::function<void()> poll_of(const std::atomic<bool>& cancel) {
  return [&cancel] {
    if (cancel.load(std::memory_order_relaxed)) throw Cancelled();
  };
}

// Calls f(poll): as above if `large`, otherwise at once with an empty poll, the GIL released if `release`.
template <typename F>
void run_core(bool large, bool release, F&& f) {
  if (!large) return without_gil(release, [&] { f(std::function<void()>()); });
  std::atomic<bool> cancel;
  run_interruptible(cancel, [&] { f(poll_of(cancel)); });
}

}  // namespace metarl
