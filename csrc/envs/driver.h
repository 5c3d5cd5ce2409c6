// The loops that every environment's kernels share: blocks of rows, time limit, autoreset.
//
// Included by kernel files only, which are compiled once per instruction-set level: everything here has internal
// linkage (METARL_HD), and a Model is a struct in the kernel file's anonymous namespace.
//
// A Model has: Real (type of the fields), Params, State, and static functions
//   State load(const Real* fields, int64 stride, int64 row);  void store(const State&, Real*, int64 stride, int64 row);
//   State reset(const Params&, const PhiloxBlock&, const Real* fields, int64 stride, int64 row);
//   void write_obs(const Params&, const State&, void* obs, int64 row);  size_t obs_bytes(const Params&);
// It may have
//   void reset_more(const EnvBatch&, const Params&, int64 row);
// which sets fields that need more random numbers than one block, after reset.
// A block model's functions are METARL_HD: a loop that calls one instead of containing it is not vectorised.
// A block model adds Int (an integer as wide as Real), Action, StoredAction, kObs and
//   Int step(const P&, State&, Action, Real& reward);  or, where fields count over episodes,
//   Int step(const Params&, State&, Action, Real& reward, Int live);  live is 0 where the row is about to be reset;
//   void observe(const Params&, const State&, float out[kObs]);
// where P is Params, or, in a model whose parameters can differ between rows, TaskParams (the same members of type
// Real)
//   TaskParams row_params(const Params&, const Real* task_values, int64 stride, int64 row);
// With wide_tasks in the definition, TaskReal = double is the type of the task values instead of Real. A block model
// whose actions are several floats has their number, kActionSize, and an Action with a member v[kActionSize].
// With a member int kStepUniforms > 0 its step takes that many numbers, uniform in [0, 1), after the reward:
//   Int step(const P&, State&, Action, Real& reward, const Real* uniforms);
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "metarl/detail/hd.h"
#include "metarl/detail/philox.h"
#include "metarl/env_batch.h"

// The loop's iterations do not depend on each other, which the compiler cannot see through the pointers.
#if defined(__CUDACC__)
#define METARL_VECTORIZE
#elif defined(__clang__)
#define METARL_VECTORIZE _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define METARL_VECTORIZE _Pragma("GCC ivdep")
#else
#define METARL_VECTORIZE
#endif

