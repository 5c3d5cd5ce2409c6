// A batch of equal environments, stepped together: the structure-of-arrays core behind metarl_core.make_vec.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "metarl/aligned_memory.h"
#include "metarl/env_batch.h"
#include "metarl/rollout.h"
#include "metarl/thread_pool.h"

namespace metarl {

// Step or masked reset of rows that have no episode to continue.
class ResetNeeded : public std::logic_error {
  using std::logic_error::logic_error;
};

// One environment: its layout, its parameters and its kernels.
struct EnvDefinition {
  std::string name;
  std::vector<std::string> field_names;
  FieldType field_type = FieldType::float64;
  bool row_major = false;     // rows are contiguous: for many small fields that are used together
  std::int64_t obs_size = 1;  // elements a row
  ObsType obs_type = ObsType::float32;
  int num_actions = 0;    // 0: continuous actions
  int action_size = 1;    // floats of a continuous action
  int draws_per_row = 0;  // random numbers a step takes; 0 when the dynamics are deterministic
  bool has_prob = false;
  bool has_end_flag = false;
  std::vector<std::int8_t> action_masks;  // Taxi: [observation][action], whether it changes the state; else empty
  bool incremental_obs = false;           // the step kernel honours obs_holds_last
  double nanoseconds_per_row = 5;         // rough cost, decides on threads
  std::shared_ptr<const void> params;     // plain data of params_bytes, which points to params_arrays and nothing else
  std::size_t params_bytes = 0;
  struct ParamsArray {
    std::size_t offset;  // of the pointer in the parameters
    std::size_t bytes;   // that it points to
  };
  std::vector<ParamsArray> params_arrays;
  const char* kernels = "";  // by this name a GPU has them, too (csrc/cuda)
  // Parameters that may differ between rows, in the kernels' order, and what they are otherwise.
  std::vector<std::string> task_parameters;
  std::vector<double> task_defaults;
  bool wide_tasks = false;  // the kernels take them as double, whatever the type of the fields
  // What follows from a task and is too much work for a step, such as a map: bytes a row, made from its numbers.
  std::int64_t layout_bytes = 0;
  void (*make_layout)(const void* params, const double* task, std::uint8_t* layout) = nullptr;
  void (*step)(const EnvBatch&, std::int64_t begin, std::int64_t end) = nullptr;
  // Resets the rows with mask[i] != 0 (all when mask is null) and writes every row's observation.
  void (*reset)(const EnvBatch&, const std::uint8_t* mask, std::int64_t begin, std::int64_t end) = nullptr;
  // Whether the fields of one row, rounded to the field type, are a state the environment can be in (for set_state).
  bool (*valid_state)(const void* params, const double* fields) = nullptr;

  int action_width() const { return num_actions > 0 ? 1 : action_size; }  // numbers of an action
  std::size_t action_bytes() const {                                      // as the kernels take it
    return num_actions > 0 ? sizeof(std::uint8_t) : sizeof(float) * static_cast<std::size_t>(action_size);
  }
};

// Parameters by name, as Python hands them over; the numbers are checked there.
struct EnvOptions {
  std::map<std::string, double> numbers;
  std::vector<std::uint8_t> table;  // DeepSea: action mapping; FrozenLake: map; row-major
  std::int64_t table_rows = 0;
  std::int64_t table_columns = 0;
};

// Throws std::invalid_argument for an unknown id or a missing option.
EnvDefinition make_env_definition(const std::string& id, const EnvOptions& options);

struct StepOutputs {
  void* obs = nullptr;  // num_envs x obs_size
  double* reward = nullptr;
  std::uint8_t* terminated = nullptr;
  std::uint8_t* truncated = nullptr;
  double* prob = nullptr;              // may be null
  std::int8_t* action_mask = nullptr;  // num_envs x num_actions; may be null
};

// Everything a step depends on, by row. For set_state, what is null stays as it is.
template <template <class> class Pointer>
struct BasicEnvState {
  Pointer<double> fields = nullptr;  // row-major [num_envs][fields]
  Pointer<std::int32_t> elapsed = nullptr;
  Pointer<std::uint32_t> episode = nullptr;
  Pointer<std::uint64_t> seed = nullptr;
  Pointer<std::uint32_t> stream = nullptr;
  Pointer<std::uint8_t> done = nullptr;
  Pointer<double> tasks = nullptr;  // row-major [num_envs][task_parameters], with task_id
  Pointer<std::int32_t> task_id = nullptr;
};
template <class T>
using MutablePointer = T*;
template <class T>
using ConstPointer = const T*;
using EnvStateOut = BasicEnvState<MutablePointer>;
using EnvStateIn = BasicEnvState<ConstPointer>;

// Rows by number, in the caller's order. Null: all of them.
struct RowList {
  const std::int64_t* rows = nullptr;
  std::int64_t count = 0;
};

// Rows to seed before a reset: the row's random numbers from then on. Rows with equal seed and stream play equal
// episodes.
struct RowSeeds {
  const std::int64_t* rows = nullptr;  // in [0, num_envs)
  const std::uint64_t* seeds = nullptr;
  const std::uint32_t* streams = nullptr;
  std::int64_t count = 0;
};

// One caller at a time: a second one gets std::runtime_error while a call is running. What ended, final_obs, any_ended
// and end_flags give is read between calls only.
class BatchEnv {
 public:
  // Throws std::bad_alloc; num_envs >= 1 and num_threads >= 1 are preconditions.
  BatchEnv(EnvDefinition definition, std::int64_t num_envs, int num_threads, AutoresetMode mode,
           std::int32_t max_episode_steps, std::uint64_t seed);

