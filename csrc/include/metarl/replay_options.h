// What replay buffers are constructed with, and what a sample asks for.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "metarl/importance_weights.h"
#include "metarl/sampling_mode.h"
#include "metarl/transition_store.h"

namespace metarl {

enum class RewardType { none, float32, float64 };

// How transitions follow one another; see streams.h.
struct StreamOptions {
  std::int64_t num_envs = 1;
  int n_step = 1;
  double gamma = 0.99;
  bool share_next = false;       // a field with next_of is not stored: the next slot has it
  bool skip_reset_rows = false;  // the row after an end only resets (Gymnasium's NEXT_STEP autoreset)
  int sequence_length = 0;       // 0: single transitions
  int burn_in = 0;
  int stride = 1;
  double priority_mix = 0.9;  // of the largest error in a sequence's priority; the rest is the mean
  // Fields, or -1.
  int reward = -1;
  int terminated = -1;
  int truncated = -1;
  RewardType reward_type = RewardType::none;
};

// The field that says which task a transition belongs to; see task_index.h.
struct TaskOptions {
  int field = -1;         // or -1: there are no tasks
  std::size_t bytes = 0;  // of the integer
  bool is_signed = false;
};

struct ReplayOptions {
  std::int64_t capacity = 0;
  std::vector<FieldSpec> fields;
  std::uint64_t seed = 0;
  StreamOptions streams;
  TaskOptions tasks;
  int num_threads = 1;     // for large copies, the caller included
  bool mapped = false;     // the columns lie in files, see ReplayBuffer::open; else in memory
  bool reservoir = false;  // a full buffer keeps a uniform sample of all transitions, not the newest ones
};

struct PrioritizedOptions {
  double alpha = 0.6;
  float eps = 1e-6f;
  float max_priority = std::numeric_limits<float>::max();
  WeightNormalization weight_normalization = WeightNormalization::max;
};

// What part of a batch comes from which task.
struct TaskMix {
  bool balanced = false;             // equal parts from all tasks present; otherwise:
  std::vector<std::uint16_t> tasks;  // distinct
  std::vector<double> weights;       // of each, finite and >= 0, not all 0
};

struct SampleRequest {
  std::int64_t n = 0;
  double beta = 0.0;  // ignored by a uniform buffer
  SamplingMode mode = SamplingMode::stratified;
  const TaskMix* tasks = nullptr;  // null: the tasks do not matter
};

}  // namespace metarl
