// Replay buffers: a ring of transitions sampled uniformly or by priority.
//
// Thread safety: every public method locks the buffer; methods may be called from any thread. In a forked child they
// work on a copy with a random stream of its own, or throw ForkedWhileLockedError (fork_mutex.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "metarl/fork_mutex.h"
#include "metarl/mapped_files.h"
#include "metarl/replay_options.h"
#include "metarl/replay_state.h"
#include "metarl/slot_set.h"
#include "metarl/streams.h"
#include "metarl/sum_tree.h"
#include "metarl/task_index.h"
#include "metarl/transition_store.h"

namespace metarl {

// Identifies the moment of a sample: which slots were overwritten since then follows from it.
struct WriteMark {
  std::uint64_t epoch = 0;    // of one buffer between two calls of clear() or restore(), unique
  std::uint64_t written = 0;  // transitions written in this epoch
};

// Arrays of the caller with room for n elements.
struct SampleOutput {
  std::int64_t* indices;
  double* probabilities;
  float* weights;
  std::byte* const* columns;     // one dense array a field; of sequences, of n * sequence_length elements
  float* discounts = nullptr;    // n_step > 1: gamma^k, 0 after a termination
  std::uint8_t* mask = nullptr;  // sequences: n * sequence_length, 1 for the steps of the chain
};

struct TaskSummary {
  int task;
  std::int64_t count;  // items that can be sampled
  double mass;         // sum of their priority^alpha as sampled; their number in a buffer without priorities
};

class ReplayBuffer {
 public:
  // Throws std::invalid_argument if capacity < 1, OutOfMemoryError if it does not fit.
  explicit ReplayBuffer(ReplayOptions options) : ReplayBuffer(std::move(options), true) {}
  virtual ~ReplayBuffer() = default;
  ReplayBuffer(const ReplayBuffer&) = delete;
  ReplayBuffer& operator=(const ReplayBuffer&) = delete;

  const ReplayOptions& options() const { return options_; }
  std::int64_t capacity() const { return capacity_; }
  std::uint64_t seed() const { return seed_; }
  const std::vector<FieldSpec>& fields() const { return options_.fields; }
  bool has_streams() const { return streams_ != nullptr; }
  virtual std::size_t bytes_per_transition() const;
  // Number of items that can be sampled: transitions, or sequences.
  std::int64_t size() const;
  // Slots written at least once; some of them may be hidden (see streams.h).
  std::int64_t slots_used() const;

  // Writes n transitions; slots[i] gets the slot of the i-th, or -1 if it was not stored (a reset row, or left out by
  // the reservoir). env_ids: see Streams::add; null unless the buffer has streams. Throws std::invalid_argument.
  // `poll`, here and below, is called every few milliseconds, if given, with the lock held. When it throws here, the
  // buffer is as if it had been called with the first rows only, some number of them.
  void add(const ColumnSource* columns, const std::int64_t* env_ids, std::int64_t n, std::int64_t* slots,
           const std::function<void()>& poll = {});
  // Whether rows can be stored, as far as that does not depend on what is stored. Throws std::invalid_argument.
  void check(const ColumnSource* columns, std::int64_t n);
  void clear();

  // Draws request.n transitions. Throws BufferEmptyError, also if a task has none; std::invalid_argument if too few can
  // be drawn without replacement. With tasks, the batch is in the order of tasks.
  // When poll throws, the buffer is as before.
  WriteMark sample(const SampleRequest& request, const SampleOutput& out, const std::function<void()>& poll = {});

  // Sets priorities, which a buffer without any only checks the arguments of. With `mark`, slots overwritten since then
  // are skipped and counted, or, if strict, all is refused with StaleIndexError.
  // Throws std::out_of_range (index outside [0, size)) and std::invalid_argument (error not finite).
  // When poll throws, the priorities of the first indices are set, those of the others are as before.
  virtual void update_priorities(const std::int64_t* indices, const float* td_errors, std::int64_t n,
                                 const WriteMark* mark, bool strict, const std::function<void()>& poll = {});