  const EnvDefinition& definition() const { return definition_; }
  std::int64_t num_envs() const { return num_envs_; }
  int num_threads() const { return pool_.num_threads(); }
  AutoresetMode autoreset_mode() const { return mode_; }
  std::size_t obs_row_bytes() const;
  // Rough duration of a step, to decide whether releasing a lock around it pays.
  double estimated_step_nanoseconds() const { return static_cast<double>(num_envs_) * definition_.nanoseconds_per_row; }

  // Seeds, then resets the masked rows (all when mask is null) and writes all observations to obs. Throws ResetNeeded,
  // with nothing changed, for a mask before the first reset of all rows.
  void reset(const std::uint8_t* mask, void* obs, const RowSeeds& seeds = {});

  // actions: num_envs elements of the given type (times action_size if continuous), contiguous. Throws
  // std::invalid_argument naming the first illegal action, or ResetNeeded, with nothing changed. obs_holds_last: see
  // EnvBatch. poll is called on the calling thread about every 20 ms of a long step; when it throws, the batch is left
  // half stepped and needs a reset.
  void step(const void* actions, ActionType type, const StepOutputs& out, bool obs_holds_last = false,
            void (*poll)() = nullptr);
  // Steps [begin, end) of the arrays in `out`, bit for bit as that many calls of step; with begin = 0, obs[0] first.
  // With autoreset disabled, a row whose episode ends stays as it is from then on, and with begin > 0 rows may have
  // ended before. Errors as of step(), of all actions before the first step.
  void rollout(const RolloutActions& actions, std::int64_t begin, std::int64_t end, const RolloutOutputs& out,
               void (*poll)() = nullptr);
  // Test hook: the next step takes its random numbers from here, draws_per_row a row.
  void set_draws(std::vector<double> draws);

  // Last step in same_step mode: the rows that ended, and their last observations (other rows: undefined).
  const std::uint8_t* ended() const { return ended_.data(); }
  const void* final_obs() const { return final_obs_.data(); }
  bool any_ended() const;
  const std::uint8_t* end_flags() const { return end_flag_.data(); }

  // Writes field f of every row. Throws std::out_of_range.
  void get_field(std::size_t f, double* out);
  // Throws ResetNeeded before the first reset and after an interrupted call, and unless rows_may_have_ended also where
  // step would for a row that has.
  void check_ready(bool rows_may_have_ended) const;

