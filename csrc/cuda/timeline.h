// The order of an object's calls across streams: each call waits for the one before it, wherever that ran.
#pragma once

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "cuda/device.h"

namespace metarl::cuda {

// Not synchronised: the caller holds Python's lock.
class Timeline {
 public:
  explicit Timeline(std::shared_ptr<Device> device) : device_(std::move(device)), event_(device_->make_event()) {}
  ~Timeline() {
    if (!kept_.empty()) device_->finish(event_);
    device_->release_event(event_);
  }
  Timeline(const Timeline&) = delete;
  Timeline& operator=(const Timeline&) = delete;

  Device& device() const { return *device_; }
  Stream last_stream() const { return last_; }

  // `stream` goes on after all calls so far. A stream that records a graph is left alone: who replays the graph orders
  // the replays.
  void follow(Stream stream) {
    if (stream == last_ && kept_.empty()) return;
    if (device_->is_capturing(stream)) return;
    if (stream != last_) device_->wait(event_, stream);
    if (!kept_.empty() && device_->is_done(event_)) kept_.clear();
  }
  // To be called after the work of a call was handed to its stream.
  void end_call(Stream stream) {
    if (device_->is_capturing(stream)) return;
    device_->record(event_, stream);
    last_ = stream;
  }
  // Holds what the last call uses until the device is done with it.
  void keep(std::shared_ptr<void> memory) {
    if (kept_.size() >= kMostKept) {
      device_->finish(event_);
      kept_.clear();
    }
    kept_.push_back(std::move(memory));
  }

 private:
  static constexpr std::size_t kMostKept = 256;

  std::shared_ptr<Device> device_;
  void* event_;
  Stream last_ = kLegacyStream;
  std::vector<std::shared_ptr<void>> kept_;
};

}  // namespace metarl::cuda
