#include "metarl/streams.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "core/poll.h"
#include "core/stream_links.h"

namespace metarl {
namespace {

// Changes of validity are handed over after at most this many slots.
constexpr std::int64_t kLargestWindow = 4096;
constexpr std::int64_t kLargestSequenceWindow = 256;
constexpr std::int64_t kMostRowsBetweenPolls = 1 << 15;

[[noreturn]] void refuse(const std::string& message) { throw std::invalid_argument(message); }

const std::byte* row_of(const ColumnSource& column, std::int64_t row) { return column.data + row * column.stride; }

bool is_set(const ColumnSource& column, std::int64_t row) { return *row_of(column, row) != std::byte{0}; }

std::int64_t rows_between_polls(std::size_t row_bytes) {
  return std::clamp(static_cast<std::int64_t>(kPollBytes / std::max(row_bytes, std::size_t{1})), std::int64_t{1},
                    kMostRowsBetweenPolls);
}

}  // namespace

bool Streams::needed(const ReplayOptions& options) {
  const StreamOptions& streams = options.streams;
  return streams.n_step > 1 || streams.share_next || streams.skip_reset_rows || streams.sequence_length > 0;
}

std::vector<FieldSpec> Streams::stored_fields(const ReplayOptions& options, std::vector<int>* column_of) {
  std::vector<FieldSpec> stored;
  column_of->assign(options.fields.size(), -1);
  bool stacked = false;
  for (std::size_t f = 0; f < options.fields.size(); ++f) {
    const FieldSpec& field = options.fields[f];
    if (options.streams.share_next && field.next_of >= 0) continue;
    (*column_of)[f] = static_cast<int>(stored.size());
    stored.push_back(field);
    stored.back().bytes /= static_cast<std::size_t>(field.stack);
    if (field.stack > 1 && !stored.back().shape.empty()) {
      stored.back().shape[0] /= static_cast<std::uint64_t>(field.stack);
    }
    stacked |= field.stack > 1;
  }
  if (!needed(options)) return stored;
  stored.push_back({"_next", sizeof(std::uint32_t), alignof(std::uint32_t)});
  stored.back().dtype = "<u4";
  if (stacked) stored.push_back({"_previous", sizeof(std::uint32_t), alignof(std::uint32_t)});
  stored.back().dtype = "<u4";
  return stored;
}

Streams::Streams(const ReplayOptions& options, std::vector<int> column_of, TransitionStore* store)
    : options_(options.streams),
      capacity_(options.capacity),
      fields_(options.fields),
      column_of_(std::move(column_of)),
      pair_of_(options.fields.size(), -1),
      store_(store) {
  for (std::size_t f = 0; f < fields_.size(); ++f) {
    if (fields_[f].next_of < 0) continue;
    const auto source = static_cast<std::size_t>(fields_[f].next_of);
    const FieldSpec& field = fields_[source];
    const std::size_t frame = field.bytes / static_cast<std::size_t>(field.stack);
    pair_of_[f] = pair_of_[source] = static_cast<int>(pairs_.size());
    pairs_.push_back({static_cast<int>(source), static_cast<int>(f), field.bytes, frame, field.stack, pending_bytes_});
    pending_bytes_ += options_.share_next ? field.bytes : 0;
    stack_ = std::max(stack_, field.stack);
  }
  const auto num_stored = static_cast<int>(store_->fields().size());
  next_column_ = num_stored - (stack_ > 1 ? 2 : 1);
  previous_column_ = stack_ > 1 ? num_stored - 1 : -1;
  const std::int64_t least = 2 * (stack_ + 2);
  if (capacity_ < least || capacity_ > kMaxCapacity) {
    refuse("capacity is " + std::to_string(capacity_) + "; with these options it must be in [" + std::to_string(least) +
           ", " + std::to_string(kMaxCapacity) + "]");
  }
  // With fewer slots, environments that take turns overwrite each other's transitions before the next ones come.
  const std::int64_t each = stack_ + (options_.share_next ? 1 : 0);  // the frames of a transition and the next one
  if (options_.num_envs < 1 || options_.num_envs > capacity_ / each) {
    refuse("num_envs is " + std::to_string(options_.num_envs) + "; must be in [1, " + std::to_string(capacity_ / each) +
           "], so that the capacity, " + std::to_string(capacity_) + ", has room for a transition of each (" +
           std::to_string(each) + (each == 1 ? " slot)" : " slots)"));
  }
  check_allocation(static_cast<std::uint64_t>(options_.num_envs), pending_bytes_ + sizeof(Stream));
  pending_ = AlignedMemory(static_cast<std::size_t>(options_.num_envs) * pending_bytes_);
  streams_.resize(static_cast<std::size_t>(options_.num_envs));
}

// Links are packed, and rows are aligned to four bytes.
std::uint32_t& Streams::next_link(std::int64_t slot) const {
  return *reinterpret_cast<std::uint32_t*>(store_->at(static_cast<std::size_t>(next_column_), slot));
}

std::uint32_t& Streams::previous_link(std::int64_t slot) const {
  return *reinterpret_cast<std::uint32_t*>(store_->at(static_cast<std::size_t>(previous_column_), slot));
}

std::byte* Streams::pending(std::int64_t env, const Pair& pair) const {
  return pending_.data() + static_cast<std::size_t>(env) * pending_bytes_ + pair.pending;
}

void Streams::check(const ColumnSource* columns, std::int64_t n, const Poll& poll) const {
  for (const Pair& pair : pairs_) {
    if (pair.stack == 1) continue;
    const std::int64_t between = poll ? rows_between_polls(2 * pair.bytes) : n;
    for (std::int64_t i = 0; i < n; ++i) {
      if (poll && i % between == 0) poll();
      const std::byte* now = row_of(columns[pair.field], i);
      const std::byte* next = row_of(columns[pair.next_field], i);
      if (std::memcmp(next, now + pair.frame, pair.bytes - pair.frame) == 0) continue;
      refuse("'" + fields_[static_cast<std::size_t>(pair.next_field)].name + "' of row " + std::to_string(i) +
             " is not '" + fields_[static_cast<std::size_t>(pair.field)].name +
             "' moved on by one frame; frame_stack stores each frame once and needs that");
    }
  }
}

// One call of add: where rows come from, and what it has changed so far.
struct Streams::Window {
  std::uint64_t* written;
  Listener* listener;
  std::int64_t limit;                 // slots between two applications
  std::uint64_t begun;                // *written at the last application
  std::vector<ColumnSource> sources;  // of the stored columns; links: none
  std::vector<ColumnSource> shifted;
  Changes changes;
  // Rows not copied yet: count rows from `row` on go to the slots from `slot` on.
  std::int64_t row = 0, slot = 0, count = 0;

