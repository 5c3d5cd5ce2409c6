#include <chrono>
#include <latch>
#include <mutex>
#include <set>
#include <thread>

#include "check.h"
#include "metarl/errors.h"
#include "metarl/fork_mutex.h"

#if !defined(_WIN32)
#include <sys/wait.h>
#include <unistd.h>
#endif

using namespace metarl;

TEST(stream_0_is_the_seed_itself) {
  CHECK(stream_key(12345, 0) == 12345);
  CHECK(stream_key(12345, 1) != 12345);
  CHECK(stream_key(12345, 1) != stream_key(12345, 2));
  CHECK(stream_key(12345, 1) != stream_key(12346, 1));
}

TEST(the_stream_stays_in_the_process_that_made_the_object) {
  ForkMutex mutex;
  const std::lock_guard lock(mutex);
  CHECK(mutex.stream() == 0);
}

#if !defined(_WIN32)

// Runs f() in a forked child and returns the number that it returned.
template <typename F>
std::uint64_t in_child(F&& f) {
  int ends[2];
  CHECK(pipe(ends) == 0);
  const pid_t child = fork();
  if (child == 0) {
    std::uint64_t result = ~std::uint64_t{0};
    try {
      result = f();
    } catch (...) {
    }
    const bool written = write(ends[1], &result, sizeof result) == sizeof result;
    _exit(written ? 0 : 1);
  }
  std::uint64_t result = 0;
  CHECK(read(ends[0], &result, sizeof result) == sizeof result);
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  close(ends[0]);
  close(ends[1]);
  return result;
}

std::uint64_t locked_stream(ForkMutex& mutex) {
  const std::lock_guard lock(mutex);
  return mutex.stream();
}

TEST(children_differ_from_the_parent_and_from_each_other) {
  ForkMutex mutex;
  std::set<std::uint64_t> seen{0};
  for (int k = 0; k < 5; ++k) {
    CHECK(seen.insert(in_child([&] { return locked_stream(mutex); })).second);
    CHECK(seen.insert(in_child([&] { return in_child([&] { return locked_stream(mutex); }); })).second);
    CHECK(seen.insert(in_child([&] {
                locked_stream(mutex);
                return in_child([&] { return locked_stream(mutex); });
              }))
              .second);
  }
  CHECK(locked_stream(mutex) == 0);
  // An object that the child makes has the stream that it would have anywhere.
  CHECK(in_child([] {
          ForkMutex own;
          return locked_stream(own);
        }) == 0);
}

TEST(a_lock_that_another_thread_held_at_the_fork_is_an_error) {
  ForkMutex mutex;
  std::latch ready(1), done(1);
  std::thread holder([&] {
    const std::lock_guard lock(mutex);
    ready.count_down();
    done.wait();
  });
  ready.wait();
  const std::uint64_t result = in_child([&]() -> std::uint64_t {
    const auto begin = std::chrono::steady_clock::now();
    for (int k = 0; k < 5; ++k) {
      try {
        mutex.lock();
        return 1;
      } catch (const ForkedWhileLockedError&) {
      }
    }
    return std::chrono::steady_clock::now() - begin < std::chrono::seconds(1) ? 0 : 2;
  });
  CHECK(result == 0);
  done.count_down();
  holder.join();
  CHECK(locked_stream(mutex) == 0);
  CHECK(in_child([&] { return locked_stream(mutex); }) != 0);
}

#endif

METARL_TEST_MAIN()
