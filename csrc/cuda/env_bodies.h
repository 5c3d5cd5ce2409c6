// Kernel bodies that reset and step environments: one thread a row, around the code that the CPU runs for many rows (a
// Rows of envs/driver.h). Threads share nothing but the status, so rows are read and written directly; the status goes
// through the context.
//
// A step is three launches: check the actions, step, finish. Whether a call is refused is decided before any row
// changes, on the device, so a call neither waits nor reads back and can be captured in a graph.
#pragma once

#include <cstdint>

#include "context.h"
#include "device_env.h"
#include "metarl/detail/hd.h"
#include "metarl/env/driver.h"
#include "metarl/env/random_actions.h"

namespace metarl::cuda {

constexpr int kEnvThreads = 128;

// Blocks of a launch in which every item has a thread, but beyond 2^20 blocks a thread takes several.
constexpr unsigned env_blocks(std::int64_t items) {
  constexpr std::int64_t kMostBlocks = 1 << 20;
  const std::int64_t blocks = (items + kEnvThreads - 1) / kEnvThreads;
  return static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks);
}

// Element `item` of the given actions, and whether it is one: an integer in [0, num_actions), or a finite float.
struct GivenAction {
  bool good;
  std::int64_t integer;
  double number;
};

template <class T>
METARL_KERNEL GivenAction read_action(const void* actions, std::int64_t item, int num_actions) {
  const T value = static_cast<const T*>(actions)[item];
  if constexpr (static_cast<T>(0.5) == T{0}) {
    // A negative one becomes a very large one.
    return {static_cast<std::uint64_t>(value) < static_cast<std::uint64_t>(num_actions),
            static_cast<std::int64_t>(value), 0.0};
  } else {
    // As the environment takes it: a double may be too large for a float.
    const auto taken = static_cast<float>(value);
    return {taken - taken == 0, 0, static_cast<double>(value)};
  }
}

METARL_KERNEL_CALL GivenAction read_action(const void* data, ActionType type, std::int64_t item, int num_actions) {
  switch (type) {
    case ActionType::int8:
      return read_action<std::int8_t>(data, item, num_actions);
    case ActionType::int16:
      return read_action<std::int16_t>(data, item, num_actions);
    case ActionType::int32:
      return read_action<std::int32_t>(data, item, num_actions);
    case ActionType::int64:
      return read_action<std::int64_t>(data, item, num_actions);
    case ActionType::uint8:
      return read_action<std::uint8_t>(data, item, num_actions);
    case ActionType::uint16:
      return read_action<std::uint16_t>(data, item, num_actions);
    case ActionType::uint32:
      return read_action<std::uint32_t>(data, item, num_actions);
    case ActionType::uint64:
      return read_action<std::uint64_t>(data, item, num_actions);
    case ActionType::float32:
      return read_action<float>(data, item, num_actions);
    case ActionType::float64:
      return read_action<double>(data, item, num_actions);
  }
  return {false, 0, 0.0};
}

METARL_KERNEL GivenAction read_action(const EnvCall& call, std::int64_t item) {
  return read_action(call.actions.data, call.actions.type, item, call.num_actions);
}

METARL_KERNEL std::int64_t action_width(const EnvCall& call) { return call.num_actions > 0 ? 1 : call.action_size; }

// The actions of all steps (a step's call has one, [0, 1)), and that no row has ended that nothing resets.
template <class Context>
METARL_KERNEL void check_call(Context& ctx, const EnvCall& call) {
  const std::int64_t first = grid_thread(ctx);
  const std::int64_t threads = grid_threads(ctx);
  const std::int64_t items =
      call.actions.data == nullptr ? 0 : (call.end - call.begin) * call.num_envs * action_width(call);
  for (std::int64_t item = first; item < items; item += threads) {
    if (read_action(call, item).good) continue;
    ctx.atomic_max(&call.status->first_bad_action, ~static_cast<std::uint64_t>(item));
    ctx.atomic_or(&call.status->bad, std::uint32_t{kErrorAction});
    break;  // the thread's later ones come later in the array
  }
  if (call.batch.mode != AutoresetMode::disabled || call.begin > 0) return;
  for (std::int64_t row = first; row < call.num_envs; row += threads) {
    if (!call.batch.done[row]) continue;
    ctx.atomic_max(&call.status->first_ended_row, ~static_cast<std::uint64_t>(row));
    ctx.atomic_or(&call.status->bad, std::uint32_t{kErrorEnded});
    break;
  }
}

