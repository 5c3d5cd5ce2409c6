// System calls that a signal may cut short. Internal to the core.
#pragma once

#include <cerrno>

namespace metarl {

template <typename F>
auto retry(F&& call) {
  decltype(call()) result;
  do {
    result = call();
  } while (result < 0 && errno == EINTR);
  return result;
}

}  // namespace metarl