  // Writes what is not null; tasks and task_id only with has_tasks(). Throws std::out_of_range for a row that is not
  // there; a row may be named more than once.
  void get_state(const EnvStateOut& out, const RowList& rows = {});
  // Rounds the fields to the type they are kept in. Throws std::invalid_argument naming the first row that is not a
  // state of the environment, or whose `elapsed` is not in [0, 2^31 - 1), or that is named twice, and std::out_of_range
  // for one that is not there, with nothing changed. With fields of all rows, no reset is needed before the next step.
  // Tasks, which the environment must be able to have, hold until a reset draws another one from the table.
  void set_state(const EnvStateIn& in, const RowList& rows = {});
  // Parameters of every row, task_parameters.size() numbers each (row-major), rounded to the type that the kernels
  // take, and its number, from the next step on. Null values: all rows have the environment's own again, and no
  // numbers.
  void set_tasks(const double* values, const std::int32_t* ids);
  // From now on every reset of a row draws one of `count` tasks, in [1, 2^31); the rows keep theirs until then.
  void set_task_table(const double* values, std::int64_t count);
  std::int64_t task_table_size() const { return task_table_size_; }
  // As set_task_table takes them, task_table_size() of them.
  void get_task_table(double* values);
  bool has_tasks() const { return !task_values_.empty(); }
  // Precondition: has_tasks().
  void get_tasks(double* values, std::int32_t* ids);
  const std::int32_t* task_ids() const { return task_id_.data(); }

  // Writes every row's observation, changes nothing.
  void observe(void* obs);

  std::int32_t max_episode_steps() const { return max_episode_steps_; }
  bool is_ready() const { return ready_; }
  // Everything that steps change or read, by name and as the kernels have it: for a copy in other memory, such as a
  // GPU's (csrc/cuda/env.h).
  struct Array {
    std::string name;
    const void* data;
    std::size_t bytes;
  };
  std::vector<Array> arrays() const;
  // Takes over what arrays() of an equal batch gave, and whether it was ready to step. Throws std::invalid_argument
  // unless these are all names, in any order, with sizes that fit, with nothing changed.
  void set_arrays(const std::vector<Array>& arrays, bool ready);

  // Ends the threads.
  void stop_threads() { pool_.stop(); }

 private:
  friend class AsyncEnv;
  template <class Env, class Visit>
  static void visit_arrays(Env& env, const Visit& visit);
  class InUse;
  struct Chosen;
  struct Rollout;
  EnvBatch batch();
  void check_state(const EnvStateIn& in, std::int64_t count) const;
  std::string action_place(std::int64_t index) const;  // "row", or "row, component" where an action has several
  [[noreturn]] void refuse_action(const void* actions, ActionType type, std::int64_t index,
                                  const std::string& where) const;
  void own_tasks();
  std::int64_t rows_per_block() const;
  AlignedMemory rollout_checked(const RolloutActions& actions, std::int64_t begin, std::int64_t steps, void (*poll)());
  void rollout_start(const Rollout& r, std::int64_t row, std::int64_t last);
  void rollout_actions(const Rollout& r, EnvBatch& b, std::int64_t t, std::int64_t row, std::int64_t last);
  void rollout_stay(const EnvBatch& b, std::int64_t row, std::int64_t last);
  void rollout_step(const Rollout& r, std::int64_t t, std::int64_t row, std::int64_t last);
  template <class Function>
  void for_rows(std::int64_t begin, std::int64_t end, const Function& function, std::int64_t steps = 1);
  std::int64_t rows_per_poll() const;
  void check_actions(const void* actions, ActionType type);
  std::vector<std::byte> task_columns(const double* values, std::int64_t count) const;
  std::vector<std::uint8_t> layouts_of(const double* values, std::int64_t count) const;
  FieldType task_type() const;

  EnvDefinition definition_;
  std::int64_t num_envs_;
  AutoresetMode mode_;
  std::int32_t max_episode_steps_;
  bool ready_ = false;
  std::atomic<bool> in_use_{false};
  std::vector<std::byte> state_;
  std::vector<std::int32_t> elapsed_;
  std::vector<std::uint32_t> episode_;
  std::vector<std::uint64_t> seed_;
  std::vector<std::uint32_t> stream_;
  std::vector<std::uint8_t> done_;
  std::vector<std::uint8_t> ended_;
  std::vector<std::uint8_t> end_flag_;
  std::vector<std::byte> final_obs_;
  std::vector<std::byte> actions_;
  std::vector<double> draws_;
  std::vector<std::byte> task_values_;
  std::vector<std::int32_t> task_id_;
  std::vector<std::byte> task_table_;
  std::int64_t task_table_size_ = 0;
  std::vector<std::uint8_t> layouts_, table_layouts_;
  ThreadPool pool_;
};

}  // namespace metarl