// One thread, after all others of a call.
template <class Context>
METARL_KERNEL void finish_call(Context& ctx, const EnvCall& call) {
  EnvStatus* const status = call.status;
  const std::uint32_t bad = ctx.load(&status->bad);
  const std::uint64_t number = ctx.load(&status->calls);
  ctx.store(&status->calls, number + 1);
  if (call.keeps_obs && (bad == 0 || !call.batch.obs_holds_last)) ctx.store(&status->obs_held, std::uint32_t{bad == 0});
  if (bad == 0) return;
  const std::uint32_t error = ctx.load(&status->error);
  if (error == 0) {
    const bool ended = (bad & kErrorEnded) != 0;
    const std::uint64_t item = ~ctx.load(ended ? &status->first_ended_row : &status->first_bad_action);
    ctx.store(&status->first_error, ended ? std::uint32_t{kErrorEnded} : std::uint32_t{kErrorAction});
    ctx.store(&status->error_call, number);
    ctx.store(&status->error_item, item);
    if (!ended) {
      const GivenAction action = read_action(call, static_cast<std::int64_t>(item));
      ctx.store(&status->error_integer, action.integer);
      ctx.store(&status->error_number, action.number);
    }
  }
  ctx.store(&status->error, error | bad);
  ctx.store(&status->bad, std::uint32_t{0});
  ctx.store(&status->first_bad_action, std::uint64_t{0});
  ctx.store(&status->first_ended_row, std::uint64_t{0});
}

// Seeds are given by the host, which has checked them.
template <class Context>
METARL_KERNEL void seed_rows(Context& ctx, const SeedCall& call) {
  for (std::int64_t k = grid_thread(ctx); k < call.count; k += grid_threads(ctx)) {
    const std::int64_t row = call.rows[k];
    if (call.mask != nullptr && !call.mask[row]) continue;
    call.batch.seed[row] = call.seeds[k];
    call.batch.stream[row] = call.streams[k];
    call.batch.episode[row] = 0;
  }
}

template <class Rows, class Context>
METARL_KERNEL void reset_envs(Context& ctx, const EnvCall& call) {
  const EnvBatch b = call.batch;
  for (std::int64_t row = grid_thread(ctx); row < call.num_envs; row += grid_threads(ctx)) {
    Rows::reset(b, call.mask, row, row + 1);
    if (b.ended != nullptr) b.ended[row] = 0;
    if (b.end_flag != nullptr) b.end_flag[row] = 0;
  }
}

// The given actions of one row, at `item` of their array, as the environment takes them.
METARL_KERNEL const void* convert_row(const EnvCall& call, std::int64_t row, std::int64_t first_item) {
  const bool discrete = call.num_actions > 0;
  if (call.actions.type == (discrete ? ActionType::uint8 : ActionType::float32)) {
    const auto* const bytes = static_cast<const std::uint8_t*>(call.actions.data);
    return bytes + (discrete ? first_item : first_item * 4);
  }
  const std::int64_t width = action_width(call);
  for (std::int64_t at = row * width; at < (row + 1) * width; ++at) {
    const GivenAction action = read_action(call, first_item + at);
    if (discrete) {
      static_cast<std::uint8_t*>(call.converted)[at] = static_cast<std::uint8_t>(action.integer);
    } else {
      static_cast<float*>(call.converted)[at] = static_cast<float>(action.number);
    }
  }
  return call.converted;
}

template <class Rows, class Context>
METARL_KERNEL void step_envs(Context& ctx, const EnvCall& call) {
  if (ctx.load(&call.status->bad) != 0) return;
  EnvBatch b = call.batch;
  b.draws = nullptr;
  b.obs_holds_last = b.obs_holds_last && ctx.load(&call.status->obs_held) != 0;
  for (std::int64_t row = grid_thread(ctx); row < call.num_envs; row += grid_threads(ctx)) {
    b.actions = convert_row(call, row, 0);
    Rows::step(b, row, row + 1);
  }
}

METARL_KERNEL bool is_rollout(const EnvCall& call) { return call.out.obs != nullptr; }

// Action masks of what is observed now, and the rows' tasks. (A rollout writes tasks itself, as they change in it.)
template <class Context>
METARL_KERNEL void tell_call(Context& ctx, const EnvCall& call) {
  if (ctx.load(&call.status->bad) != 0) return;
  const bool many = is_rollout(call);
  const std::int64_t first = many && call.begin > 0 ? (call.begin + 1) * call.num_envs : 0;
  const auto* const obs = static_cast<const std::int64_t*>(many ? call.out.obs : call.batch.obs);
  for (std::int64_t k = grid_thread(ctx); k < told_rows(call); k += grid_threads(ctx)) {
    const std::int64_t at = first + k;
    for (int action = 0; call.masks != nullptr && action < call.num_actions; ++action) {
      const bool known = obs[at] >= 0 && obs[at] < call.num_masks;
      call.masks[at * call.num_actions + action] =
          known ? call.action_masks[obs[at] * call.num_actions + action] : std::int8_t{0};
    }
    if (!many && call.out.task_id != nullptr) call.out.task_id[at] = call.batch.task_id[at];
  }
}

