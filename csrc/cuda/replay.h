// A replay buffer, uniform or prioritized, as a host object: owns tree and columns, hands calls to the device. As with
// the tree, what it is given are pointers to device memory, and their content is checked there.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "cuda/replay_streams.h"
#include "cuda/replay_tasks.h"
#include "cuda/tree.h"
#include "metarl/replay_options.h"

namespace metarl::cuda {

struct ReplaySettings {
  ReplayOptions options;
  bool uniform;  // no priorities: all masses are 0, and what follows does not count
  double alpha;
  float eps;
  float max_priority;
  WeightNormalization normalization;
};

// A draw: arrays with room for n elements. Null where not wanted: probabilities and mark.
struct ReplayDraw {
  std::int64_t n;  // >= 1
  SamplingMode mode;
  double beta;
  const double* beta_memory;  // not null: in place of beta
  std::int64_t* indices;
  float* weights;
  double* probabilities;
  std::uint64_t* mark;       // kMarkWords
  std::byte* const* fields;  // dense rows, one array a field
  float* discounts;          // of n-step returns
  std::uint8_t* steps_mask;  // of sequences: which steps exist
  const TaskDraw* tasks;     // null: the tasks do not matter
};

struct PriorityUpdate {
  std::int64_t n;
  const std::int64_t* indices;
  const float* errors;  // one of these two
  const double* wide_errors;
  const std::uint64_t* mark;  // or null
  bool strict;
  bool of_steps;                   // errors of each step of sequences
  const std::uint8_t* steps_mask;  // or null
};

// Not synchronised: the caller holds Python's lock. add, sample and update neither allocate nor wait.
class Replay {
 public:
  // Needs 1 <= capacity <= kMaxTreeCapacity. Throws OutOfMemoryError, and std::invalid_argument if the power of eps or
  // max_priority overflows, or an option that links transitions does not fit.
  Replay(std::shared_ptr<Device> device, const ReplaySettings& settings);
  ~Replay();
  Replay(const Replay&) = delete;
  Replay& operator=(const Replay&) = delete;

  std::int64_t capacity() const { return tree_.capacity(); }
  std::size_t num_bytes() const {
    return tree_.num_bytes() + num_bytes_ + (streams_ != nullptr ? streams_->num_bytes() : 0) +
           (tasks_ != nullptr ? tasks_->num_bytes() : 0);
  }
  std::size_t bytes_per_slot() const { return bytes_per_slot_; }
  const ReplaySettings& settings() const { return settings_; }
  // Whether an error's priority to the power of alpha does.
  bool overflows(float error) const;
  Tree& tree() { return tree_; }
  Device& device() const { return tree_.device(); }
  // What a slot holds: the fields, or frames of them, and links.
  const std::vector<FieldSpec>& stored_fields() const { return stored_; }
  bool is_link(std::size_t stored) const { return streams_ != nullptr && streams_->is_link(stored); }
  bool has_streams() const { return streams_ != nullptr; }
  bool has_tasks() const { return tasks_ != nullptr; }
  // Of a pair X and next_X, the fields' numbers.
  std::pair<std::size_t, std::size_t> linked_fields(std::size_t pair) const { return streams_->linked_fields(pair); }
  StreamTables empty_streams() const { return streams_->empty_tables(); }

  // n >= 1 rows from dense arrays, one a field.
  void add(const std::byte* const* fields, std::int64_t n, Stream stream);
  void sample(const ReplayDraw& draw, Stream stream);
  void update(const PriorityUpdate& update, Stream stream);

  // These wait for the calls so far.
  struct State {
    TreeState tree;
    ReplayState replay;
    std::int64_t slots_used;
  };
  State state(Stream stream);
  void clear(Stream stream);
  // Of the slots [0, slots_used()) to dense rows in host memory, and back; f is a stored field.
  void read_field(std::size_t f, std::int64_t n, std::byte* rows, Stream stream);
  void read_priorities(std::int64_t n, float* raw, Stream stream);
  StreamTables read_streams(Stream stream);
  // Of buffers with tasks: each task's slots; the slots' entries; and hides the slots of one, whose number it returns.
  std::vector<ReplayTasks::Summary> task_summaries(Stream stream);
  std::vector<TaskEntry> read_tasks(std::int64_t n, Stream stream);
  std::int64_t clear_task(int task, Stream stream);
  struct Content {
    TreeState tree;  // as of Tree::load
    std::uint64_t written;
    std::uint64_t stale_updates;
    float running_max;
    std::int64_t n;  // slots used
    const std::uint32_t* masses;
    const std::uint32_t* valid;
    const float* raw;
    std::vector<const std::byte*> fields;  // stored ones
    StreamTables streams;                  // as of read_streams()
    std::vector<TaskEntry> tasks;          // as of read_tasks()
  };
  void load(const Content& content, Stream stream);

 private:
  struct Column {
    std::size_t bytes;
    std::size_t stride;
    std::byte* data;  // of slot 0
    bool packed;
  };
  void place_columns();
  void make_tasks(const std::vector<int>& column_of);
  void make_streams(std::vector<int> column_of);
  template <typename Call>
  Call call_of(const ReplayDraw& draw) const;
  void draw(const ReplayDraw& draw, Stream stream);
  CopyCall copy_call(CopyKind kind, std::int64_t n) const;
  std::vector<FieldCopy> field_copies(std::byte* const* rows) const;
  void add_alone(const std::byte* const* fields, std::int64_t n, Stream stream);
  float first_priority() const;
  ReplayState new_state(float running_max) const;
  void write_field(const Column& column, std::int64_t n, const std::byte* rows, Stream stream);
  template <typename T>
  T* place(std::size_t* offset, std::size_t count) const;

  ReplaySettings settings_;
  Tree tree_;
  std::vector<FieldSpec> stored_;
  std::vector<Column> columns_;  // of each
  std::size_t row_bytes_ = 0;
  std::size_t bytes_per_slot_ = 0;
  std::size_t num_bytes_ = 0;
  std::byte* memory_ = nullptr;
  DeviceReplay replay_{};
  std::unique_ptr<ReplayTasks> tasks_;      // null: there are none
  std::unique_ptr<ReplayStreams> streams_;  // null: every transition stands alone
};

}  // namespace metarl::cuda