  // Batches drawn so far.
  std::uint64_t draws() const;

  // Of the buffers with tasks; the others throw std::invalid_argument. Tasks ascend.
  std::vector<TaskSummary> task_summaries() const;
  // Hides the slots of one task; returns how many there were. When poll throws, some of them are hidden.
  std::int64_t clear_task(int task, const std::function<void()>& poll = {});

  // Shows the visitor the whole state at one moment, with the buffer locked: the visitor must not call it, nor change
  // it.
  void visit_state(const std::function<void(const BufferState&)>& visitor) const;
  // A buffer with the same options that holds nothing; in files of its own, which go with it, if these are in files.
  std::unique_ptr<ReplayBuffer> make_empty() const;
  // Takes a state. Preconditions: new from make_empty(), not shared with another thread. After an exception (what the
  // source throws, its poll included) the object may only be destroyed.
  void load(const StateSource& source);
  // Exchanges the content with a buffer from make_empty() that no other thread uses, durably if it lies in files: those
  // of `other` go with it. Batches sampled before are stale after that. Throws as flush does, and nothing is exchanged.
  void exchange(ReplayBuffer& other, const Poll& poll = {});

  // Of buffers whose columns lie in files (options().mapped). Such a buffer is closed until it is opened.
  //
  // Takes what was flushed to the folder last, except for slots that may have been overwritten since, which are hidden;
  // or makes new files, if `state` is null. `state` is the folder's, of a buffer with the same options; `config` is
  // stored beside the state. Precondition: not shared with another thread. After an exception the object may only be
  // destroyed. Throws FileError, CheckpointCorruptError, CheckpointVersionError, and what poll throws.
  void open(std::shared_ptr<StorageFolder> folder, const CheckpointReader* state, Value config, const Poll& poll = {});
  // Makes everything so far durable. Throws FileError and what poll throws: then, what was flushed before stands.
  void flush(const Poll& poll = {});

  // Releases the columns, after a flush if they lie in files; every later call throws ClosedError. May be called again.
  void close(const Poll& poll = {});

 protected:
  ReplayBuffer(ReplayOptions options, bool own_valid);
  std::int64_t slots_used_unlocked() const;
  // The slots that can be sampled.
  virtual const SlotSet& valid() const { return *valid_; }
  // Of all random numbers: the seed, or in a forked child another one.
  std::uint64_t key() const { return stream_key(seed_, mutex_.stream()); }
  void check_slots(const std::int64_t* slots, std::int64_t n, const WriteMark* mark,
                   const std::function<void()>& poll = {}) const;
  static void check_finite(const float* td_errors, std::int64_t n, const std::function<void()>& poll = {});
  [[noreturn]] static void refuse_stale(std::int64_t slot, std::int64_t position);
  bool is_stale(std::int64_t slot, const WriteMark& mark) const;
  bool is_current(const WriteMark& mark) const { return mark.epoch == mark_.epoch && mark.written == mark_.written; }
  // Called with the lock held.
  virtual void on_write(std::int64_t begin, std::int64_t end);
  // The same for single slots: makes room for n of them (may throw); takes the changes.
  virtual void prepare_slots(std::int64_t n);
  virtual void on_slots(const Streams::Changes& changes);
  virtual void on_clear();
  virtual void hide(const std::int64_t* slots, std::int64_t n);
  virtual std::uint64_t num_draws() const { return draws_; }
  virtual void count_draw() { ++draws_; }
  virtual void set_num_draws(std::uint64_t draws) { draws_ = draws; }
  // Masses of the slots, if there are any, how much one unit of mass is, and how often that has changed.
  virtual const std::uint32_t* leaves() const { return nullptr; }
  virtual double unit() const { return 1.0; }
  virtual std::uint64_t rescales() const { return 0; }
  virtual void draw(const SampleRequest& request, const SampleOutput& out, const std::function<void()>& poll);
  // The state: numbers besides `written`, and arrays in the buffer's memory. A load takes the numbers first, then reads
  // the arrays that follow from them, then the slots that are valid; complete_load checks the whole and rebuilds what
  // depends on it.
  virtual void describe_numbers(Value* numbers) const;
  virtual void describe_arrays(std::vector<StateArray>* arrays) const;
  virtual void take_numbers(const StateSource& source);
  virtual void complete_load(const StateSource& source, SlotSet valid);
  virtual void on_exchange(ReplayBuffer& other);
  virtual std::unique_ptr<ReplayBuffer> make_same() const;
  static std::uint64_t next_epoch();