namespace metarl {

// METARL_ONE_ROW: a thread of a GPU has one row. Blocks of one row turn the loops' arrays into registers.
#if defined(__CUDACC__) && !defined(METARL_ONE_ROW)
#define METARL_ONE_ROW 1
#endif
#if defined(METARL_ONE_ROW)
#if !defined(METARL_ISA_NS)
#define METARL_ISA_NS one_row
#endif
constexpr std::int64_t kBlockRows = 1;
constexpr std::int64_t kFinishRows = 1;
constexpr std::int64_t kResetLanes = 1;
#else
constexpr std::int64_t kBlockRows = 128;
// Rows whose episodes' ends are seen to together. More than a block: the few that end fill whole vectors then.
constexpr std::int64_t kFinishRows = 4 * kBlockRows;
constexpr std::int64_t kResetLanes = 16;  // random numbers of new episodes are made for so many rows at a time
#endif

METARL_HD PhiloxBlock reset_random(const EnvBatch& b, std::int64_t row) {
  return philox(b.seed[row], b.stream[row], b.episode[row], kTagEnvReset);
}

// Another four words of a reset, for block = 1, 2, ...
METARL_HD PhiloxBlock reset_random(const EnvBatch& b, std::int64_t row, std::uint32_t block) {
  return philox(b.seed[row], b.stream[row], b.episode[row], kTagEnvReset + 256 * block);
}

// Step numbers: the counter holds the episode and the step in it, so no state is kept.
METARL_HD PhiloxBlock step_random(const EnvBatch& b, std::int64_t row, std::uint32_t block = 0) {
  return philox4x32(b.seed[row], b.stream[row], static_cast<std::uint32_t>(b.elapsed[row]), b.episode[row],
                    kTagEnvStep + 256 * block);
}

// Words 0 and 1 of the steps' random numbers of `count` rows, at most kBlockRows, as uniform numbers in [0, 1). In
// three loops, each of which vectorises.
METARL_HD void step_uniforms(const EnvBatch& b, std::int64_t first, std::int64_t count, double* uniform) {
  const std::uint64_t* const seed = b.seed + first;
  const std::uint32_t* const stream = b.stream + first;
  const std::uint32_t* const episode = b.episode + first;
  const std::int32_t* const elapsed = b.elapsed + first;
  std::uint32_t word[2][kBlockRows];
  std::uint64_t bits[kBlockRows];
  METARL_VECTORIZE
  for (std::int64_t k = 0; k < count; ++k) {
    const PhiloxBlock random =
        philox4x32(seed[k], stream[k], static_cast<std::uint32_t>(elapsed[k]), episode[k], kTagEnvStep);
    word[0][k] = random.v[0];
    word[1][k] = random.v[1];
  }
  METARL_VECTORIZE
  for (std::int64_t k = 0; k < count; ++k) bits[k] = std::uint64_t{word[0][k]} << 32 | word[1][k];
  METARL_VECTORIZE
  for (std::int64_t k = 0; k < count; ++k) uniform[k] = uniform53(bits[k]);
}

// One word as a number in [0, 1): of 32 bits as a double, of 24 as a float.
template <class Real>
METARL_HD Real uniform32(std::uint32_t word) {
  if constexpr (sizeof(Real) == sizeof(double)) {
    return static_cast<Real>(word) * static_cast<Real>(0x1.0p-32);
  } else {
    return static_cast<Real>(word >> 8) * static_cast<Real>(0x1.0p-24);
  }
}

// Uniform numbers of a step: four a block, one array of kBlockRows for each.
template <int kCount, class Real>
METARL_HD void block_uniforms(const EnvBatch& b, std::int64_t first, std::int64_t count,
                              Real (&uniform)[kCount][kBlockRows]) {
  const std::uint64_t* const seed = b.seed + first;
  const std::uint32_t* const stream = b.stream + first;
  const std::uint32_t* const episode = b.episode + first;
  const std::int32_t* const elapsed = b.elapsed + first;
  std::uint32_t word[4][kBlockRows];
  for (int j = 0; j < kCount; ++j) {
    if (j % 4 == 0) {
      const std::uint32_t tag = kTagEnvStep + 256 * static_cast<std::uint32_t>(j / 4);
      METARL_VECTORIZE
      for (std::int64_t k = 0; k < count; ++k) {
        const PhiloxBlock random =
            philox4x32(seed[k], stream[k], static_cast<std::uint32_t>(elapsed[k]), episode[k], tag);
        for (int w = 0; w < 4; ++w) word[w][k] = random.v[w];
      }
    }
    METARL_VECTORIZE
    for (std::int64_t k = 0; k < count; ++k) uniform[j][k] = uniform32<Real>(word[j % 4][k]);
  }
}

template <class Model>
constexpr int kStepUniforms = 0;
template <class Model>
  requires requires { Model::kStepUniforms; }
constexpr int kStepUniforms<Model> = Model::kStepUniforms;

template <class Model>
concept HasTasks = requires { typename Model::TaskParams; };

template <class Model>
struct TaskRealOf {
  using type = typename Model::Real;
};
template <class Model>
  requires requires { typename Model::TaskReal; }
struct TaskRealOf<Model> {
  using type = typename Model::TaskReal;
};
template <class Model>
using TaskReal = typename TaskRealOf<Model>::type;

// Floats of an action; 1 also where an action is an integer.
template <class Model>
constexpr int kActionSize = 1;
template <class Model>
  requires requires { Model::kActionSize; }
constexpr int kActionSize<Model> = Model::kActionSize;

// Gives a row one of the tasks in the table, if there is one.
template <class Real>
METARL_HD void draw_task(const EnvBatch& b, std::int64_t row) {
  if (b.task_table == nullptr) return;
  const PhiloxBlock random = philox(b.seed[row], b.stream[row], b.episode[row], kTagEnvTask);
  const auto size = static_cast<std::uint64_t>(b.task_table_size);  // below 2^31
  const auto task = static_cast<std::int64_t>((random.v[0] * size + (random.v[1] * size >> 32)) >> 32);
  const Real* const table = static_cast<const Real*>(b.task_table);
  Real* const values = static_cast<Real*>(b.task_values);
  for (int k = 0; k < b.num_task_values; ++k) values[k * b.stride + row] = table[k * b.task_table_size + task];
  b.task_id[row] = static_cast<std::int32_t>(task);
  if (b.layout_bytes > 0) {
    std::memcpy(b.layouts + row * b.layout_bytes, b.table_layouts + task * b.layout_bytes,
                static_cast<std::size_t>(b.layout_bytes));
  }
}

// Starts a new episode in one row, from these random numbers.
template <class Model>
METARL_HD void reset_row(const EnvBatch& b, const typename Model::Params& p, std::int64_t row,
                         const PhiloxBlock& random) {
  using Real = typename Model::Real;
  auto* fields = static_cast<Real*>(b.state);
  bool own_task = false;
  if constexpr (HasTasks<Model>) {
    own_task = b.task_values != nullptr;
    if (own_task) {
      draw_task<TaskReal<Model>>(b, row);
      const auto task = Model::row_params(p, static_cast<const TaskReal<Model>*>(b.task_values), b.stride, row);
      Model::store(Model::reset(task, random, fields, b.stride, row), fields, b.stride, row);
    }
  }
  if (!own_task) Model::store(Model::reset(p, random, fields, b.stride, row), fields, b.stride, row);
  if constexpr (requires { Model::reset_more(b, p, row); }) Model::reset_more(b, p, row);
  ++b.episode[row];
  b.elapsed[row] = 0;
  b.done[row] = 0;
}

template <class Model>
METARL_HD void observe_row(const EnvBatch& b, const typename Model::Params& p, std::int64_t row) {
  const auto* fields = static_cast<const typename Model::Real*>(b.state);
  Model::write_obs(p, Model::load(fields, b.stride, row), b.obs, row);
}

// Writes the rows of [begin, end) whose flag (0 or 1) is set to `rows`; returns how many. The flags of 64 rows become
// the bits of a word, so that there is one branch for each row that is set and not one for each that may be.
METARL_HD std::int64_t flagged_rows(const std::uint8_t* flags, std::int64_t begin, std::int64_t end,
                                    std::int64_t* rows) {
  std::int64_t count = 0;
  std::int64_t row = begin;
  for (; row + 64 <= end; row += 64) {
    std::uint64_t set = 0;
    for (int byte = 0; byte < 8; ++byte) {
      std::uint64_t eight;
      std::memcpy(&eight, flags + row + 8 * byte, 8);
      // The product's highest byte has flag i at bit i (little endian).
      set |= (eight * 0x0102040810204080u >> 56) << (8 * byte);
    }
    for (; set != 0; set &= set - 1) rows[count++] = row + std::countr_zero(set);
  }
  for (; row < end; ++row) {
    rows[count] = row;
    count += flags[row] != 0;
  }
  return count;
}

// Starts new episodes in `count` rows, at most kFinishRows, and writes their observations. The random numbers are made
// first, in a loop that vectorises.
template <class Model>
METARL_HD void reset_listed(const EnvBatch& b, const typename Model::Params& p, const std::int64_t* rows,
                            std::int64_t count) {
  std::uint64_t seed[kFinishRows];
  std::uint32_t stream[kFinishRows], episode[kFinishRows], word[4][kFinishRows];
  for (std::int64_t k = 0; k < count; ++k) {
    seed[k] = b.seed[rows[k]];
    stream[k] = b.stream[rows[k]];
    episode[k] = b.episode[rows[k]];
  }
  // Few rows end in one step: whole vectors of which some lanes are thrown away cost less than a scalar remainder.
  const std::int64_t lanes = (count + kResetLanes - 1) / kResetLanes * kResetLanes;
  for (std::int64_t k = count; k < lanes; ++k) seed[k] = stream[k] = episode[k] = 0;
  METARL_VECTORIZE
  for (std::int64_t k = 0; k < lanes; ++k) {
    const PhiloxBlock random = philox(seed[k], stream[k], episode[k], kTagEnvReset);
    word[0][k] = random.v[0];
    word[1][k] = random.v[1];
    word[2][k] = random.v[2];
    word[3][k] = random.v[3];
  }
  for (std::int64_t k = 0; k < count; ++k) {
    reset_row<Model>(b, p, rows[k], PhiloxBlock{{word[0][k], word[1][k], word[2][k], word[3][k]}});
    observe_row<Model>(b, p, rows[k]);
  }
}

// For blocks of one row. The batch is a copy, so that the caller's can stay in registers.
template <class Model>
METARL_HD_CALL void start_episode(const EnvBatch b, std::int64_t row) {
  const auto& p = *static_cast<const typename Model::Params*>(b.params);
  reset_row<Model>(b, p, row, reset_random(b, row));
  observe_row<Model>(b, p, row);
}

// As finish_rows, with one place where an episode starts.
template <class Model>
METARL_HD void finish_row(const EnvBatch& b, const typename Model::Params& p, std::int64_t row) {
  const std::int32_t elapsed = b.elapsed[row] + 1;
  b.elapsed[row] = elapsed;
  std::uint8_t ended = 0;
  bool starts = b.mode == AutoresetMode::next_step && b.done[row] != 0;
  if (starts) {
    b.reward[row] = 0.0;
    b.terminated[row] = 0;
    b.truncated[row] = 0;
    if (b.prob != nullptr) b.prob[row] = 1.0;
  } else {
    const auto truncated = static_cast<std::uint8_t>(elapsed >= b.max_episode_steps);
    b.truncated[row] = truncated;
    ended = static_cast<std::uint8_t>(b.terminated[row] | truncated);
    if (b.mode == AutoresetMode::same_step && ended != 0) {
      const std::size_t bytes = Model::obs_bytes(p);
      const std::size_t offset = static_cast<std::size_t>(row) * bytes;
      std::memcpy(static_cast<char*>(b.final_obs) + offset, static_cast<const char*>(b.obs) + offset, bytes);
      starts = true;
    }
  }
  if (starts) start_episode<Model>(b, row);
  (b.mode == AutoresetMode::same_step ? b.ended : b.done)[row] = ended;
}

// After the dynamics wrote state, reward, terminated and obs of at most kFinishRows rows: time limit and autoreset.
template <class Model>
METARL_HD void finish_rows(const EnvBatch& b, const typename Model::Params& p, std::int64_t begin, std::int64_t end) {
  if constexpr (kBlockRows == 1) return finish_row<Model>(b, p, begin);
  const std::int32_t limit = b.max_episode_steps;
  std::int32_t* const elapsed = b.elapsed;
  std::uint8_t* const terminated = b.terminated;
  std::uint8_t* const truncated = b.truncated;
  std::int64_t rows[kFinishRows];
  METARL_VECTORIZE
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int32_t e = elapsed[i] + 1;
    elapsed[i] = e;
    truncated[i] = static_cast<std::uint8_t>(e >= limit);
  }
  if (b.mode == AutoresetMode::next_step) {
    // A row that ended in the last step is reset now: what the dynamics made of it is thrown away.
    const std::int64_t count = flagged_rows(b.done, begin, end, rows);
    reset_listed<Model>(b, p, rows, count);
    for (std::int64_t k = 0; k < count; ++k) {
      const std::int64_t i = rows[k];
      b.reward[i] = 0.0;
      terminated[i] = 0;
      truncated[i] = 0;
      if (b.prob != nullptr) b.prob[i] = 1.0;
    }
  }
  std::uint8_t* const ended = b.mode == AutoresetMode::same_step ? b.ended : b.done;
  METARL_VECTORIZE
  for (std::int64_t i = begin; i < end; ++i) ended[i] = static_cast<std::uint8_t>(terminated[i] | truncated[i]);
  if (b.mode == AutoresetMode::same_step) {
    const std::size_t bytes = Model::obs_bytes(p);
    const std::int64_t count = flagged_rows(ended, begin, end, rows);
    for (std::int64_t k = 0; k < count; ++k) {
      const std::size_t offset = static_cast<std::size_t>(rows[k]) * bytes;
      std::memcpy(static_cast<char*>(b.final_obs) + offset, static_cast<const char*>(b.obs) + offset, bytes);
    }
    reset_listed<Model>(b, p, rows, count);
  }
}

