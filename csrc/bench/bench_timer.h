// How the benchmarks take time.
#pragma once

#include <algorithm>
#include <chrono>

namespace metarl::bench {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Least time of one call over many short measurements: what other programs on the machine add is left out.
template <typename F>
double least_seconds(double budget, F&& call) {
  call();
  double best = 1e30;
  int calls = 1;
  const Clock::time_point begin = Clock::now();
  do {
    const Clock::time_point start = Clock::now();
    for (int i = 0; i < calls; ++i) call();
    const double elapsed = seconds_since(start);
    best = std::min(best, elapsed / calls);
    if (elapsed < 2e-4) calls *= 2;
  } while (seconds_since(begin) < budget);
  return best;
}

}  // namespace metarl::bench
