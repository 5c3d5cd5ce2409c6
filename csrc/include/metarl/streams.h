// Order of the transitions of each environment, in a ring of slots that all environments share.
//
// Every slot links to the next one of its stream, so that n-step returns, next observations and sequences follow from
// single transitions, and, with frame stacks, to the previous one. A chain is a run of transitions of which each begins
// with the observation that the one before ended with; it ends at `terminated`, at `truncated`, or where the next row
// added to the stream has another observation than the next one announced (an environment that was reset in between).
// Nothing is ever assembled across the end of a chain.
//
//  - share_next: next observations are not stored. That of a slot is the observation of the next slot; at the end of a
//    chain it lies in a hidden slot of its own (the tail); that of the newest transition of a stream is kept aside.
//  - stack > 1 (needs share_next): a slot holds its newest frame. Where frames are missing, at the start of a chain,
//  the
//    oldest one is repeated; other beginnings (zeros, for example) get hidden slots for their frames.
//  - sequence_length > 0: the items that are sampled are starts of sequences: every stride-th transition of a chain. A
//    start is hidden until its sequence is complete or its chain ends; one that has no step after burn_in stays hidden.
//
// Overwriting a slot hides the transitions whose stacks needed its frame. Hidden slots are in no sample.
//
// Not synchronised: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "metarl/aligned_memory.h"
#include "metarl/detail/stream_chains.h"
#include "metarl/replay_options.h"
#include "metarl/transition_store.h"

namespace metarl {

// Slots one after the other in a ring.
struct SlotRange {
  std::int64_t capacity;  // of the ring
  std::int64_t first;
  std::int64_t count;
  bool contains(std::int64_t slot) const { return (slot >= first ? slot - first : slot - first + capacity) < count; }
};

class Streams {
 public:
  // Slots above this do not fit the links.
  static constexpr std::int64_t kMaxCapacity = std::int64_t{1} << 30;

  // Whether the options ask for links at all.
  static bool needed(const ReplayOptions& options);
  // What is to be stored of the fields, and the links; `column_of` gets the stored column of each field, or -1.
  static std::vector<FieldSpec> stored_fields(const ReplayOptions& options, std::vector<int>* column_of);

  // Frames of the deepest stack.
  static int largest_stack(const ReplayOptions& options);
  // Throws std::invalid_argument if the capacity does not fit the links or the environments.
  static void check_size(const ReplayOptions& options);

  // Throws std::invalid_argument (naming the option), OutOfMemoryError.
  Streams(const ReplayOptions& options, std::vector<int> column_of, TransitionStore* store);

  // Slots whose validity changes: first all of `hidden`, then all of `valid`.
  struct Changes {
    std::vector<std::int64_t> hidden;
    std::vector<std::int64_t> valid;
  };
  class Listener {
   public:
    virtual ~Listener() = default;
    // Makes room for n slots to be made valid at once; may throw.
    virtual void prepare(std::int64_t n) = 0;
    virtual void apply(const Changes& changes) = 0;
  };

  // Checks that rows can be rebuilt. Throws std::invalid_argument that names the field and row.
  // `poll`, if given, is called every few milliseconds.
  void check(const ColumnSource* columns, std::int64_t n, const std::function<void()>& poll = {}) const;
  // Writes n rows, row i to stream env_ids[i] (null: stream i, or stream 0 if there is one), at *written modulo the
  // capacity, and advances *written. slots[i] gets the row's slot, or -1 for a reset row, which is not stored.
  // When poll throws, the rows before the one that was next are written, and the listener knows all about them.
  void add(const ColumnSource* columns, const std::int64_t* env_ids, std::int64_t n, std::uint64_t* written,
           std::int64_t* slots, Listener* listener, const std::function<void()>& poll = {});
  void clear();
  // The most slots that n rows can take.
  std::int64_t most_slots(std::int64_t n) const {
    return options_.share_next ? n * chains::row_slots(rules_.stack) : n;
  }

