#include "bindings/interruptible.h"

#include <pybind11/pybind11.h>

#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>

namespace py = pybind11;

namespace metarl {

void run_interruptible(std::atomic<bool>& cancel, const std::function<void()>& f) {
  constexpr auto kPeriod = std::chrono::milliseconds(50);
  cancel = false;
  std::exception_ptr failure;
  bool interrupted = false;
  {
    const py::gil_scoped_release release;
    std::mutex mutex;
    std::condition_variable ended;
    bool done = false;
    const auto work = [&] {
      try {
        f();
      } catch (...) {
        failure = std::current_exception();
      }
      const std::lock_guard lock(mutex);
      done = true;
      ended.notify_one();
    };
    std::thread worker;
    try {
      worker = std::thread(work);
    } catch (const std::system_error&) {
      work();  // no thread can be had: without interruption, then
    }
    for (;;) {
      {
        std::unique_lock lock(mutex);
        if (ended.wait_for(lock, kPeriod, [&] { return done; })) break;
      }
      if (interrupted) continue;
      const py::gil_scoped_acquire acquire;
      interrupted = PyErr_CheckSignals() != 0;
      if (interrupted) cancel = true;
    }
    if (worker.joinable()) worker.join();
  }
  if (interrupted) throw py::error_already_set();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace metarl
