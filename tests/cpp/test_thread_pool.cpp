#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.h"
#include "metarl/cpu_count.h"
#include "metarl/thread_pool.h"

#if defined(__linux__)
#include <dirent.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

using metarl::ThreadPool;

TEST(every_part_runs_once) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 200; ++round) {
      for (const int parts : {0, 1, threads}) {
        std::vector<int> calls(8, 0);  // each part writes its own element: TSan checks the hand-over
        auto task = [&](int part) { ++calls[static_cast<std::size_t>(part)]; };
        pool.run(parts, task);
        for (int part = 0; part < 8; ++part) CHECK(calls[static_cast<std::size_t>(part)] == (part < parts ? 1 : 0));
      }
    }
  }
}

TEST(every_shared_step_runs_once) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 200; ++round) {
      for (const int steps : {0, 1, 2, threads, 50}) {
        std::vector<int> calls(50, 0);
        auto task = [&](int step) { ++calls[static_cast<std::size_t>(step)]; };
        pool.share(steps, task);
        for (int step = 0; step < 50; ++step) CHECK(calls[static_cast<std::size_t>(step)] == (step < steps ? 1 : 0));
        if (round % 7 != 0) continue;
        std::atomic<int> ran{0};
        auto part = [&](int) { ++ran; };
        pool.run(threads, part);  // waits for threads that come late
        CHECK(ran == threads);
      }
    }
  }
}

TEST(an_exception_in_a_shared_step_surfaces_and_the_pool_goes_on) {
  ThreadPool pool(3);
  for (int failing = 0; failing < 20; ++failing) {
    std::atomic<int> ran{0};
    auto task = [&](int step) {
      ++ran;
      if (step == failing) throw std::runtime_error("step");
    };
    CHECK_THROWS(pool.share(20, task), std::runtime_error);
    // Alone, the caller stops at the error.
    CHECK(ran == 20 || ran == failing + 1);
  }
  std::atomic<int> ran{0};
  auto task = [&](int) { ++ran; };
  pool.share(20, task);
  CHECK(ran == 20);
}

TEST(an_exception_in_any_part_surfaces_and_the_pool_goes_on) {
  ThreadPool pool(4);
  for (int failing = 0; failing < 4; ++failing) {
    std::atomic<int> ran{0};
    auto task = [&](int part) {
      ++ran;
      if (part == failing) throw std::runtime_error("part " + std::to_string(part));
    };
    bool caught = false;
    try {
      pool.run(4, task);
    } catch (const std::runtime_error& e) {
      caught = std::string(e.what()) == "part " + std::to_string(failing);
    }
    CHECK(caught);
    CHECK(ran == 4);
  }
  auto all_fail = [](int) { throw std::logic_error("all"); };
  CHECK_THROWS(pool.run(4, all_fail), std::logic_error);
  std::atomic<int> ran{0};
  auto task = [&](int) { ++ran; };
  pool.run(4, task);
  CHECK(ran == 4);
}

TEST(stop_and_run_again) {
  ThreadPool pool(3);
  std::atomic<int> ran{0};
  auto task = [&](int) { ++ran; };
  pool.run(3, task);
  pool.stop();
  pool.stop();
  pool.run(3, task);
  CHECK(ran == 6);
}

#if defined(__linux__)
namespace {
int thread_count() {
  int count = 0;
  DIR* directory = opendir("/proc/self/task");
  while (readdir(directory) != nullptr) ++count;
  closedir(directory);
  return count - 2;  // . and ..
}
}  // namespace

TEST(threads_start_with_the_first_run_that_needs_them) {
  const int before = thread_count();
  ThreadPool pool(4);
  auto task = [](int) {};
  CHECK(thread_count() == before);
  pool.run(1, task);
  CHECK(thread_count() == before);
  pool.run(2, task);
  CHECK(thread_count() == before + 3);
  pool.stop();
  CHECK(thread_count() == before);
}

#if !defined(__SANITIZE_THREAD__)  // TSan does not support threads after a fork of a threaded process
TEST(works_in_a_forked_child) {
  ThreadPool pool(4);
  std::atomic<int> ran{0};
  auto task = [&](int) { ++ran; };
  pool.run(4, task);
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);  // a hang kills the child
    pool.run(4, task);
    pool.stop();
    _exit(ran == 8 ? 0 : 1);
  }
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  pool.run(4, task);
  CHECK(ran == 8);
}
#endif
#endif

TEST(available_cpus_is_positive) { CHECK(metarl::available_cpus() >= 1); }

METARL_TEST_MAIN()