  // Arrays of the caller for `n` items: one dense array a field, of n elements (sequences: n * sequence_length, but of
  // recurrent fields n); discounts of n (n-step only), mask of n * sequence_length (sequences only).
  void gather(const std::int64_t* slots, std::int64_t n, std::byte* const* columns, float* discounts,
              std::uint8_t* mask) const;

  // The streams' own state: num_envs rows of state_columns() numbers, and num_envs * pending_bytes() bytes.
  std::int64_t state_columns() const;
  std::size_t pending_bytes() const { return pending_bytes_; }
  void read_state(std::int64_t* table, std::byte* pending) const;
  // Throws std::invalid_argument if a number is out of range for a buffer with `written` slots written so far.
  void check_state(const std::int64_t* table, std::uint64_t written) const;
  // Precondition: checked.
  void restore_state(const std::int64_t* table, const std::byte* pending);
  // The oldest slots, `lost`, were overwritten after the state that was restored, by what is not known: nothing leads
  // there any more. Appends the slots in [0, used) whose stacks need one of them.
  void forget(const SlotRange& lost, std::int64_t used, std::vector<std::int64_t>* dependents);
  // The store has moved.
  void set_store(TransitionStore* store) { store_ = store; }
  // Whether a slot's links stay inside [0, used) and the streams: what follows them then stays inside the store.
  bool links_are_safe(std::uint32_t next, std::uint32_t previous, std::int64_t used) const;
  // Stored columns of the links, or -1.
  int next_column() const { return next_column_; }
  int previous_column() const { return previous_column_; }

 private:
  struct Stream {
    std::int64_t last = -1;     // slot of the newest transition of an open chain
    std::int64_t position = 0;  // of the next transition in its chain
    bool ended = false;         // the newest row ended an episode
    std::vector<chains::Candidate> candidates;
  };
  struct Pair {
    int field;          // X
    int next_field;     // the next value of X
    std::size_t bytes;  // of a whole element
    std::size_t frame;  // of its newest frame
    int stack;
    std::size_t pending;  // offset in a stream's pending bytes
  };
  struct Window;  // of one add: the Memory of stream_chains.h

  // Of row i of an add.
  std::int64_t stream_of(const std::int64_t* env_ids, std::int64_t i) const {
    return env_ids != nullptr ? env_ids[i] : (options_.num_envs == 1 ? 0 : i);
  }
  std::int64_t reserve_candidates(const std::int64_t* env_ids, std::int64_t n);
  std::size_t stored(int field) const { return static_cast<std::size_t>(column_of_[static_cast<std::size_t>(field)]); }
  std::uint32_t& next_link(std::int64_t slot) const;
  std::uint32_t& previous_link(std::int64_t slot) const;
  std::byte* pending(std::int64_t env, const Pair& pair) const;
  void write_frame(std::int64_t slot, const Pair& pair, const std::byte* frame);
  // The next transition of the chain, or -1.
  std::int64_t follow(std::int64_t slot) const;
  template <typename T>
  void walk(const std::int64_t* slots, std::int64_t n, std::int64_t* last, T* rewards, float* discounts) const;
  void unroll(const std::int64_t* slots, std::int64_t n, std::int64_t* steps, std::uint8_t* mask) const;
  void fetch_around(const std::int64_t* slots, std::int64_t n) const;
  void gather_field(std::size_t field, const std::int64_t* slots, std::int64_t n, std::byte* out) const;
  void gather_next(const Pair& pair, const std::int64_t* slots, std::int64_t n, std::byte* out) const;
  void gather_stack(const Pair& pair, const std::int64_t* slots, std::int64_t n, std::byte* out) const;
  void copy_history(const Pair& pair, std::int64_t slot, int frames, std::byte* out) const;

  const StreamOptions options_;
  const std::int64_t capacity_;
  chains::ChainRules rules_{};
  std::vector<FieldSpec> fields_;
  std::vector<int> column_of_;
  std::vector<Pair> pairs_;
  std::vector<int> pair_of_;  // field -> pair, or -1
  TransitionStore* store_;
  int next_column_ = -1;
  int previous_column_ = -1;
  std::size_t pending_bytes_ = 0;
  AlignedMemory pending_;
  std::vector<Stream> streams_;
};

}  // namespace metarl