// The reset kernel of every environment.
template <class Model>
METARL_HD void reset_rows(const EnvBatch& b, const std::uint8_t* mask, std::int64_t begin, std::int64_t end) {
  const auto& p = *static_cast<const typename Model::Params*>(b.params);
  if constexpr (kBlockRows == 1) {
    if (mask == nullptr || mask[begin]) return start_episode<Model>(b, begin);
    return observe_row<Model>(b, p, begin);
  }
  for (std::int64_t i = begin; i < end; ++i) {
    if (mask == nullptr || mask[i]) reset_row<Model>(b, p, i, reset_random(b, i));
    observe_row<Model>(b, p, i);
  }
}

// The step kernel of environments with a few real fields and float32 observations: vectorised across rows. kTasks: with
// the parameters of each row.
template <class Model, bool kTasks>
METARL_HD void step_block_rows(const EnvBatch& batch, std::int64_t begin, std::int64_t end) {
  const EnvBatch b = batch;  // a copy: its pointers can then live in registers
  using Real = typename Model::Real;
  using Int = typename Model::Int;
  using Action = typename Model::Action;
  const typename Model::Params p = *static_cast<const typename Model::Params*>(b.params);
  double* const reward_out = b.reward;
  std::uint8_t* const terminated_out = b.terminated;
  Real* const fields = static_cast<Real*>(b.state);
  const std::int64_t stride = b.stride;
  const auto* const tasks = static_cast<const TaskReal<Model>*>(b.task_values);
  const auto* const actions = static_cast<const typename Model::StoredAction*>(b.actions);
  constexpr int kSize = kActionSize<Model>;
  alignas(64) Action action[kSize == 1 ? kBlockRows : 1];
  alignas(64) typename Model::StoredAction part[kSize == 1 ? 1 : kSize][kSize == 1 ? 1 : kBlockRows];
  const auto action_of = [&](std::int64_t k) {
    if constexpr (kSize == 1) {
      return action[k];
    } else {
      Action a;
      for (int j = 0; j < kSize; ++j) a.v[j] = part[j][k];
      return a;
    }
  };
  alignas(64) Int ended[kBlockRows];
  alignas(64) Real reward[kBlockRows];
  alignas(64) float component[Model::kObs][kBlockRows];
  constexpr bool kCounts =
      requires(typename Model::State s, Action a, Real r, Int live) { Model::step(p, s, a, r, live); };
  alignas(64) Int live[kCounts ? kBlockRows : 1];
  constexpr int kUniforms = kStepUniforms<Model>;
  alignas(64) Real uniform[kUniforms > 0 ? kUniforms : 1][kBlockRows];
  std::int64_t finished = begin;
  for (std::int64_t first = begin; first < end; first += kBlockRows) {
    const std::int64_t n = end - first < kBlockRows ? end - first : kBlockRows;
    // One element width a loop: mixed widths vectorise badly.
    if constexpr (kSize == 1) {
      METARL_VECTORIZE
      for (std::int64_t k = 0; k < n; ++k) action[k] = static_cast<Action>(actions[first + k]);
    } else {
      METARL_VECTORIZE
      for (std::int64_t k = 0; k < n; ++k) {
        for (int j = 0; j < kSize; ++j) part[j][k] = actions[(first + k) * kSize + j];
      }
    }
    if constexpr (kCounts) {
      const std::uint8_t resets = b.mode == AutoresetMode::next_step;
      METARL_VECTORIZE
      for (std::int64_t k = 0; k < n; ++k) live[k] = (b.done[first + k] & resets) == 0;
    }
    if constexpr (kUniforms > 0) block_uniforms(b, first, n, uniform);
    METARL_VECTORIZE
    for (std::int64_t k = 0; k < n; ++k) {
      typename Model::State s = Model::load(fields, stride, first + k);
      Real r;
      if constexpr (kUniforms > 0) {
        Real u[kUniforms];
        for (int j = 0; j < kUniforms; ++j) u[j] = uniform[j][k];
        if constexpr (kTasks) {
          ended[k] = Model::step(Model::row_params(p, tasks, stride, first + k), s, action_of(k), r, u);
        } else {
          ended[k] = Model::step(p, s, action_of(k), r, u);
        }
      } else if constexpr (kTasks) {
        const auto task = Model::row_params(p, tasks, stride, first + k);
        if constexpr (kCounts) {
          ended[k] = Model::step(task, s, action_of(k), r, live[k]);
        } else {
          ended[k] = Model::step(task, s, action_of(k), r);
        }
      } else if constexpr (kCounts) {
        ended[k] = Model::step(p, s, action_of(k), r, live[k]);
      } else {
        ended[k] = Model::step(p, s, action_of(k), r);
      }
      reward[k] = r;
      Model::store(s, fields, stride, first + k);
    }
    METARL_VECTORIZE
    for (std::int64_t k = 0; k < n; ++k) {
      float c[Model::kObs];
      Model::observe(p, Model::load(fields, stride, first + k), c);
      for (int j = 0; j < Model::kObs; ++j) component[j][k] = c[j];
    }
    float* const obs = static_cast<float*>(b.obs) + first * Model::kObs;
    METARL_VECTORIZE
    for (std::int64_t k = 0; k < n; ++k) {
      for (int j = 0; j < Model::kObs; ++j) obs[k * Model::kObs + j] = component[j][k];
    }
    METARL_VECTORIZE
    for (std::int64_t k = 0; k < n; ++k) reward_out[first + k] = static_cast<double>(reward[k]);
    METARL_VECTORIZE
    for (std::int64_t k = 0; k < n; ++k) terminated_out[first + k] = static_cast<std::uint8_t>(ended[k]);
    if (first + n == end || first + n - finished == kFinishRows) {
      finish_rows<Model>(b, p, finished, first + n);
      finished = first + n;
    }
  }
}

