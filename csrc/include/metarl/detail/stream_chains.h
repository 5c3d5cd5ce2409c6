// How rows become chains of slots: which slots a row takes, how they are linked, which of them can be sampled. Shared
// by the CPU's buffer and the CUDA kernels; see metarl/streams.h.
//
// The functions are templates over who keeps slots, links and streams. Such a Memory has
//
//   rules                            ChainRules
//   written(), advance()             slots written so far; one more
//   begun()                          `written` when changes were applied last
//   next(slot), set_next(slot, link), previous(slot), set_previous(slot, link)
//   last(env), set_last, position(env), set_position, ended(env), set_ended      of a stream; ChainStream has the same
//   candidates(env), candidate(env, k), push_candidate(env, candidate), drop_candidate(env), clear_candidates(env)
//   hide(slot), show(slot)           changes of validity: all that are hidden first, then all that are shown
//   shows_any(), shows(slot)         among the changes not applied yet
//   apply()                          applies them
//   continues(env, row)              whether a row begins with what the newest transition of its stream ended with
//   history(row)                     frames before a chain's first transition that repeating the oldest does not give
//   ends(row)                        whether a row ends an episode
//   write_history(slot, row, back)   copies frame `back` before the newest one of a row, of every stacked field
//   write_tail(slot, env)            copies the newest frame of the stream's last observation
//   write_row(env, row, slot)        copies a row to its slot and keeps its next observation
//   note_slot(row, slot)             tells where a row is, -1 if it was not stored
#pragma once

#include <cstdint>

#include "metarl/detail/hd.h"
#include "metarl/detail/stream_links.h"

