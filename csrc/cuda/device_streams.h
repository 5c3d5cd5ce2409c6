// What a replay buffer in device memory keeps about the order of transitions, and the calls that change or follow it;
// see metarl/streams.h. Plain data, shared by the kernels and by who allocates.
//
// `add` of a buffer with links is, for at most DeviceStreams::max_rows rows at a time, the kernels
//
//   note     what the rows hold: whether each continues its stream, which frames it needs, whether it ends
//   plan     one block: a thread gives the rows their slots and links them, as the CPU does row by row; then all
//            threads set the tree's leaves
//   copies   of rows to slots, of frames to hidden slots, of next observations that wait for the next row
//
// after one that checks the stacks of all rows, if there are any.
#pragma once

#include "cuda/device_replay.h"
#include "metarl/detail/stream_chains.h"

namespace metarl::cuda {

constexpr int kMostPairs = 12;
// The index of a kErrorStack is this plus the pair's number: no index of a slot.
constexpr std::int64_t kFirstPairIndex = INT64_MIN;

// A field X and next_X, the next value of it.
struct StreamPair {
  std::byte* frames;  // newest frame of X in slot 0
  std::int64_t frame_stride;
  const std::byte* next;  // next_X in slot 0, if it is stored
  std::int64_t next_stride;
  std::int64_t bytes;    // of an element
  std::int64_t frame;    // of its newest frame
  std::int64_t pending;  // offset in what a stream keeps aside
  int stack;
};

// A frame that goes to a hidden slot: of a row's X, or of what followed a row.
struct FrameWrite {
  std::int64_t slot;
  std::int64_t row;  // of the call; -1: what the stream keeps aside
  std::int64_t env;
  std::int64_t back;  // > 0: so many frames before the newest one of X; 0: the newest one of next_X
};

// Changes of validity up to these positions in the lists belong together.
struct StreamWindow {
  std::uint32_t hidden_end;
  std::uint32_t shown_end;
};

// Of one add, over its parts.
struct StreamWork {
  std::uint64_t begun;
  std::int64_t newest_row;  // that was stored
  std::uint32_t num_hidden;
  std::uint32_t num_shown;
  std::uint32_t num_windows;
  std::uint32_t num_frames;
};

// Facts of a row: bits, then the frames of its history.
constexpr std::uint32_t kRowContinues = 1;
constexpr std::uint32_t kRowEnds = 2;
constexpr int kRowHistoryShift = 2;

struct DeviceStreams {
  chains::ChainRules rules;
  std::int64_t num_envs;
  std::int64_t max_rows;  // of a part of an add
  // Links of slot 0, and bytes to those of the next slot.
  std::byte* next_links;
  std::byte* previous_links;  // null without stacks
  std::int64_t link_stride;
  std::int64_t* table;  // as Streams::read_state, a row for each stream
  std::int64_t table_columns;
  std::byte* pending;
  std::int64_t pending_bytes;  // of a stream
  StreamWork* work;
  std::uint32_t* facts;     // [max_rows]
  std::int64_t* row_slots;  // [max_rows], -1: not stored
  std::int64_t* row_envs;   // [max_rows], whose next observation the row's is, or -1
  FrameWrite* frames;
  std::uint32_t* hidden;
  std::uint32_t* shown;
  std::uint32_t* shown_tasks;  // of each, if there are tasks
  StreamWindow* windows;
};

// Rows [first, first + count) of an add of n.
struct StreamCall {
  DeviceTree tree;
  DeviceReplay replay;
  DeviceStreams streams;
  DeviceTasks tasks;
  std::int64_t first;
  std::int64_t count;
  std::int64_t n;
  bool has_stacks;
  int num_pairs;
  StreamPair pairs[kMostPairs];
  const std::byte* now[kMostPairs];   // dense rows of X
  const std::byte* next[kMostPairs];  // and of next_X
  const std::uint8_t* terminated;     // null: there is no such field
  const std::uint8_t* truncated;
  const std::byte* task_rows;  // dense, if there are tasks
};

// Follows the n-step returns of slots.
struct ReturnCall {
  std::int64_t n;
  const std::int64_t* indices;
  const TreeState* tree;
  const std::byte* next_links;
  std::int64_t link_stride;
  const std::byte* rewards;  // of slot 0
  std::int64_t reward_stride;
  std::int64_t reward_items;
  bool wide;  // float64
  const std::byte* terminated;
  std::int64_t terminated_stride;
  int n_step;
  double gamma;
  std::int64_t* last;  // the last transition of each return
  std::byte* returns;  // dense rows
  float* discounts;
};

// Follows sequences from their first slots.
struct SequenceCall {
  std::int64_t n;
  int length;
  const std::int64_t* indices;
  const TreeState* tree;
  const std::byte* next_links;
  std::int64_t link_stride;
  std::int64_t* steps;  // [n][length], -1 where a chain was over
  std::uint8_t* mask;   // [n][length], 1 for the steps that exist
};

// Copies elements that lie in several slots to dense rows, of all fields in one launch.
enum class AssembledFrom : std::uint8_t {
  slot,     // the slot's own
  history,  // the frames of a slot and of those before it
  next,     // what follows the slot
};

struct AssembledField {
  CopiedField copied;
  AssembledFrom from;
  bool of_last;  // of a return's last transition, or of a sequence's steps
  int stack;
  std::int64_t rows;
  std::int64_t frame;    // bytes
  std::int64_t pending;  // next: offset in what a stream keeps aside
};

constexpr int kMostAssembledFields = 20;

struct AssembleCall {
  std::int64_t n;
  std::int64_t num_units;
  int num_fields;
  const ReplayState* replay;
  const TreeState* tree;
  const std::int64_t* indices;
  const std::int64_t* last;  // the slots of fields with of_last; negative: zeros
  std::uint64_t* mark;       // may be null: becomes that of now
  const std::byte* next_links;
  const std::byte* previous_links;
  std::int64_t link_stride;
  const std::byte* pending;
  std::int64_t pending_bytes;
  AssembledField fields[kMostAssembledFields];
};

}  // namespace metarl::cuda
