#include <algorithm>
#include <bit>
#include <cmath>

#include "core/poll.h"
#include "core/tree_kernels.h"
#include "metarl/detail/pow.h"
#include "metarl/detail/prefetch.h"
#include "metarl/errors.h"
#include "metarl/replay_buffer.h"

namespace metarl {
namespace {

constexpr std::int64_t kFetchedAhead = 128;

constexpr double kSmallest = std::numeric_limits<double>::denorm_min();

}  // namespace

PrioritizedReplayBuffer::PrioritizedReplayBuffer(ReplayOptions options, const PrioritizedOptions& prioritized)
    : ReplayBuffer(std::move(options), false),
      prioritized_(prioritized),
      tree_(capacity_, seed_),
      raw_(static_cast<std::size_t>(capacity_) * sizeof(float)) {
  if (!std::isfinite(scaled_priority(prioritized_.eps))) {
    throw std::invalid_argument("eps to the power of alpha = " + std::to_string(prioritized_.alpha) + " overflows");
  }
  const bool limited = prioritized_.max_priority < std::numeric_limits<float>::max();
  if (limited && !std::isfinite(scaled_priority(prioritized_.max_priority))) {
    throw std::invalid_argument("max_priority to the power of alpha = " + std::to_string(prioritized_.alpha) +
                                " overflows");
  }
  const float least = std::max(prioritized_.eps, std::numeric_limits<float>::denorm_min());
  underflows_ = pow_positive(static_cast<double>(least), prioritized_.alpha) == 0.0;
  set_running_max(std::max(prioritized_.eps, std::min(1.0f, prioritized_.max_priority)));
}

std::size_t PrioritizedReplayBuffer::bytes_per_transition() const {
  // A raw priority, a leaf, and for a bit, 128 bytes of a node for 256 leaves (a sixteenth of that again above) and 16
  // bytes for 1024 leaves less than a byte.
  return ReplayBuffer::bytes_per_transition() + sizeof(float) + sizeof(std::uint32_t) + 1;
}

double PrioritizedReplayBuffer::scaled_priority(float raw) const {
  const double scaled = pow_positive(static_cast<double>(raw), prioritized_.alpha);
  return raw > 0.0f ? std::max(scaled, kSmallest) : scaled;
}

void PrioritizedReplayBuffer::set_running_max(float priority) {
  running_max_ = priority;
  running_max_scaled_ = scaled_priority(priority);
}

void PrioritizedReplayBuffer::on_write(std::int64_t begin, std::int64_t end) {
  tree_.fill(begin, end, running_max_scaled_);
  std::fill(raw_.as<float>() + begin, raw_.as<float>() + end, running_max_);
}

void PrioritizedReplayBuffer::prepare_slots(std::int64_t n) { tree_.prepare(n, running_max_scaled_); }

void PrioritizedReplayBuffer::on_slots(const Streams::Changes& changes) {
  tree_.invalidate(changes.hidden.data(), static_cast<std::int64_t>(changes.hidden.size()));
  tree_.fill_at(changes.valid.data(), static_cast<std::int64_t>(changes.valid.size()), running_max_scaled_);
  for (const std::int64_t slot : changes.valid) raw_.as<float>()[slot] = running_max_;
}

void PrioritizedReplayBuffer::hide(const std::int64_t* slots, std::int64_t n) { tree_.invalidate(slots, n); }

void PrioritizedReplayBuffer::on_clear() {
  tree_.clear();
  set_running_max(std::max(prioritized_.eps, std::min(1.0f, prioritized_.max_priority)));
}

void PrioritizedReplayBuffer::update_priorities(const std::int64_t* indices, const float* td_errors, std::int64_t n,
                                                const WriteMark* mark, bool strict, const Poll& poll) {
  const std::lock_guard lock(mutex_);
  check_slots(indices, n, mark, poll);
  // The lines that are written at the end come while the powers are computed.
  const std::int64_t ahead = std::min(n, kFetchedAhead);
  for (std::int64_t i = 0; i < ahead; ++i) {
    tree_.prefetch(indices[i]);
    prefetch_to_write(raw_.as<float>() + indices[i]);
  }
  grow(&new_raw_, static_cast<std::size_t>(n), poll);
  grow(&new_scaled_, static_cast<std::size_t>(n), poll);
  float* raw = new_raw_.data();
  double* scaled = new_scaled_.data();
  double top = 0.0;
  in_parts(n, poll, [&](std::int64_t begin, std::int64_t end) {
    const double bound = METARL_SELECT_KERNEL(prepare_priorities)(td_errors + begin, end - begin, prioritized_.eps,
                                                                  prioritized_.max_priority, prioritized_.alpha,
                                                                  raw + begin, scaled + begin);
    if (bound < 0.0) check_finite(td_errors, n);
    top = std::max(top, bound);
  });
  if (n > 0 && !std::isfinite(top)) {
    throw std::invalid_argument("td_errors: the largest one to the power of alpha overflows; set max_priority");
  }
  if (underflows_) {  // a positive priority stays reachable
    in_parts(n, poll, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        if (raw[i] > 0.0f) scaled[i] = std::max(scaled[i], kSmallest);
        top = std::max(top, scaled[i]);
      }
    });
  }
  std::uint64_t stale = 0;
  const bool outdated = mark != nullptr && !is_current(*mark);
  const bool some_hidden = tree_.num_valid() < slots_used_unlocked();
  if (outdated || some_hidden) {
    kept_indices_.clear();
    if (poll) kept_indices_.reserve(static_cast<std::size_t>(n));
    top = 0.0;
    in_parts(n, poll, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        if ((outdated && is_stale(indices[i], *mark)) || !tree_.valid().contains(indices[i])) {
          if (strict) refuse_stale(indices[i], i);
          ++stale;
          continue;
        }
        const std::size_t k = kept_indices_.size();
        raw[k] = raw[i];
        scaled[k] = scaled[i];
        top = std::max(top, scaled[i]);
        kept_indices_.push_back(indices[i]);
      }
    });
    indices = kept_indices_.data();
    n = static_cast<std::int64_t>(kept_indices_.size());
  }
  in_parts(n, poll, [&](std::int64_t begin, std::int64_t end) {
    write_priorities(indices + begin, raw + begin, scaled + begin, end - begin, top,
                     begin == 0 ? std::min(ahead, end) : 0);
  });
  stale_updates_ += stale;
}

