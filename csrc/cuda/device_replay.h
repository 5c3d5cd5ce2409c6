// A replay buffer, uniform or prioritized, in device memory: state and calls. Plain data, shared by the kernels and by
// who allocates.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/device_tasks.h"
#include "cuda/device_tree.h"
#include "cuda/set_bodies.h"

namespace metarl::cuda {

// Identifies the moment of a sample, as WriteMark does on the CPU; two words behind a pointer.
constexpr int kMarkEpoch = 0;
constexpr int kMarkWritten = 1;
constexpr int kMarkWords = 2;

// What ReplayBuffer and PrioritizedReplayBuffer keep besides tree and columns. Captured graphs advance it. Between
// calls every field of the second part is zero.
struct ReplayState {
  std::uint64_t epoch;    // between two calls of clear() or load(), unique
  std::uint64_t written;  // transitions, in this epoch
  std::uint64_t stale_updates;
  double running_max_scaled;  // running_max^alpha
  float running_max;

  // Of the call under way.
  std::uint32_t top_raw;  // the largest raw priority, as bits
  std::uint64_t num_stale;
};

struct DeviceReplay {
  ReplayState* state;
  float* raw;  // priorities before the exponent
  double alpha;
  float eps;
  float max_priority;
};

enum class ReplayChange : std::uint8_t {
  add,     // the next n slots get the running maximum
  update,  // slots get priorities from errors
  check,   // none: what an update of a buffer without priorities looks at
};

// A call of set_bodies.h.
struct PriorityCall {
  DeviceTree tree;
  DeviceReplay replay;
  std::int64_t n;  // < 2^32 - 1, of add at most the capacity
  SetKind kind;    // set
  ReplayChange change;
  bool strict;           // stale indices are errors
  std::int64_t dropped;  // add: rows before those n, which they would overwrite
  // update, one of the errors:
  const std::int64_t* indices;
  const float* errors;
  const double* wide_errors;
  const std::uint64_t* mark;  // or null: the indices are of now
  // Errors of the steps of sequences, `length` each; 0: one error an item.
  int length;
  int burn_in;
  double priority_mix;
  const std::uint8_t* steps_mask;  // or null: all steps exist
  // add, with tasks: where they are in the rows, for the message about a bad one.
  const std::byte* task_rows;
  DeviceTasks tasks;
};

// Copies between slots and dense rows, of all fields in one launch.
constexpr int kMostCopiedFields = 24;

struct CopiedField {
  std::byte* slots;     // of slot 0
  std::int64_t stride;  // from slot to slot
  std::byte* rows;
  std::int64_t row_bytes;    // from row to row
  std::int64_t row_offset;   // in a row, of what is copied
  std::int64_t first_unit;   // of this field, among those of all fields
  std::uint64_t units;       // of a row: each is copied by one instruction
  std::uint64_t reciprocal;  // ~0 / units
  int unit_bits;             // a unit has 2^unit_bits bytes, at most 16, and is aligned to them everywhere
};

enum class CopyKind : std::uint8_t {
  gather,   // the slots `indices` to rows
  scatter,  // rows to the slots that are written next
  place,    // rows to the slots `indices`; to none where that is negative
};

struct CopyCall {
  CopyKind kind;
  int num_fields;
  std::int64_t n;
  std::int64_t num_units;
  std::int64_t capacity;
  std::int64_t dropped;  // scatter: rows left out at the beginning
  const ReplayState* replay;
  const TreeState* tree;
  const std::int64_t* indices;  // gather, place
  std::uint64_t* mark;          // gather, may be null: becomes that of now
  CopiedField fields[kMostCopiedFields];
};

}  // namespace metarl::cuda
