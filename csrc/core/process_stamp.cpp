#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "metarl/shared_lane.h"

#if !defined(_WIN32)
#include <signal.h>
#include <unistd.h>
#endif

namespace metarl {
namespace {

constexpr std::uint64_t kTimeMask = (std::uint64_t{1} << 42) - 1;

}  // namespace

#if defined(_WIN32)

std::uint64_t process_stamp(std::int64_t) { return 0; }
std::uint64_t own_process_stamp() { return 0; }

#else

std::uint64_t process_stamp(std::int64_t pid) {
  if (pid <= 0 || (kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH)) return 0;
  std::uint64_t start = 0;
#if defined(__linux__)
  char name[40];
  std::snprintf(name, sizeof name, "/proc/%lld/stat", static_cast<long long>(pid));
  std::FILE* file = std::fopen(name, "re");
  char text[1024];
  std::size_t length = 0;
  if (file != nullptr) {
    length = std::fread(text, 1, sizeof text - 1, file);
    std::fclose(file);
  }
  text[length] = 0;
  // pid (command) state ...; the command may hold anything, parentheses too. The start time is field 22.
  const char* at = std::strrchr(text, ')');
  if (at != nullptr && at[1] == ' ') {
    if (at[2] == 'Z' || at[2] == 'X') return 0;
    for (int field = 2; at != nullptr && field < 22; ++field) at = std::strchr(at + 1, ' ');
    if (at != nullptr) start = std::strtoull(at, nullptr, 10);
  }
#endif
  return static_cast<std::uint64_t>(pid) << 42 | (start & kTimeMask);
}

std::uint64_t own_process_stamp() {
  // The child of a fork is another process.
  static std::atomic<std::uint64_t> known{0};
  const auto pid = static_cast<std::int64_t>(getpid());
  std::uint64_t stamp = known.load(std::memory_order_relaxed);
  if (stamp == 0 || pid_of_stamp(stamp) != pid) {
    stamp = process_stamp(pid);
    known.store(stamp, std::memory_order_relaxed);
  }
  return stamp;
}

#endif

}  // namespace metarl
