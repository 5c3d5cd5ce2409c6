// A batch of environments in device memory: what a call's kernels get. Plain data.
//
// The arrays are those that the CPU's BatchEnv has, element for element: EnvBatch's state (field f of row i at
// f * stride + i), elapsed, episode, seed, stream, done, ended, end_flag, final_obs, task values, numbers, table and
// layouts, of which every pointer is one to device memory here. params is a copy of the definition's params_bytes whose
// pointers (params_arrays) point to copies of the arrays. So a state can be copied from one to the other as it is, and
// random numbers, which are functions of seed, stream, episode and elapsed, are the CPU's.
#pragma once

#include <cstdint>

#include "metarl/detail/hd.h"
#include "metarl/env_batch.h"
#include "metarl/rollout.h"

namespace metarl::cuda {

// Sticky: the first call that failed is kept until the host clears it. A call that fails changes nothing else.
enum EnvError : std::uint32_t {
  kErrorAction = 1,  // an action is not in [0, num_actions), or not finite
  kErrorEnded = 2,   // autoreset is disabled, and a row's episode has ended
};

// All zero is a valid one. Between calls every field of the second part is zero.
struct EnvStatus {
  std::uint32_t error;
  std::uint32_t first_error;  // of the first call that failed; that a row has ended goes before what its actions are
  // Of that call: its number, and the row that has ended, or the action's number in the array, and its value.
  std::uint64_t calls;
  std::uint64_t error_call;
  std::uint64_t error_item;
  std::int64_t error_integer;  // of integer types
  double error_number;         // of floating-point types
  std::uint32_t obs_held;      // see EnvCall::keeps_obs

  // Of the call under way.
  std::uint32_t bad;
  std::uint64_t first_bad_action;  // ~item, so that the largest is the first
  std::uint64_t first_ended_row;   // ~row
};

// batch: inputs and outputs of a step as EnvBatch says, but for the actions.
struct EnvCall {
  EnvBatch batch;
  std::int64_t num_envs;
  int num_actions;  // 0: continuous
  int action_size;  // floats of a continuous action
  // As a caller has them: num_envs (times action_size) a step. A rollout may give none, and draws them.
  RolloutActions actions;
  void* converted;  // uint8 or float32: num_envs (times action_size), of the step under way
  EnvStatus* status;
  // step: the observations go where they stay between calls. With batch.obs_holds_last the last call had put its own
  // there, if it was not refused: EnvStatus::obs_held says so.
  bool keeps_obs;

  // reset: of these rows, null: of all. They are seeded before.
  const std::uint8_t* mask;

  // What is told beside the step, to be written to masks: for the observation that is a number in [0, num_masks), which
  // actions change the state, num_actions a row. Null: nothing.
  const std::int8_t* action_masks;
  std::int64_t num_masks;
  std::int8_t* masks;

  // rollout: steps [begin, end) of the arrays; with begin = 0, obs[0] first. Of a reset or a step, only task_id, of one
  // step: the task that each row has afterwards.
  RolloutOutputs out;
  std::int64_t begin;
  std::int64_t end;
  std::int64_t obs_row_bytes;
};

// Observations that a call tells more of, beside its main kernel: masks, and but for a rollout the rows' tasks.
METARL_HD std::int64_t told_rows(const EnvCall& call) {
  if (call.out.obs == nullptr) return call.masks != nullptr || call.out.task_id != nullptr ? call.num_envs : 0;
  return call.masks == nullptr ? 0 : (call.end - call.begin + (call.begin == 0 ? 1 : 0)) * call.num_envs;
}

// Rows to seed before a reset, each named once; of them those in the mask, if there is one.
struct SeedCall {
  EnvBatch batch;
  const std::uint8_t* mask;
  const std::int64_t* rows;
  const std::uint64_t* seeds;
  const std::uint32_t* streams;
  std::int64_t count;
};

}  // namespace metarl::cuda
