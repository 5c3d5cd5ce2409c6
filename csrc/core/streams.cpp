#include "metarl/streams.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "core/poll.h"
#include "metarl/detail/stream_links.h"

namespace metarl {
namespace {

constexpr std::int64_t kMostRowsBetweenPolls = 1 << 15;

[[noreturn]] void refuse(const std::string& message) { throw std::invalid_argument(message); }

const std::byte* row_of(const ColumnSource& column, std::int64_t row) { return column.data + row * column.stride; }

bool is_set(const ColumnSource& column, std::int64_t row) { return *row_of(column, row) != std::byte{0}; }

std::int64_t rows_between_polls(std::size_t row_bytes) {
  return std::clamp(static_cast<std::int64_t>(kPollBytes / std::max(row_bytes, std::size_t{1})), std::int64_t{1},
                    kMostRowsBetweenPolls);
}

}  // namespace

Streams::Streams(const ReplayOptions& options, std::vector<int> column_of, TransitionStore* store)
    : options_(options.streams),
      capacity_(options.capacity),
      fields_(options.fields),
      column_of_(std::move(column_of)),
      pair_of_(options.fields.size(), -1),
      store_(store) {
  int stack = 1;
  for (std::size_t f = 0; f < fields_.size(); ++f) {
    if (fields_[f].next_of < 0) continue;
    const auto source = static_cast<std::size_t>(fields_[f].next_of);
    const FieldSpec& field = fields_[source];
    const std::size_t frame = field.bytes / static_cast<std::size_t>(field.stack);
    pair_of_[f] = pair_of_[source] = static_cast<int>(pairs_.size());
    pairs_.push_back({static_cast<int>(source), static_cast<int>(f), field.bytes, frame, field.stack, pending_bytes_});
    pending_bytes_ += options_.share_next ? field.bytes : 0;
    stack = std::max(stack, field.stack);
  }
  const auto num_stored = static_cast<int>(store_->fields().size());
  next_column_ = num_stored - (stack > 1 ? 2 : 1);
  previous_column_ = stack > 1 ? num_stored - 1 : -1;
  check_size(options);
  rules_ = chains::make_rules(capacity_, stack, options_.share_next, options_.skip_reset_rows, options_.sequence_length,
                              options_.burn_in, options_.stride);
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
  Window(Streams* self, const ColumnSource* given, std::uint64_t* written_slots, Listener* informed,
         std::int64_t* slots_of_rows)
      : streams(self),
        columns(given),
        num_written(written_slots),
        listener(informed),
        slots(slots_of_rows),
        rules(self->rules_),
        first(*written_slots) {}

  Streams* streams;
  const ColumnSource* columns;
  std::uint64_t* num_written;
  Listener* listener;
  std::int64_t* slots;
  const chains::ChainRules rules;
  std::uint64_t first;                // *num_written at the last application
  std::vector<ColumnSource> sources;  // of the stored columns; links: none
  std::vector<ColumnSource> shifted;
  Changes changes;
  // Rows not copied yet: count rows from `row` on go to the slots from `slot` on.
  std::int64_t row = 0, slot = 0, count = 0;

  Stream& stream(std::int64_t env) { return streams->streams_[static_cast<std::size_t>(env)]; }
  std::uint64_t written() const { return *num_written; }
  void advance() { ++*num_written; }
  std::uint64_t begun() const { return first; }
  std::uint32_t next(std::int64_t at) const { return streams->next_link(at); }
  void set_next(std::int64_t at, std::uint32_t link) { streams->next_link(at) = link; }
  std::uint32_t previous(std::int64_t at) const { return streams->previous_link(at); }
  void set_previous(std::int64_t at, std::uint32_t link) { streams->previous_link(at) = link; }

  std::int64_t last(std::int64_t env) { return stream(env).last; }
  void set_last(std::int64_t env, std::int64_t at) { stream(env).last = at; }
  std::int64_t position(std::int64_t env) { return stream(env).position; }
  void set_position(std::int64_t env, std::int64_t position) { stream(env).position = position; }
  bool ended(std::int64_t env) { return stream(env).ended; }
  void set_ended(std::int64_t env, bool ended) { stream(env).ended = ended; }
  std::int64_t candidates(std::int64_t env) { return static_cast<std::int64_t>(stream(env).candidates.size()); }
  chains::Candidate candidate(std::int64_t env, std::int64_t k) {
    return stream(env).candidates[static_cast<std::size_t>(k)];
  }
  void push_candidate(std::int64_t env, const chains::Candidate& candidate) {
    stream(env).candidates.push_back(candidate);
  }
  void drop_candidate(std::int64_t env) { stream(env).candidates.erase(stream(env).candidates.begin()); }
  void clear_candidates(std::int64_t env) { stream(env).candidates.clear(); }

  void hide(std::int64_t at) { changes.hidden.push_back(at); }
  void show(std::int64_t at) { changes.valid.push_back(at); }
  bool shows_any() const { return !changes.valid.empty(); }
  bool shows(std::int64_t at) const {
    return std::find(changes.valid.begin(), changes.valid.end(), at) != changes.valid.end();
  }
  // The listener may read the rows of slots that become valid.
  void apply() {
    copy_rows();
    listener->apply(changes);
    changes.hidden.clear();
    changes.valid.clear();
    first = *num_written;
  }

  bool continues(std::int64_t env, std::int64_t of_row) {
    const std::int64_t newest = last(env);
    const bool copied = newest < slot || newest >= slot + count;
    for (const Pair& pair : streams->pairs_) {
      const std::byte* now = row_of(columns[pair.field], of_row);
      const std::byte* announced = nullptr;
      if (rules.share_next) {
        announced = streams->pending(env, pair);
      } else if (copied) {
        announced = streams->store_->at(streams->stored(pair.next_field), newest);
      } else {
        announced = row_of(columns[pair.next_field], row + (newest - slot));
      }
      if (std::memcmp(announced, now, pair.bytes) != 0) return false;
    }
    return true;
  }

  int history(std::int64_t of_row) const {
    int frames = 0;
    for (const Pair& pair : streams->pairs_) {
      const std::byte* stack = row_of(columns[pair.field], of_row);
      int same = 0;  // frames 0 ... same are equal
      while (same + 1 < pair.stack &&
             std::memcmp(stack, stack + static_cast<std::size_t>(same + 1) * pair.frame, pair.frame) == 0) {
        ++same;
      }
      frames = std::max(frames, pair.stack - 1 - same);
    }
    return frames;
  }

  bool ends(std::int64_t of_row) const {
    const auto flag = [&](int field) { return field >= 0 && is_set(columns[field], of_row); };
    return flag(streams->options_.terminated) || flag(streams->options_.truncated);
  }

  void write_history(std::int64_t at, std::int64_t of_row, int back) {
    for (const Pair& pair : streams->pairs_) {
      const auto frame = static_cast<std::size_t>(std::max(0, pair.stack - 1 - back));
      streams->write_frame(at, pair, row_of(columns[pair.field], of_row) + frame * pair.frame);
    }
  }

  void write_tail(std::int64_t at, std::int64_t env) {
    for (const Pair& pair : streams->pairs_) {
      streams->write_frame(at, pair, streams->pending(env, pair) + (pair.bytes - pair.frame));
    }
  }

  void write_row(std::int64_t env, std::int64_t of_row, std::int64_t at) {
    if (count > 0 && (at != slot + count || of_row != row + count)) copy_rows();
    if (count == 0) {
      row = of_row;
      slot = at;
    }
    ++count;
    if (!rules.share_next) return;
    for (const Pair& pair : streams->pairs_) {
      std::memcpy(streams->pending(env, pair), row_of(columns[pair.next_field], of_row), pair.bytes);
    }
  }

  void note_slot(std::int64_t of_row, std::int64_t at) { slots[of_row] = at; }

 private:
  void copy_rows() {
    if (count == 0) return;
    for (std::size_t c = 0; c < sources.size(); ++c) {
      shifted[c] = sources[c];
      if (shifted[c].data != nullptr) shifted[c].data += row * shifted[c].stride;
    }
    streams->store_->write(slot, shifted.data(), count);
    count = 0;
  }
};

void Streams::write_frame(std::int64_t slot, const Pair& pair, const std::byte* frame) {
  std::memcpy(store_->at(stored(pair.field), slot), frame, pair.frame);
}

// Makes room for the candidates among n rows; returns how many may become valid at once.
std::int64_t Streams::reserve_candidates(const std::int64_t* env_ids, std::int64_t n) {
  if (options_.sequence_length == 0) return 0;
  const std::int64_t most = rules_.max_candidates;
  std::int64_t waiting = n;
  for (std::int64_t i = 0; i < n; ++i) {
    std::vector<chains::Candidate>& candidates = streams_[static_cast<std::size_t>(stream_of(env_ids, i))].candidates;
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
  Window window(this, columns, written, listener, slots);
  const std::int64_t most = chains::row_slots(rules_.stack);
  const std::size_t num_stored = store_->fields().size();
  window.sources.assign(num_stored, {nullptr, 0});
  window.shifted.resize(num_stored);
  for (std::size_t f = 0; f < fields_.size(); ++f) {
    if (column_of_[f] < 0) continue;
    ColumnSource source = columns[f];
    source.data += fields_[f].bytes - fields_[f].bytes / static_cast<std::size_t>(fields_[f].stack);  // newest frame
    window.sources[static_cast<std::size_t>(column_of_[f])] = source;
  }
  const std::int64_t at_once = std::min(rules_.window, n * most) + most;
  const std::int64_t waiting = reserve_candidates(env_ids, n);
  window.changes.hidden.reserve(static_cast<std::size_t>(at_once * rules_.stack));
  window.changes.valid.reserve(static_cast<std::size_t>(at_once + waiting));
  listener->prepare(
      static_cast<std::int64_t>(std::max(window.changes.hidden.capacity(), window.changes.valid.capacity())));

  const std::int64_t between = poll ? rows_between_polls(store_->bytes_per_slot()) : n;
  for (std::int64_t i = 0; i < n; ++i) {
    if (poll && i % between == 0) {
      window.apply();
      poll();
    }
    chains::add_row(window, stream_of(env_ids, i), i);
  }
  window.apply();
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