// A row whose episode has ended, with autoreset disabled: nothing happens.
METARL_KERNEL void stay(const EnvCall& call, const EnvBatch& b, std::int64_t row) {
  auto* const obs = static_cast<std::uint8_t*>(b.obs) + row * call.obs_row_bytes;
  const std::uint8_t* const last = obs - call.num_envs * call.obs_row_bytes;
  for (std::int64_t k = 0; k < call.obs_row_bytes; ++k) obs[k] = last[k];
  b.reward[row] = 0.0;
  b.terminated[row] = 0;
  b.truncated[row] = 0;
  if (b.prob != nullptr) b.prob[row] = 1.0;
  if (b.end_flag != nullptr) b.end_flag[row] = 0;
}

// The actions of a row at step t, taken or drawn, also written to the output.
METARL_KERNEL const void* rollout_actions(const EnvCall& call, const EnvBatch& b, std::int64_t t, std::int64_t row) {
  const std::int64_t width = action_width(call);
  const void* actions = call.converted;
  if (call.actions.data == nullptr) {
    draw_actions(b, call.num_actions, call.action_size, call.actions.low, call.actions.high, call.converted, row,
                 row + 1);
  } else {
    actions = convert_row(call, row, (t - call.begin) * call.num_envs * width);
  }
  const std::int64_t to = t * call.num_envs * width;
  for (std::int64_t at = row * width; at < (row + 1) * width; ++at) {
    if (call.num_actions > 0) {
      static_cast<std::int64_t*>(call.out.actions)[to + at] = static_cast<const std::uint8_t*>(actions)[at];
    } else {
      static_cast<float*>(call.out.actions)[to + at] = static_cast<const float*>(actions)[at];
    }
  }
  return actions;
}

// Many steps of a row: bit for bit what as many calls of step_envs give.
template <class Rows, class Context>
METARL_KERNEL void roll_out_envs(Context& ctx, const EnvCall& call) {
  if (ctx.load(&call.status->bad) != 0) return;
  using Model = typename Rows::Model;
  const RolloutOutputs& out = call.out;
  const std::int64_t n = call.num_envs;
  for (std::int64_t row = grid_thread(ctx); row < n; row += grid_threads(ctx)) {
    EnvBatch b = call.batch;
    b.draws = nullptr;
    if (call.begin == 0) {
      b.obs = out.obs;
      observe_row<Model>(b, *static_cast<const typename Model::Params*>(b.params), row);
      if (out.task_id != nullptr) out.task_id[row] = b.task_id[row];
    }
    for (std::int64_t t = call.begin; t < call.end; ++t) {
      const std::int64_t at = t * n;
      b.actions = rollout_actions(call, b, t, row);
      b.obs = static_cast<std::uint8_t*>(out.obs) + (at + n) * call.obs_row_bytes;
      b.reward = out.reward + at;
      b.terminated = out.terminated + at;
      b.truncated = out.truncated + at;
      b.prob = out.prob == nullptr ? call.batch.prob : out.prob + at;
      if (out.final_obs != nullptr) {
        b.final_obs = static_cast<std::uint8_t*>(out.final_obs) + at * call.obs_row_bytes;
      }
      if (out.end_flag != nullptr) b.end_flag = out.end_flag + at;
      const bool valid = b.mode == AutoresetMode::same_step || b.done[row] == 0;
      out.valid[at + row] = valid;
      if (valid || b.mode != AutoresetMode::disabled) {
        Rows::step(b, row, row + 1);
      } else {
        stay(call, b, row);
      }
      if (out.task_id != nullptr) out.task_id[at + n + row] = b.task_id[row];
    }
    // What final_obs and end_flag tell of the last step.
    if (call.end == call.begin) continue;
    if (out.final_obs != nullptr && b.mode == AutoresetMode::same_step && b.ended[row]) {
      auto* const last = static_cast<std::uint8_t*>(call.batch.final_obs) + row * call.obs_row_bytes;
      const auto* const from = static_cast<const std::uint8_t*>(b.final_obs) + row * call.obs_row_bytes;
      for (std::int64_t k = 0; k < call.obs_row_bytes; ++k) last[k] = from[k];
    }
    if (out.end_flag != nullptr) call.batch.end_flag[row] = b.end_flag[row];
  }
}

}  // namespace metarl::cuda
