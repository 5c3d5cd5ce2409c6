#include "metarl/replay_buffer.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <random>
#include <stdexcept>
#include <string>

#include "core/number_text.h"
#include "core/poll.h"
#include "metarl/errors.h"

namespace metarl {
namespace {

void check_index(std::int64_t index, std::int64_t position, std::int64_t size) {
  if (index >= 0 && index < size) return;
  throw std::out_of_range("index " + std::to_string(index) + " at position " + std::to_string(position) +
                          " out of range for size " + std::to_string(size));
}

}  // namespace

// Unique among processes too: a batch may come back from another one.
std::uint64_t ReplayBuffer::next_epoch() {
  static const std::uint64_t base = [] {
    std::random_device device;
    return std::uint64_t{device()} << 32 | device();
  }();
  static std::atomic<std::uint64_t> count{0};
  return base + ++count;
}

struct ReplayBuffer::StreamListener : Streams::Listener {
  explicit StreamListener(ReplayBuffer* owner) : buffer(owner) {}
  void prepare(std::int64_t n) override {
    buffer->prepare_slots(n);
    if (buffer->tasks_ != nullptr) buffer->new_tasks_.reserve(static_cast<std::size_t>(n));
  }
  void apply(const Streams::Changes& changes) override {
    buffer->on_slots(changes);
    if (buffer->tasks_ == nullptr) return;
    buffer->tasks_->remove(changes.hidden.data(), static_cast<std::int64_t>(changes.hidden.size()));
    buffer->track_stored(changes.valid.data(), static_cast<std::int64_t>(changes.valid.size()));
  }
  ReplayBuffer* buffer;
};

ReplayBuffer::ReplayBuffer(ReplayOptions options, bool own_valid)
    : options_(std::move(options)),
      capacity_(options_.capacity >= 1 ? options_.capacity
                                       : throw std::invalid_argument(
                                             "capacity is " + std::to_string(options_.capacity) + "; must be >= 1")),
      seed_(options_.seed),
      store_(capacity_, Streams::stored_fields(options_, &column_of_),
             options_.mapped ? TransitionStore::Place::files : TransitionStore::Place::memory) {
  if (options_.mapped && options_.reservoir) {
    throw std::invalid_argument("a reservoir overwrites random slots; its columns must be in memory");
  }
  mutex_.set_closed(options_.mapped);
  mark_.epoch = next_epoch();
  store_.set_num_threads(options_.num_threads);
  if (Streams::needed(options_)) streams_ = std::make_unique<Streams>(options_, column_of_, &store_);
  if (own_valid) valid_ = std::make_unique<SlotSet>(capacity_);
  if (options_.tasks.field >= 0) tasks_ = std::make_unique<TaskIndex>(capacity_, !own_valid);
  if (options_.reservoir) written_at_ = AlignedMemory(static_cast<std::size_t>(capacity_) * sizeof(std::uint64_t));
}

std::size_t ReplayBuffer::bytes_per_transition() const {
  return store_.bytes_per_slot() + (tasks_ != nullptr ? tasks_->bytes_per_slot() : 0) +
         (options_.reservoir ? sizeof(std::uint64_t) : 0);
}

std::int64_t ReplayBuffer::slots_used_unlocked() const {
  return mark_.written < static_cast<std::uint64_t>(capacity_) ? static_cast<std::int64_t>(mark_.written) : capacity_;
}

std::int64_t ReplayBuffer::slots_used() const {
  const std::lock_guard lock(mutex_);
  return slots_used_unlocked();
}

std::int64_t ReplayBuffer::size() const {
  const std::lock_guard lock(mutex_);
  return valid().size();
}

void ReplayBuffer::check(const ColumnSource* columns, std::int64_t n) {
  const std::lock_guard lock(mutex_);
  if (tasks_ != nullptr) parse_tasks(columns, n, {});
  if (streams_ != nullptr) streams_->check(columns, n);
}

void ReplayBuffer::add(const ColumnSource* columns, const std::int64_t* env_ids, std::int64_t n, std::int64_t* slots,
                       const Poll& poll) {
  const std::lock_guard lock(mutex_);
  if (tasks_ != nullptr) parse_tasks(columns, n, poll);
  if (streams_ != nullptr) {
    streams_->check(columns, n, poll);
    announce(streams_->most_slots(n));
    StreamListener listener(this);
    streams_->add(columns, env_ids, n, &mark_.written, slots, &listener, poll);
    trim_announcement();
  } else if (options_.reservoir) {
    add_to_reservoir(columns, n, slots, poll);
  } else {
    add_to_ring(columns, n, slots, poll);
  }
}

void ReplayBuffer::add_to_ring(const ColumnSource* columns, std::int64_t n, std::int64_t* slots, const Poll& poll) {
  const auto capacity = static_cast<std::uint64_t>(capacity_);
  // A division takes longer than all else here for one row.
  const std::uint64_t position = mark_.written < capacity ? mark_.written : mark_.written % capacity;
  const auto first = static_cast<std::int64_t>(position);
  std::int64_t slot = first;
  std::int64_t dropped = 0;
  if (n > capacity_) {
    // Only the last ones stay. If the call may end early, the rest must be what follows in the ring: whole rounds.
    dropped = poll ? (n / capacity_ - 1) * capacity_ : n - capacity_;
    slot = (first + dropped) % capacity_;
  }
  const std::int64_t most = poll ? rows_of_portion(store_.bytes_per_slot()) : n;
  std::int64_t done = dropped;
  // What can fail comes first: nothing is written then.
  announce(n);
  std::vector<ColumnSource> shifted(n - done > std::min(capacity_ - slot, most) || done > 0 ? store_.fields().size()
                                                                                            : 0);
  while (done < n) {
    if (poll) poll();
    const std::int64_t count = std::min({n - done, capacity_ - slot, most});
    const ColumnSource* from = columns;
    if (done > 0) {
      std::copy_n(columns, shifted.size(), shifted.data());
      for (ColumnSource& column : shifted) column.data += done * column.stride;
      from = shifted.data();
    }
    on_write(slot, slot + count);
    store_.write(slot, from, count);
    mark_.written += static_cast<std::uint64_t>(count);
    for (std::int64_t i = 0; i < count; ++i) slots[done + i] = slot + i;
    if (tasks_ != nullptr && poll) track(slots + done, new_tasks_.data() + done, count);
    done += count;
    slot = slot + count == capacity_ ? 0 : slot + count;
  }
  mark_.written += static_cast<std::uint64_t>(dropped);
  slot = first;
  for (std::int64_t i = 0; i < dropped; ++i) {
    slots[i] = slot;
    if (++slot == capacity_) slot = 0;
  }
  if (tasks_ != nullptr && !poll) track(slots + dropped, new_tasks_.data() + dropped, n - dropped);
}

void ReplayBuffer::clear() {
  const std::lock_guard lock(mutex_);
  if (storage_ != nullptr) storage_->all_next = !storage_->all_announced;
  mark_ = {next_epoch(), 0};
  if (streams_ != nullptr) streams_->clear();
  on_clear();
  if (tasks_ != nullptr) {
    tasks_->clear();
    seen_rescales_ = rescales();
  }
}

WriteMark ReplayBuffer::sample(const SampleRequest& request, const SampleOutput& out,
                               const std::function<void()>& poll) {
  const std::lock_guard lock(mutex_);
  if (valid().size() == 0) throw BufferEmptyError("cannot sample from an empty buffer");
  if (!poll) {
    draw(request, out, poll);
    gather(0, request.n, out);
    return mark_;
  }
  const std::uint64_t before = num_draws();
  try {
    const auto n = static_cast<std::size_t>(request.n);
    touch(out.indices, n * sizeof *out.indices, poll);
    touch(out.probabilities, n * sizeof *out.probabilities, poll);
    touch(out.weights, n * sizeof *out.weights, poll);
    draw(request, out, poll);
    std::size_t item_bytes = 1;  // a small element costs as much as a line
    for (std::size_t f = 0; f < fields().size(); ++f) {
      const std::size_t steps = sampled_bytes(f) / std::max(fields()[f].bytes, std::size_t{1});
      item_bytes += std::max(sampled_bytes(f), steps * 64);
    }
    const auto chunk = static_cast<std::int64_t>(std::max(kPollBytes / item_bytes, std::size_t{1}));
    for (std::int64_t first = 0; first < request.n; first += chunk) {
      poll();
      gather(first, std::min(chunk, request.n - first), out);
    }
  } catch (...) {
    set_num_draws(before);
    throw;
  }
  return mark_;
}

std::size_t ReplayBuffer::sampled_bytes(std::size_t f) const {
  const auto length = static_cast<std::size_t>(options_.streams.sequence_length);
  return fields()[f].bytes * (length > 0 && !fields()[f].recurrent ? length : 1);
}

// Of the draws [first, first + n).
void ReplayBuffer::gather(std::int64_t first, std::int64_t n, const SampleOutput& out) const {
  const std::int64_t* slots = out.indices + first;
  std::vector<std::byte*> shifted;
  std::byte* const* columns = out.columns;
  if (first > 0) {
    for (std::size_t f = 0; f < fields().size(); ++f) {
      shifted.push_back(columns[f] + static_cast<std::size_t>(first) * sampled_bytes(f));
    }
    columns = shifted.data();
  }
  if (streams_ == nullptr) return store_.gather(slots, n, columns);
  streams_->gather(slots, n, columns, out.discounts == nullptr ? nullptr : out.discounts + first,
                   out.mask == nullptr ? nullptr : out.mask + first * options_.streams.sequence_length);
}

// The slots written since the mark are those that follow its write position.
bool ReplayBuffer::is_stale(std::int64_t slot, const WriteMark& mark) const {
  if (mark.epoch != mark_.epoch || mark.written > mark_.written) return true;
  if (options_.reservoir) return written_at_.as<std::uint64_t>()[slot] >= mark.written;
  const std::uint64_t capacity = static_cast<std::uint64_t>(capacity_);
  const std::uint64_t ahead = (static_cast<std::uint64_t>(slot) + capacity - mark.written % capacity) % capacity;
  return ahead < mark_.written - mark.written;
}

void ReplayBuffer::check_slots(const std::int64_t* slots, std::int64_t n, const WriteMark* mark,
                               const Poll& poll) const {
  // A batch from before clear() or a load may name slots that are not filled again; all of it is stale.
  const bool outdated = mark != nullptr && (mark->epoch != mark_.epoch || mark->written > mark_.written);
  const std::int64_t limit = outdated ? capacity_ : slots_used_unlocked();
  in_parts(n, poll, [&](std::int64_t begin, std::int64_t end) {
    std::int64_t outside = 0;  // negative if a slot or its distance from the end is
    for (std::int64_t i = begin; i < end; ++i) {
      const auto slot = static_cast<std::uint64_t>(slots[i]);
      outside |= static_cast<std::int64_t>(slot | (static_cast<std::uint64_t>(limit) - 1 - slot));
    }
    if (outside >= 0) return;
    for (std::int64_t i = begin; i < end; ++i) check_index(slots[i], i, limit);
  });
}

void ReplayBuffer::check_finite(const float* td_errors, std::int64_t n, const Poll& poll) {
  in_parts(n, poll, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      if (std::isfinite(td_errors[i])) continue;
      throw std::invalid_argument("td_errors[" + std::to_string(i) + "] is " + text_of_infinite(td_errors[i]) +
                                  "; must be finite");
    }
  });
}