void PrioritizedReplayBuffer::write_priorities(const std::int64_t* indices, const float* raw, const double* scaled,
                                               std::int64_t n, double top, std::int64_t fetched) {
  tree_.update(indices, scaled, n, top, fetched);  // may fail, having done nothing
  if (tasks_ != nullptr) {
    if (tree_.rescales() == seen_rescales_) tasks_->update(indices, n, tree_.leaves());
    follow_scale();
  }
  std::uint32_t largest = 0;  // numbers >= 0 are ordered as their bits, whose maximum takes a quarter of the time
  for (std::int64_t i = 0; i < n; ++i) {
    if (i + kFetchedAhead < n) prefetch_to_write(raw_.as<float>() + indices[i + kFetchedAhead]);
    raw_.as<float>()[indices[i]] = raw[i];
    largest = std::max(largest, std::bit_cast<std::uint32_t>(raw[i]));
  }
  if (std::bit_cast<float>(largest) > running_max_) set_running_max(std::bit_cast<float>(largest));
}

std::uint64_t PrioritizedReplayBuffer::stale_updates() const {
  const std::lock_guard lock(mutex_);
  return stale_updates_;
}

float PrioritizedReplayBuffer::running_max() const {
  const std::lock_guard lock(mutex_);
  return running_max_;
}

void PrioritizedReplayBuffer::read_priorities(const std::int64_t* indices, std::int64_t n, double* out,
                                              const Poll& poll) const {
  const std::lock_guard lock(mutex_);
  if (indices != nullptr) {
    check_slots(indices, n, nullptr, poll);
  } else if (n > 0) {
    const std::int64_t last = n - 1;
    check_slots(&last, 1, nullptr);
  }
  in_parts(n, poll, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      out[i] = static_cast<double>(raw_.as<float>()[indices != nullptr ? indices[i] : i]);
    }
  });
}

}  // namespace metarl
