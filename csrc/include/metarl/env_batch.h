// What the kernels of an environment work on. Libraries with environments of their own are compiled against this
// header: a change here raises kAbiVersion in envs/library.h.
#pragma once

#include <cstdint>

namespace metarl {

// What happens after an episode ended, as Gymnasium 1.x defines it: the next step resets the row and ignores its action
// (next_step), the same step resets it and hands out the last observation apart (same_step), or the caller resets it.
enum class AutoresetMode : std::uint8_t { next_step, same_step, disabled };

enum class FieldType : std::uint8_t { float32, float64, int32, uint8 };
enum class ObsType : std::uint8_t { float32, int64, boolean, uint8 };  // boolean: one byte, 0 or 1

// Everything that the kernels of one environment read and write; rows are environments.
struct EnvBatch {
  // Field f of row i is element f * stride + i, of the definition's FieldType; if that is row_major, element
  // i * fields + f.
  void* state = nullptr;
  std::int64_t stride = 0;
  std::int32_t* elapsed = nullptr;   // steps since the row's last reset
  std::uint32_t* episode = nullptr;  // resets of the row since it was seeded: the time of its random numbers
  std::uint64_t* seed = nullptr;
  std::uint32_t* stream = nullptr;
  std::uint8_t* done = nullptr;  // the row's episode has ended and was not reset yet
  const void* params = nullptr;
  // Parameters that differ between rows: number k of row i is element k * stride + i, of the FieldType, but int32 where
  // that is uint8 and double with the definition's wide_tasks. Null: none do.
  void* task_values = nullptr;
  int num_task_values = 0;
  std::int32_t* task_id = nullptr;
  // Tasks that a reset draws from: number k of task t is element k * size + t. Null: rows keep theirs.
  const void* task_table = nullptr;
  std::int64_t task_table_size = 0;
  // What the definition's make_layout has made of the tasks, layout_bytes each: of every row, and of the table.
  std::uint8_t* layouts = nullptr;
  const std::uint8_t* table_layouts = nullptr;
  std::int64_t layout_bytes = 0;
  std::int32_t max_episode_steps = 0;  // no limit: the largest int32
  AutoresetMode mode = AutoresetMode::next_step;

  // Inputs and outputs of the current call.
  const void* actions = nullptr;  // uint8 (discrete) or float32 (continuous, action_size a row), checked
  const double* draws = nullptr;  // test hook: random numbers to use in place of Philox's, draws_per_row a row
  void* obs = nullptr;
  double* reward = nullptr;
  std::uint8_t* terminated = nullptr;
  std::uint8_t* truncated = nullptr;
  double* prob = nullptr;            // FrozenLake: probability of the transition taken
  void* final_obs = nullptr;         // same_step: last observation of the rows in `ended`
  std::uint8_t* ended = nullptr;     // the row's episode ended in this step
  std::uint8_t* end_flag = nullptr;  // DeepSea: the episode that ended in this step was a bad one
  bool obs_holds_last = false;       // obs still holds the last step's observations: change only what differs
};

}  // namespace metarl