  // What the importance weights of a batch with tasks depend on besides its own probabilities.
  struct TaskDraw {
    double min_probability;  // of all items that could have been drawn
    std::int64_t drawable;   // their number
  };
  void draw_tasks(const SampleRequest& request, const SampleOutput& out, TaskDraw* drawn,
                  const std::function<void()>& poll);
  // The masses of all slots have another unit, if they have.
  void follow_scale();

  mutable ForkMutex mutex_;
  const ReplayOptions options_;
  const std::int64_t capacity_;
  const std::uint64_t seed_;
  WriteMark mark_;
  std::uint64_t draws_ = 0;
  std::unique_ptr<TaskIndex> tasks_;  // null without tasks
  std::uint64_t seen_rescales_ = 0;

 private:
  std::size_t sampled_bytes(std::size_t f) const;
  void gather(std::int64_t first, std::int64_t n, const SampleOutput& out) const;
  struct StreamListener;
  struct Storage {
    std::unique_ptr<MappedFiles> files;
    Value config;
    std::uint64_t flush = 0;      // the newest one, 0 if there was none
    std::uint64_t flushed = 0;    // mark_.written then
    std::uint64_t announced = 0;  // up to this value of mark_.written, slots may be overwritten
    bool all_next = false;        // the next announcement must name all slots
    bool all_announced = false;   // one has
  };
  struct Share {
    int task;
    std::uint64_t weight;
  };
  void add_to_ring(const ColumnSource* columns, std::int64_t n, std::int64_t* slots, const std::function<void()>& poll);
  void add_to_reservoir(const ColumnSource* columns, std::int64_t n, std::int64_t* slots,
                        const std::function<void()>& poll);
  void parse_tasks(const ColumnSource* columns, std::int64_t n, const std::function<void()>& poll);
  std::int64_t stored_task(std::int64_t slot) const;
  void track(const std::int64_t* slots, const std::uint16_t* tasks, std::int64_t n);
  void track_stored(const std::int64_t* slots, std::int64_t n);
  void rebuild_tasks(const std::uint32_t* positions, const Poll& poll = {});
  TaskIndex& tasks() const;
  void make_shares(const TaskMix& mix);
  void visit_unlocked(const std::function<void(const BufferState&)>& visitor) const;
  void load(const StateSource& source, std::uint64_t overwritten);
  bool lose(std::uint64_t overwritten);
  void open_new_files(const std::shared_ptr<StorageFolder>& folder, Value config);
  void open_flushed(const std::shared_ptr<StorageFolder>& folder, const CheckpointReader& state, Value config);
  void flush_unlocked(const Poll& poll);
  std::uint64_t slots_ahead() const;
  void announce_until(std::uint64_t until);
  void announce(std::int64_t slots);
  void trim_announcement();
  void load_streams(const StateSource& source);
  void load_reservoir(const StateSource& source);
  void load_tasks(const StateSource& source);