template <class Model>
METARL_HD void step_blocks(const EnvBatch& b, std::int64_t begin, std::int64_t end) {
  if constexpr (HasTasks<Model>) {
    if (b.task_values != nullptr) return step_block_rows<Model, true>(b, begin, end);
  }
  step_block_rows<Model, false>(b, begin, end);
}

template <class Model>
METARL_HD void write_float_obs(const typename Model::Params& p, const typename Model::State& s, void* obs,
                               std::int64_t row) {
  float c[Model::kObs];
  Model::observe(p, s, c);
  std::memcpy(static_cast<float*>(obs) + row * Model::kObs, c, sizeof(c));
}

template <class Real>
struct IntOfWidth;
template <>
struct IntOfWidth<double> {
  using type = std::int64_t;
};
template <>
struct IntOfWidth<float> {
  using type = std::int32_t;
};

// A Rows is what a kernel runs, on the CPU for a range of rows, on a GPU for one row a thread: its Model, and static
// functions
//   void step(const EnvBatch&, int64 begin, int64 end);
//   void reset(const EnvBatch&, const uint8* mask, int64 begin, int64 end);
// This is a block model's.
template <class Model_>
struct BlockRows {
  using Model = Model_;
  METARL_HD void step(const EnvBatch& b, std::int64_t begin, std::int64_t end) { step_blocks<Model>(b, begin, end); }
  METARL_HD void reset(const EnvBatch& b, const std::uint8_t* mask, std::int64_t begin, std::int64_t end) {
    reset_rows<Model>(b, mask, begin, end);
  }
};

// The CPU's kernels of a Rows.
#define METARL_DEFINE_ROWS_KERNELS(env, ...)                                                                     \
  void env##_step(const EnvBatch& b, std::int64_t begin, std::int64_t end) { __VA_ARGS__::step(b, begin, end); } \
  void env##_reset(const EnvBatch& b, const std::uint8_t* mask, std::int64_t begin, std::int64_t end) {          \
    __VA_ARGS__::reset(b, mask, begin, end);                                                                     \
  }

}  // namespace metarl
