// The order of an object's calls across streams: each call waits for the one before it, wherever that ran.
#pragma once

#include <exception>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "cuda/device.h"

namespace metarl::cuda {

// To be used from several threads: who waits for the device does not hold Python's lock.
class Timeline {
 public:
  explicit Timeline(std::shared_ptr<Device> device) : device_(std::move(device)), event_(device_->make_event()) {}
  ~Timeline() {
    if (!kept_.empty()) {
      try {
        device_->finish(event_);
      } catch (const std::exception&) {
        // After such an error nothing runs any more that could use the memory.
      }
    }
    device_->release_event(event_);
  }
  Timeline(const Timeline&) = delete;
  Timeline& operator=(const Timeline&) = delete;

  Device& device() const { return *device_; }
  Stream last_stream() const {
    const std::lock_guard lock(mutex_);
    return last_;
  }

  // `stream` goes on after all calls so far. A stream that records a graph is left alone: who replays the graph orders
  // the replays.
  void follow(Stream stream) {
    Kept done;
    const std::lock_guard lock(mutex_);
    if (stream == last_ && kept_.empty()) return;
    if (device_->is_capturing(stream)) return;
    if (stream != last_) device_->wait(event_, stream);
    if (!kept_.empty() && device_->is_done(event_)) done.swap(kept_);
  }
  // To be called after the work of a call was handed to its stream.
  void end_call(Stream stream) {
    if (device_->is_capturing(stream)) return;
    const std::lock_guard lock(mutex_);
    device_->record(event_, stream);
    last_ = stream;
  }
  // Holds what the last call uses until the device is done with it.
  void keep(std::shared_ptr<void> memory) {
    Kept done;
    const std::lock_guard lock(mutex_);
    if (kept_.size() >= kMostKept) {
      device_->finish(event_);
      done.swap(kept_);
    }
    kept_.push_back(std::move(memory));
  }

 private:
  // Dropped after the mutex is given back: owners may be Python's objects, and wait for its lock.
  using Kept = std::vector<std::shared_ptr<void>>;
  static constexpr std::size_t kMostKept = 256;

  std::shared_ptr<Device> device_;
  void* event_;
  mutable std::mutex mutex_;
  Stream last_ = kLegacyStream;
  Kept kept_;
};

}  // namespace metarl::cuda
