// Work on large memory in pieces, between which somebody may stop it. The first touch of fresh pages is most of it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

#include "metarl/detail/add_portions.h"

namespace metarl {

using Poll = std::function<void()>;  // may throw; may be empty

// Calls work(begin, end) for parts of [0, n), before each of them poll; all at once without one.
template <typename F>
void in_parts(std::int64_t n, const Poll& poll, F&& work) {
  if (!poll) return work(std::int64_t{0}, n);
  for (std::int64_t begin = 0; begin < n; begin += kPollItems) {
    poll();
    work(begin, std::min(n, begin + kPollItems));
  }
}

// Gives a scratch vector at least n elements.
template <typename T>
void grow(std::vector<T>* scratch, std::size_t n, const Poll& poll) {
  if (scratch->size() >= n) return;
  if (poll) {
    scratch->reserve(n);
    while (scratch->size() < n) {
      poll();
      scratch->resize(std::min(n, scratch->size() + kPollBytes / sizeof(T)));
    }
  }
  scratch->resize(n);
}

inline void touch(void* memory, std::size_t bytes, const Poll& poll) {
  for (std::size_t done = 0; done < bytes; done += kPollBytes) {
    poll();
    std::memset(static_cast<std::byte*>(memory) + done, 0, std::min(kPollBytes, bytes - done));
  }
}

}  // namespace metarl