  std::vector<int> column_of_;        // stored column of each field, or -1
  std::unique_ptr<Storage> storage_;  // null: in memory
  TransitionStore store_;
  std::unique_ptr<Streams> streams_;  // null: every transition stands alone
  std::unique_ptr<SlotSet> valid_;    // null in a derived class that has its own
  AlignedMemory written_at_;          // of each slot of a reservoir: mark_.written when it was written
  std::uint64_t reservoir_draws_ = 0;
  std::vector<std::uint64_t> scratch_;
  std::vector<std::uint16_t> new_tasks_;
  std::vector<Share> shares_;
  std::vector<std::uint32_t> drawn_masses_;
};

// Proportional prioritization (Schaul et al. 2016): P(i) = p_i^alpha / sum. New transitions get the running maximum of
// the raw priorities ever assigned since construction or clear() (1 at first); overwriting the item that set it does
// not lower it. Raw priorities are kept in float32.
class PrioritizedReplayBuffer : public ReplayBuffer {
 public:
  PrioritizedReplayBuffer(ReplayOptions options, const PrioritizedOptions& prioritized);

  const PrioritizedOptions& prioritized_options() const { return prioritized_; }
  std::size_t bytes_per_transition() const override;

  // Sets p = clip(|td_error|, eps, max_priority); the last of equal indices wins.
  // Throws std::invalid_argument if p^alpha overflows, too.
  void update_priorities(const std::int64_t* indices, const float* td_errors, std::int64_t n, const WriteMark* mark,
                         bool strict, const std::function<void()>& poll = {}) override;

  std::uint64_t stale_updates() const;
  float running_max() const;
  // priority^alpha as it is sampled: at least the smallest double for a positive one, so that none becomes unreachable.
  double scaled_priority(float raw) const;
  // Raw priorities, of the slots 0 ... n - 1 if `indices` is null. Throws std::out_of_range.
  void read_priorities(const std::int64_t* indices, std::int64_t n, double* out,
                       const std::function<void()>& poll = {}) const;

 protected:
  const SlotSet& valid() const override { return tree_.valid(); }
  void on_write(std::int64_t begin, std::int64_t end) override;
  void prepare_slots(std::int64_t n) override;
  void on_slots(const Streams::Changes& changes) override;
  void on_clear() override;
  void hide(const std::int64_t* slots, std::int64_t n) override;
  std::uint64_t num_draws() const override { return tree_.state().draws; }
  void set_num_draws(std::uint64_t draws) override { tree_.set_num_draws(draws); }
  void count_draw() override { tree_.count_draw(); }
  const std::uint32_t* leaves() const override { return tree_.leaves(); }
  double unit() const override { return tree_.unit(); }
  std::uint64_t rescales() const override { return tree_.rescales(); }
  void draw(const SampleRequest& request, const SampleOutput& out, const std::function<void()>& poll) override;
  void describe_numbers(Value* numbers) const override;
  void describe_arrays(std::vector<StateArray>* arrays) const override;
  void take_numbers(const StateSource& source) override;
  void complete_load(const StateSource& source, SlotSet valid) override;
  void on_exchange(ReplayBuffer& other) override;
  std::unique_ptr<ReplayBuffer> make_same() const override;

 private:
  void set_running_max(float priority);
  void write_priorities(const std::int64_t* indices, const float* raw, const double* scaled, std::int64_t n, double top,
                        std::int64_t fetched);

  PrioritizedOptions prioritized_;
  SumTree tree_;
  AlignedMemory raw_;
  float running_max_ = 1.0f;
  double running_max_scaled_ = 1.0;  // running_max^alpha
  bool underflows_ = false;          // whether the smallest priority's power is 0 in double precision
  std::uint64_t stale_updates_ = 0;
  SumTree::State loading_;  // between take_numbers and complete_load
  std::vector<std::uint32_t> masses_;
  std::vector<float> new_raw_;
  std::vector<double> new_scaled_;
  std::vector<std::int64_t> kept_indices_;
  std::vector<double> wide_weights_;
};

}  // namespace metarl
