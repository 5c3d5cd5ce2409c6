// The order of transitions of a replay buffer in device memory as a host object: owns links' tables and scratch memory,
// hands calls to the device. See device_streams.h.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "cuda/copied_fields.h"
#include "cuda/device.h"
#include "metarl/replay_options.h"

namespace metarl::cuda {

struct ReplayDraw;

// Where things of the buffer lie.
struct ReplayArrays {
  struct Column {
    std::byte* data;  // of slot 0
    std::size_t stride;
    std::size_t bytes;
  };
  DeviceTree tree;
  DeviceReplay replay;
  DeviceTasks tasks;            // without entries: there are none
  std::vector<Column> columns;  // stored ones
};

// Streams::read_state's numbers and bytes, by rows.
struct StreamTables {
  std::int64_t num_envs = 0;
  std::int64_t columns = 0;
  std::int64_t pending_bytes = 0;
  std::vector<std::int64_t> table;
  std::vector<std::byte> pending;
};

// Not synchronised; add and gather neither allocate device memory nor wait.
class ReplayStreams {
 public:
  // `options` are those of the buffer, whose size Streams::check_size has checked; `column_of` the stored column of
  // each field or -1. The device must outlive this. Throws std::invalid_argument if too many fields link,
  // OutOfMemoryError.
  ReplayStreams(Device& device, const ReplayOptions& options, std::vector<int> column_of, ReplayArrays arrays);
  ~ReplayStreams();
  ReplayStreams(const ReplayStreams&) = delete;
  ReplayStreams& operator=(const ReplayStreams&) = delete;

  std::size_t num_bytes() const { return num_bytes_; }
  bool is_link(std::size_t column) const { return static_cast<int>(column) >= next_column_; }

  // Of a pair X and next_X, the fields' numbers.
  std::pair<std::size_t, std::size_t> linked_fields(std::size_t pair) const {
    return {pairs_[pair].field, pairs_[pair].next_field};
  }

  // n >= 1 rows from dense arrays, one a field; of several environments one of each, in order.
  void add(const std::byte* const* fields, std::int64_t n, Stream stream);
  // Copies what was drawn to draw.fields.
  void gather(const ReplayDraw& draw, Stream stream);

  // These wait.
  StreamTables read(Stream stream);
  // With the sizes that read() returns.
  void write(const StreamTables& tables, Stream stream);
  // Tables of streams in which nothing was written.
  StreamTables empty_tables() const;

 private:
  struct Pair {
    std::size_t field;
    std::size_t next_field;
    std::size_t bytes;
    std::size_t frame;
    std::size_t pending;
    int stack;
  };
  void find_pairs();
  void place_memory();
  StreamCall stream_call(const std::byte* const* fields, std::int64_t n) const;
  // What an add copies to slots, and to the next observations of the environments; from its first row on.
  std::vector<FieldCopy> copies_of_rows(const std::byte* const* fields) const;
  std::vector<FieldCopy> copies_of_next(const std::byte* const* fields) const;
  void follow(const ReplayDraw& draw, std::int64_t first, std::int64_t n, Stream stream);
  void unroll(const ReplayDraw& draw, std::int64_t first, std::int64_t n, Stream stream);
  void assemble(const ReplayDraw& draw, std::int64_t first, std::int64_t n, Stream stream);
  AssembledField assembled_field(const ReplayDraw& draw, std::size_t f, std::int64_t first, std::int64_t n,
                                 std::int64_t* num_units) const;
  const ReplayArrays::Column& column(std::size_t field) const {
    return arrays_.columns[static_cast<std::size_t>(column_of_[field])];
  }

  Device& device_;
  const ReplayOptions options_;
  std::vector<int> column_of_;
  ReplayArrays arrays_;
  std::vector<Pair> pairs_;
  std::vector<int> pair_of_;  // field -> pair, or -1
  int next_column_ = 0;
  std::size_t pending_bytes_ = 0;
  std::size_t num_bytes_ = 0;
  std::byte* memory_ = nullptr;
  DeviceStreams streams_{};
  std::int64_t* last_ = nullptr;  // of a part of a draw: last transitions of returns, or steps of sequences
};

// Starts the copies of fields, in one launch unless there are very many; `call` says which rows and slots.
void start_copies(Device& device, CopyCall call, const std::vector<FieldCopy>& fields, Stream stream);

}  // namespace metarl::cuda