  std::int64_t used() const { return static_cast<std::int64_t>(*written - begun); }
  void copy_rows(TransitionStore* store) {
    if (count == 0) return;
    for (std::size_t c = 0; c < sources.size(); ++c) {
      shifted[c] = sources[c];
      if (shifted[c].data != nullptr) shifted[c].data += row * shifted[c].stride;
    }
    store->write(slot, shifted.data(), count);
    count = 0;
  }
  // The listener may read the rows of slots that become valid.
  void apply(TransitionStore* store) {
    copy_rows(store);
    listener->apply(changes);
    changes.hidden.clear();
    changes.valid.clear();
    begun = *written;
  }
};

// Whether a row begins with what the newest transition of its stream ended with.
bool Streams::continues(std::int64_t env, const ColumnSource* columns, std::int64_t row, const Window& window) const {
  const std::int64_t last = streams_[static_cast<std::size_t>(env)].last;
  const bool copied = last < window.slot || last >= window.slot + window.count;
  for (const Pair& pair : pairs_) {
    const std::byte* now = row_of(columns[pair.field], row);
    const std::byte* announced = nullptr;
    if (options_.share_next) {
      announced = pending(env, pair);
    } else if (copied) {
      announced = store_->at(static_cast<std::size_t>(column_of_[static_cast<std::size_t>(pair.next_field)]), last);
    } else {
      announced = row_of(columns[pair.next_field], window.row + (last - window.slot));
    }
    if (std::memcmp(announced, now, pair.bytes) != 0) return false;
  }
  return true;
}

// The transitions after an overwritten slot whose stacks hold its frame, and streams whose newest transition it is.
void Streams::hide_dependents(std::int64_t slot, Window& window) {
  std::int64_t at = slot;
  for (int step = 0;; ++step) {
    const std::uint32_t link = next_link(at);
    if (links::kind(link) == links::kNewest && step + 1 < std::max(stack_, 2)) {
      // What follows in the stream would need the slot too, or cannot be linked to it.
      Stream& stream = streams_[static_cast<std::size_t>(links::value(link))];
      if (stream.last == at) {
        stream.last = -1;
        stream.candidates.clear();  // its next row begins a chain
      }
    }
    if (step + 1 >= stack_ || links::kind(link) == links::kNewest || links::kind(link) == links::kEnd) return;
    at = links::value(link);
    const auto since = static_cast<std::uint64_t>(
        (at - static_cast<std::int64_t>(window.begun % static_cast<std::uint64_t>(capacity_)) + capacity_) % capacity_);
    const bool fresh = since < *window.written - window.begun || options_.sequence_length > 0;
    if (fresh && !window.changes.valid.empty()) window.apply(store_);
    window.changes.hidden.push_back(at);
  }
}

std::int64_t Streams::allocate(Window& window) {
  const auto slot = static_cast<std::int64_t>(*window.written % static_cast<std::uint64_t>(capacity_));
  if (*window.written >= static_cast<std::uint64_t>(capacity_)) {
    hide_dependents(slot, window);
    // A sequence that this call has completed may begin here already to be overwritten.
    const std::vector<std::int64_t>& valid = window.changes.valid;
    if (options_.sequence_length > 0 && std::find(valid.begin(), valid.end(), slot) != valid.end())
      window.apply(store_);
  }
  ++*window.written;
  return slot;
}

void Streams::write_frame(std::int64_t slot, const Pair& pair, const std::byte* frame) {
  std::memcpy(store_->at(static_cast<std::size_t>(column_of_[static_cast<std::size_t>(pair.field)]), slot), frame,
              pair.frame);
}

// Hidden slots for the frames before the first transition, as far as repeating the oldest one does not give them.
void Streams::begin_chain(std::int64_t env, const ColumnSource* columns, std::int64_t row, Window& window) {
  Stream& stream = streams_[static_cast<std::size_t>(env)];
  stream.last = -1;
  stream.position = 0;
  stream.candidates.clear();
  int history = 0;
  for (const Pair& pair : pairs_) {
    const std::byte* frames = row_of(columns[pair.field], row);
    int same = 0;  // frames 0 ... same are equal
    while (same + 1 < pair.stack &&
           std::memcmp(frames, frames + static_cast<std::size_t>(same + 1) * pair.frame, pair.frame) == 0) {
      ++same;
    }
    history = std::max(history, pair.stack - 1 - same);
  }
  for (int back = history; back >= 1; --back) {
    const std::int64_t slot = allocate(window);
    for (const Pair& pair : pairs_) {
      const auto frame = static_cast<std::size_t>(std::max(0, pair.stack - 1 - back));
      write_frame(slot, pair, row_of(columns[pair.field], row) + frame * pair.frame);
    }
    next_link(slot) = links::make(links::kNewest, env);
    previous_link(slot) = stream.last < 0 ? links::kNoPrevious : static_cast<std::uint32_t>(stream.last);
    if (stream.last >= 0) next_link(stream.last) = links::make(links::kNext, slot);
    stream.last = slot;
    window.changes.hidden.push_back(slot);
  }
}

void Streams::activate(const Candidate& candidate, Window& window) {
  if (*window.written - candidate.number <= static_cast<std::uint64_t>(capacity_)) {
    window.changes.valid.push_back(candidate.slot);
  }
}

void Streams::append(std::int64_t env, const ColumnSource* columns, std::int64_t row, std::int64_t slot,
                     Window& window) {
  Stream& stream = streams_[static_cast<std::size_t>(env)];
  if (window.count > 0 && (slot != window.slot + window.count || row != window.row + window.count)) {
    window.copy_rows(store_);
  }
  if (window.count == 0) {
    window.row = row;
    window.slot = slot;
  }
  ++window.count;
  next_link(slot) = links::make(links::kNewest, env);
  if (stack_ > 1) {
    previous_link(slot) = stream.last < 0 ? links::kNoPrevious : static_cast<std::uint32_t>(stream.last);
  }
  if (stream.last >= 0) next_link(stream.last) = links::make(links::kNext, slot);
  stream.last = slot;
  if (options_.share_next) {
    for (const Pair& pair : pairs_) {
      std::memcpy(pending(env, pair), row_of(columns[pair.next_field], row), pair.bytes);
    }
  }
  const std::int64_t position = stream.position++;
  if (options_.sequence_length == 0) {
    window.changes.valid.push_back(slot);
    return;
  }
  window.changes.hidden.push_back(slot);
  const auto overwritten = [&](const Candidate& candidate) {
    return *window.written - candidate.number > static_cast<std::uint64_t>(capacity_);
  };
  if (position % options_.stride == 0) {
    // A chain may be longer than the ring.
    while (!stream.candidates.empty() && (overwritten(stream.candidates.front()) ||
                                          static_cast<std::int64_t>(stream.candidates.size()) >= max_candidates())) {
      stream.candidates.erase(stream.candidates.begin());
    }
    std::int64_t oldest = slot;  // whose frame its stack needs
    for (int back = 1; back < stack_ && previous_link(oldest) != links::kNoPrevious; ++back) {
      oldest = static_cast<std::int64_t>(previous_link(oldest));
    }
    const std::int64_t age = (slot - oldest + capacity_) % capacity_;
    stream.candidates.push_back({slot, *window.written - 1 - static_cast<std::uint64_t>(age), position});
  }
  if (!stream.candidates.empty() && stream.candidates.front().position + options_.sequence_length - 1 <= position) {
    activate(stream.candidates.front(), window);
    stream.candidates.erase(stream.candidates.begin());
  }
}

void Streams::end_chain(std::int64_t env, Window& window) {
  Stream& stream = streams_[static_cast<std::size_t>(env)];
  for (const Candidate& candidate : stream.candidates) {
    if (stream.position - candidate.position > options_.burn_in) activate(candidate, window);
  }
  stream.candidates.clear();
  if (!options_.share_next) {
    next_link(stream.last) = links::kEnd;
  } else {
    const std::int64_t tail = allocate(window);
    for (const Pair& pair : pairs_) write_frame(tail, pair, pending(env, pair) + (pair.bytes - pair.frame));
    next_link(tail) = links::kEnd;
    if (stack_ > 1)
      previous_link(tail) = stream.last < 0 ? links::kNoPrevious : static_cast<std::uint32_t>(stream.last);
    window.changes.hidden.push_back(tail);
    if (stream.last >= 0) next_link(stream.last) = links::make(links::kTail, tail);  // allocate may have taken it
  }
  stream.last = -1;
}

// Makes room for the candidates among n rows; returns how many may become valid at once.
std::int64_t Streams::reserve_candidates(const std::int64_t* env_ids, std::int64_t n) {
  if (options_.sequence_length == 0) return 0;
  const std::int64_t most = max_candidates();
  std::int64_t waiting = n;
  for (std::int64_t i = 0; i < n; ++i) {
    std::vector<Candidate>& candidates = streams_[static_cast<std::size_t>(stream_of(env_ids, i))].candidates;
    const auto now = static_cast<std::int64_t>(candidates.size());
    const auto room = static_cast<std::int64_t>(candidates.capacity());
    waiting += now;
    const std::int64_t wanted = std::min(most, now + n / options_.stride + 1);
    if (room < wanted) candidates.reserve(static_cast<std::size_t>(std::min(most, std::max(2 * room, wanted))));
  }
  return std::min(waiting, options_.num_envs * most);
}

void Streams::add(const ColumnSource* columns, const std::int64_t* env_ids, std::int64_t n, std::uint64_t* written,
                  std::int64_t* slots, Listener* listener, const Poll& poll) {
  if (n == 0) return;
  // All that can fail comes first.
  Window window;
  window.written = written;
  window.listener = listener;
  const std::int64_t most = stack_ + 2;  // slots for one row
  window.limit = std::min(capacity_ - most, options_.sequence_length > 0 ? kLargestSequenceWindow : kLargestWindow);
  window.begun = *written;
  const std::size_t num_stored = store_->fields().size();
  window.sources.assign(num_stored, {nullptr, 0});
  window.shifted.resize(num_stored);
  for (std::size_t f = 0; f < fields_.size(); ++f) {
    if (column_of_[f] < 0) continue;
    ColumnSource source = columns[f];
    source.data += fields_[f].bytes - fields_[f].bytes / static_cast<std::size_t>(fields_[f].stack);  // newest frame
    window.sources[static_cast<std::size_t>(column_of_[f])] = source;
  }
  const std::int64_t at_once = std::min(window.limit, n * most) + most;
  const std::int64_t waiting = reserve_candidates(env_ids, n);
  window.changes.hidden.reserve(static_cast<std::size_t>(at_once * stack_));
  window.changes.valid.reserve(static_cast<std::size_t>(at_once + waiting));
  listener->prepare(
      static_cast<std::int64_t>(std::max(window.changes.hidden.capacity(), window.changes.valid.capacity())));

  const std::int64_t between = poll ? rows_between_polls(store_->bytes_per_slot()) : n;
  for (std::int64_t i = 0; i < n; ++i) {
    if (poll && i % between == 0) {
      window.apply(store_);
      poll();
    }
    const std::int64_t env = stream_of(env_ids, i);
    Stream& stream = streams_[static_cast<std::size_t>(env)];
    if (options_.skip_reset_rows && stream.ended) {
      stream.ended = false;
      slots[i] = -1;
      continue;
    }
    if (window.used() + most > window.limit) {
      window.apply(store_);
    }
    if (stream.last >= 0 && !continues(env, columns, i, window)) end_chain(env, window);
    if (stream.last < 0) begin_chain(env, columns, i, window);
    std::int64_t slot = allocate(window);
    if (stream.last < 0 && stream.position > 0) {
      // The new slot was taken from what the row continues: it begins a chain of its own.
      if (stack_ == 1) {
        stream.position = 0;
        stream.candidates.clear();
      } else {  // whose first frames come before it
        next_link(slot) = links::kEnd;
        window.changes.hidden.push_back(slot);
        begin_chain(env, columns, i, window);
        slot = allocate(window);
      }
    }
    append(env, columns, i, slot, window);
    slots[i] = slot;
    const auto ends = [&](int field) { return field >= 0 && is_set(columns[field], i); };
    stream.ended = ends(options_.terminated) || ends(options_.truncated);
    if (stream.ended) end_chain(env, window);
  }
  window.apply(store_);
}

void Streams::clear() {
  for (Stream& stream : streams_) {
    stream.last = -1;
    stream.position = 0;
    stream.ended = false;
    stream.candidates.clear();
  }
}

}  // namespace metarl