namespace metarl::chains {

struct ChainRules {
  std::int64_t capacity;  // slots of the ring
  int stack;              // the largest
  bool share_next;
  bool skip_reset_rows;
  int sequence_length;
  int burn_in;
  int stride;
  std::int64_t max_candidates;  // of a stream
  std::int64_t window;          // slots between two applications
};

// A start of a sequence that is not complete yet.
struct Candidate {
  std::int64_t slot;
  std::uint64_t number;   // value of `written` when it was written
  std::int64_t position;  // in its chain
};

// A stream's state as numbers: last, position, ended, number of candidates, then each candidate's.
constexpr std::int64_t kStreamNumbers = 4;
constexpr std::int64_t kPerCandidate = 3;  // slot, number, position
METARL_HD std::int64_t state_columns(std::int64_t max_candidates) {
  return kStreamNumbers + kPerCandidate * max_candidates;
}

// Changes of validity are handed over after at most this many slots.
constexpr std::int64_t kLargestWindow = 4096;
constexpr std::int64_t kLargestSequenceWindow = 256;

// Slots that one row usually takes; only if it overwrites what it continues, it takes its frames again.
METARL_HD std::int64_t row_slots(int stack) { return stack + 2; }
METARL_HD std::int64_t most_row_slots(int stack) { return 2 * (std::int64_t{stack} + 1); }

METARL_HD std::int64_t window_slots(std::int64_t capacity, int stack, int sequence_length) {
  const std::int64_t most = sequence_length > 0 ? kLargestSequenceWindow : kLargestWindow;
  const std::int64_t room = capacity - row_slots(stack);
  return room < most ? room : most;
}

METARL_HD std::int64_t max_candidates(std::int64_t capacity, int sequence_length, int stride) {
  if (sequence_length == 0) return 0;
  const std::int64_t starts = sequence_length / stride;
  return (starts < capacity ? starts : capacity) + 2;
}

METARL_HD ChainRules make_rules(std::int64_t capacity, int stack, bool share_next, bool skip_reset_rows,
                                int sequence_length, int burn_in, int stride) {
  return ChainRules{capacity,
                    stack,
                    share_next,
                    skip_reset_rows,
                    sequence_length,
                    burn_in,
                    stride,
                    max_candidates(capacity, sequence_length, stride),
                    window_slots(capacity, stack, sequence_length)};
}

template <typename Memory>
METARL_KERNEL_TEMPLATE void clear_stream(Memory& m, std::int64_t env) {
  m.set_last(env, -1);
  m.clear_candidates(env);
}

// The transitions after an overwritten slot whose stacks hold its frame, and streams whose newest transition it is.
template <typename Memory>
METARL_KERNEL_TEMPLATE void hide_dependents(Memory& m, std::int64_t slot) {
  const ChainRules& rules = m.rules;
  std::int64_t at = slot;
  for (int step = 0;; ++step) {
    const std::uint32_t link = m.next(at);
    const std::uint32_t kind = links::kind(link);
    if (kind == links::kNewest && step + 1 < (rules.stack > 2 ? rules.stack : 2)) {
      // What follows in the stream would need the slot too, or cannot be linked to it: its next row begins a chain.
      const std::int64_t env = links::value(link);
      if (m.last(env) == at) clear_stream(m, env);
    }
    if (step + 1 >= rules.stack || kind == links::kNewest || kind == links::kEnd) return;
    at = links::value(link);
    const auto capacity = static_cast<std::uint64_t>(rules.capacity);
    const std::int64_t ahead = at - static_cast<std::int64_t>(m.begun() % capacity);
    const auto since = static_cast<std::uint64_t>((ahead + rules.capacity) % rules.capacity);
    const bool fresh = since < m.written() - m.begun() || rules.sequence_length > 0;
    if (fresh && m.shows_any()) m.apply();
    m.hide(at);
  }
}

template <typename Memory>
METARL_KERNEL_TEMPLATE std::int64_t take_slot(Memory& m) {
  const auto capacity = static_cast<std::uint64_t>(m.rules.capacity);
  const auto slot = static_cast<std::int64_t>(m.written() % capacity);
  if (m.written() >= capacity) {
    hide_dependents(m, slot);
    // A sequence that this call has completed may begin here already to be overwritten.
    if (m.rules.sequence_length > 0 && m.shows(slot)) m.apply();
  }
  m.advance();
  return slot;
}

template <typename Memory>
METARL_KERNEL_TEMPLATE void link_to_last(Memory& m, std::int64_t env, std::int64_t slot) {
  const std::int64_t last = m.last(env);
  m.set_next(slot, links::make(links::kNewest, env));
  if (m.rules.stack > 1) m.set_previous(slot, last < 0 ? links::kNoPrevious : static_cast<std::uint32_t>(last));
  if (last >= 0) m.set_next(last, links::make(links::kNext, slot));
  m.set_last(env, slot);
}

// Hidden slots for the frames before the first transition, as far as repeating the oldest one does not give them.
template <typename Memory>
METARL_KERNEL_TEMPLATE void begin_chain(Memory& m, std::int64_t env, std::int64_t row) {
  clear_stream(m, env);
  m.set_position(env, 0);
  for (int back = m.history(row); back >= 1; --back) {
    const std::int64_t slot = take_slot(m);
    m.write_history(slot, row, back);
    link_to_last(m, env, slot);
    m.hide(slot);
  }
}

template <typename Memory>
METARL_KERNEL_TEMPLATE bool is_overwritten(Memory& m, const Candidate& candidate) {
  return m.written() - candidate.number > static_cast<std::uint64_t>(m.rules.capacity);
}

// A transition whose position in its chain is `position` has come.
template <typename Memory>
METARL_KERNEL_TEMPLATE void extend_sequences(Memory& m, std::int64_t env, std::int64_t slot, std::int64_t position) {
  const ChainRules& rules = m.rules;
  m.hide(slot);
  if (position % rules.stride == 0) {
    // A chain may be longer than the ring.
    while (m.candidates(env) > 0 &&
           (is_overwritten(m, m.candidate(env, 0)) || m.candidates(env) >= rules.max_candidates)) {
      m.drop_candidate(env);
    }
    std::int64_t oldest = slot;  // whose frame its stack needs
    for (int back = 1; back < rules.stack && m.previous(oldest) != links::kNoPrevious; ++back) {
      oldest = static_cast<std::int64_t>(m.previous(oldest));
    }
    const std::int64_t age = (slot - oldest + rules.capacity) % rules.capacity;
    m.push_candidate(env, Candidate{slot, m.written() - 1 - static_cast<std::uint64_t>(age), position});
  }
  if (m.candidates(env) == 0) return;
  const Candidate first = m.candidate(env, 0);
  if (first.position + rules.sequence_length - 1 > position) return;
  if (!is_overwritten(m, first)) m.show(first.slot);
  m.drop_candidate(env);
}

template <typename Memory>
METARL_KERNEL_TEMPLATE void append_row(Memory& m, std::int64_t env, std::int64_t row, std::int64_t slot) {
  m.write_row(env, row, slot);
  link_to_last(m, env, slot);
  const std::int64_t position = m.position(env);
  m.set_position(env, position + 1);
  if (m.rules.sequence_length == 0) {
    m.show(slot);
  } else {
    extend_sequences(m, env, slot, position);
  }
}

template <typename Memory>
METARL_KERNEL_TEMPLATE void end_chain(Memory& m, std::int64_t env) {
  const ChainRules& rules = m.rules;
  for (std::int64_t k = 0; k < m.candidates(env); ++k) {
    const Candidate candidate = m.candidate(env, k);
    const bool has_steps = m.position(env) - candidate.position > rules.burn_in;
    if (has_steps && !is_overwritten(m, candidate)) m.show(candidate.slot);
  }
  m.clear_candidates(env);
  if (!rules.share_next) {
    m.set_next(m.last(env), links::kEnd);
  } else {
    const std::int64_t tail = take_slot(m);
    const std::int64_t last = m.last(env);  // take_slot may have taken it
    m.write_tail(tail, env);
    m.set_next(tail, links::kEnd);
    if (rules.stack > 1) m.set_previous(tail, last < 0 ? links::kNoPrevious : static_cast<std::uint32_t>(last));
    m.hide(tail);
    if (last >= 0) m.set_next(last, links::make(links::kTail, tail));
  }
  m.set_last(env, -1);
}

template <typename Memory>
METARL_KERNEL_TEMPLATE void add_row(Memory& m, std::int64_t env, std::int64_t row) {
  const ChainRules& rules = m.rules;
  if (rules.skip_reset_rows && m.ended(env)) {
    m.set_ended(env, false);
    m.note_slot(row, -1);
    return;
  }
  if (static_cast<std::int64_t>(m.written() - m.begun()) + row_slots(rules.stack) > rules.window) m.apply();
  if (m.last(env) >= 0 && !m.continues(env, row)) end_chain(m, env);
  if (m.last(env) < 0) begin_chain(m, env, row);
  std::int64_t slot = take_slot(m);
  if (m.last(env) < 0 && m.position(env) > 0) {
    // The new slot was taken from what the row continues: it begins a chain of its own.
    if (rules.stack == 1) {
      m.set_position(env, 0);
      m.clear_candidates(env);
    } else {  // whose first frames come before it
      m.set_next(slot, links::kEnd);
      m.hide(slot);
      begin_chain(m, env, row);
      slot = take_slot(m);
    }
  }
  append_row(m, env, row, slot);
  m.note_slot(row, slot);
  const bool ends = m.ends(row);
  m.set_ended(env, ends);
  if (ends) end_chain(m, env);
}

}  // namespace metarl::chains