void ReplayBuffer::refuse_stale(std::int64_t slot, std::int64_t position) {
  throw StaleIndexError("index " + std::to_string(slot) + " at position " + std::to_string(position) +
                        " is not in the buffer any more (overwritten, cleared or hidden)");
}

void ReplayBuffer::update_priorities(const std::int64_t* indices, const float* td_errors, std::int64_t n,
                                     const WriteMark* mark, bool strict, const Poll& poll) {
  const std::lock_guard lock(mutex_);
  check_slots(indices, n, mark, poll);
  check_finite(td_errors, n, poll);
  if (mark == nullptr || !strict || is_current(*mark)) return;
  in_parts(n, poll, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      if (is_stale(indices[i], *mark)) refuse_stale(indices[i], i);
    }
  });
}

std::uint64_t ReplayBuffer::draws() const {
  const std::lock_guard lock(mutex_);
  return num_draws();
}

void ReplayBuffer::on_write(std::int64_t begin, std::int64_t end) { valid_->insert_range(begin, end); }

void ReplayBuffer::prepare_slots(std::int64_t) {}

void ReplayBuffer::on_slots(const Streams::Changes& changes) {
  for (const std::int64_t slot : changes.hidden) valid_->erase(slot);
  for (const std::int64_t slot : changes.valid) valid_->insert(slot);
}

void ReplayBuffer::on_clear() { valid_->clear(); }

void ReplayBuffer::hide(const std::int64_t* slots, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) valid_->erase(slots[i]);
}

}  // namespace metarl
