// What setting leaves is for a replay buffer: the functions that set_bodies.h asks a call for. The arithmetic is that
// of csrc/core/replay_prioritized.cpp.
#pragma once

#include <cstring>

#include "cuda/device_replay.h"
#include "cuda/sample_bodies.h"
#include "cuda/set_bodies.h"
#include "cuda/task_order_bodies.h"
#include "metarl/detail/pow.h"
#include "metarl/detail/sequence_errors.h"

namespace metarl::cuda {

constexpr double kLargestDouble = 0x1.fffffffffffffp1023;
// A power is monotone up to its rounding, which the margin covers.
constexpr double kPowerMargin = 1.0 + 0x1p-40;

METARL_HD std::uint32_t float_bits(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

METARL_HD float bits_float(std::uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

METARL_HD float raw_priority(const DeviceReplay& replay, float error) {
  float p = bits_float(float_bits(error) & 0x7FFFFFFFu);
  p = p < replay.eps ? replay.eps : p;
  return p > replay.max_priority ? replay.max_priority : p;
}

// priority^alpha as it is sampled: at least the smallest double for a positive one, so that none becomes unreachable.
METARL_HD double scaled_priority(const DeviceReplay& replay, float raw) {
  const double scaled = pow_positive(static_cast<double>(raw), replay.alpha);
  const double least = raw > 0.0f ? 0x1p-1074 : 0.0;
  return scaled < least ? least : scaled;
}

template <typename Context>
METARL_KERNEL float given_error(Context& ctx, const PriorityCall& call, std::int64_t at) {
  return call.errors != nullptr ? ctx.load(call.errors + at) : static_cast<float>(ctx.load(call.wide_errors + at));
}

METARL_HD bool is_finite(float x) { return (float_bits(x) & 0x7FFFFFFFu) < 0x7F800000u; }

// Of a sequence: what its steps make together; if one that counts is not finite, or none counts, that or NaN.
template <typename Context>
METARL_KERNEL float error_at(Context& ctx, const PriorityCall& call, std::int64_t item) {
  if (call.length == 0) return given_error(ctx, call, item);
  SequenceErrors errors;
  for (int t = call.burn_in; t < call.length; ++t) {
    const std::int64_t at = item * call.length + t;
    if (call.steps_mask != nullptr && ctx.load(call.steps_mask + at) == 0) continue;
    const float error = given_error(ctx, call, at);
    if (!is_finite(error)) return error;
    add_error(&errors, error);
  }
  return errors.count == 0 ? bits_float(0x7FC00000u) : mixed_error(errors, call.priority_mix);
}

template <typename Context>
METARL_KERNEL std::int64_t slots_used(Context& ctx, const PriorityCall& call) {
  const std::uint64_t written = ctx.load(&call.replay.state->written);
  const auto capacity = static_cast<std::uint64_t>(call.tree.capacity);
  return static_cast<std::int64_t>(written < capacity ? written : capacity);
}

template <typename Context>
METARL_KERNEL std::int64_t index_at(Context& ctx, const PriorityCall& call, std::int64_t item) {
  if (call.change != ReplayChange::add) return ctx.load(call.indices + item);
  const std::uint64_t at = ctx.load(&call.replay.state->written) + static_cast<std::uint64_t>(call.dropped + item);
  return static_cast<std::int64_t>(at % static_cast<std::uint64_t>(call.tree.capacity));
}

template <typename Context>
METARL_KERNEL double priority_at(Context& ctx, const PriorityCall& call, std::int64_t item) {
  if (call.change == ReplayChange::add) return ctx.load(&call.replay.state->running_max_scaled);
  return scaled_priority(call.replay, raw_priority(call.replay, error_at(ctx, call, item)));
}

// The slots that are added are different ones.
template <typename Context>
METARL_KERNEL bool take_ownership(Context& ctx, const PriorityCall& call, std::int64_t item, std::int64_t index) {
  if (call.change == ReplayChange::add) return true;
  if (call.change == ReplayChange::check) return false;
  if (ctx.peek(call.tree.owners + index) != static_cast<std::uint32_t>(item + 1)) return false;
  ctx.store(call.tree.owners + index, 0u);
  return true;
}

// What an update must know about its batch. (Updates change neither of what this depends on.)
struct BatchAge {
  bool outdated;  // something was written since
  bool foreign;   // of another epoch: nothing of it is there any more
  bool some_hidden;
  std::uint64_t written;  // at the batch's time
};

template <typename Context>
METARL_KERNEL BatchAge age_of(Context& ctx, const PriorityCall& call) {
  const std::uint64_t written = ctx.load(&call.replay.state->written);
  // A buffer without priorities does not ask which slots are hidden.
  const bool hidden = call.change == ReplayChange::update &&
                      ctx.load(&call.tree.state->num_valid) < static_cast<std::uint64_t>(slots_used(ctx, call));
  if (call.mark == nullptr) return BatchAge{false, false, hidden, written};
  const std::uint64_t epoch = ctx.load(call.mark + kMarkEpoch);
  const std::uint64_t then = ctx.load(call.mark + kMarkWritten);
  const bool foreign = epoch != ctx.load(&call.replay.state->epoch) || then > written;
  return BatchAge{foreign || then != written, foreign, hidden, then};
}

// The slots written since the batch are those that follow its write position.
template <typename Context>
METARL_KERNEL bool is_stale(Context& ctx, const PriorityCall& call, const BatchAge& age, std::int64_t slot) {
  if (age.foreign) return true;
  if (age.outdated) {
    const auto capacity = static_cast<std::uint64_t>(call.tree.capacity);
    const std::uint64_t ahead = (static_cast<std::uint64_t>(slot) + capacity - age.written % capacity) % capacity;
    if (ahead < ctx.load(&call.replay.state->written) - age.written) return true;
  }
  return age.some_hidden && (ctx.peek(call.tree.valid + (slot >> 5)) >> (slot & 31) & 1) == 0;
}

template <typename Context>
METARL_KERNEL void check_items(Context& ctx, const PriorityCall& call) {
  if (call.change == ReplayChange::add) return;
  const DeviceTree& tree = call.tree;
  const BatchAge age = age_of(ctx, call);
  // A batch from before clear() may name slots that are not filled again; all of it is stale.
  const std::int64_t limit = age.foreign ? tree.capacity : slots_used(ctx, call);
  std::uint64_t top = 0;
  std::uint32_t top_raw = 0;
  std::uint64_t num_stale = 0;
  for (std::int64_t i = grid_thread(ctx); i < call.n; i += grid_threads(ctx)) {
    const std::int64_t index = ctx.load(call.indices + i);
    const bool inside = index >= 0 && index < limit;
    const float error = error_at(ctx, call, i);
    const bool finite = is_finite(error);
    const float raw = finite ? raw_priority(call.replay, error) : 0.0f;
    const double scaled = scaled_priority(call.replay, raw);
    const bool checks = call.change == ReplayChange::check;
    const bool fine = finite && (checks || scaled * kPowerMargin <= kLargestDouble);
    const bool stale = inside && is_stale(ctx, call, age, index);
    const std::uint32_t bad =
        (inside ? 0u : kErrorIndex) | (fine ? 0u : kErrorPriority) | (stale && call.strict ? kErrorStale : 0u);
    if (bad != 0) {
      ctx.atomic_or(&tree.state->bad, bad);
      ctx.atomic_max(&tree.state->first_bad, ~static_cast<std::uint64_t>(i));
    } else if (stale) {
      ++num_stale;
    } else if (!checks) {
      ctx.atomic_max(tree.owners + index, static_cast<std::uint32_t>(i + 1));
      const std::uint64_t bits = double_bits(scaled);
      top = bits > top ? bits : top;
      top_raw = float_bits(raw) > top_raw ? float_bits(raw) : top_raw;
    }
  }
  top = warp_max(ctx, top);
  top_raw = warp_max(ctx, top_raw);
  if (ctx.lane() == 0 && top != 0) ctx.atomic_max(&tree.state->top_bits, top);
  if (ctx.lane() == 0 && top_raw != 0) ctx.atomic_max(&call.replay.state->top_raw, top_raw);
  if (num_stale != 0) ctx.atomic_add(&call.replay.state->num_stale, num_stale);
}

template <typename Context>
METARL_KERNEL std::uint64_t count_set(Context& ctx, const PriorityCall& call) {
  if (call.change == ReplayChange::check) return 0;
  return static_cast<std::uint64_t>(call.n) - ctx.load(&call.replay.state->num_stale);
}

// As on the CPU, whose bound is slightly too large unless the batch was looked through for stale indices.
template <typename Context>
METARL_KERNEL double top_priority(Context& ctx, const PriorityCall& call) {
  if (call.change == ReplayChange::add) return ctx.load(&call.replay.state->running_max_scaled);
  if (call.change == ReplayChange::check) return 0.0;
  const double largest = bits_double(ctx.load(&call.tree.state->top_bits));
  const BatchAge age = age_of(ctx, call);
  if (age.outdated || age.some_hidden) return largest;
  const float raw = bits_float(ctx.load(&call.replay.state->top_raw));
  const double bound = pow_positive(static_cast<double>(raw), call.replay.alpha) * kPowerMargin;
  return bound < largest ? largest : bound;
}

template <typename Context>
METARL_KERNEL void note_item(Context& ctx, const PriorityCall& call, std::int64_t item, std::int64_t index) {
  const float raw = call.change == ReplayChange::add ? ctx.load(&call.replay.state->running_max)
                                                     : raw_priority(call.replay, error_at(ctx, call, item));
  ctx.store(call.replay.raw + index, raw);
}

template <typename Context>
METARL_KERNEL void finish_owner(Context& ctx, const PriorityCall& call, std::uint32_t bad) {
  ReplayState* state = call.replay.state;
  if (call.change == ReplayChange::add) {
    if (bad != 0) return;
    ctx.store(&state->written, ctx.load(&state->written) + static_cast<std::uint64_t>(call.dropped + call.n));
    return;
  }
  if (bad == 0 && call.change == ReplayChange::update) {
    ctx.store(&state->stale_updates, ctx.load(&state->stale_updates) + ctx.load(&state->num_stale));
    const float top = bits_float(ctx.load(&state->top_raw));
    if (top > ctx.load(&state->running_max)) {
      ctx.store(&state->running_max, top);
      ctx.store(&state->running_max_scaled, scaled_priority(call.replay, top));
    }
  }
  ctx.store(&state->top_raw, 0u);
  ctx.store(&state->num_stale, 0u);
}

// Of an add that fails: the row's task, and how many rows there are.
template <typename Context>
METARL_KERNEL std::int64_t given_index(Context& ctx, const PriorityCall& call, std::int64_t item) {
  if (call.change != ReplayChange::add) return index_at(ctx, call, item);
  return load_task(ctx, call.tasks, call.task_rows + item * call.tasks.bytes);
}
template <typename Context>
METARL_KERNEL double given_value(Context& ctx, const PriorityCall& call, std::int64_t item) {
  if (call.change == ReplayChange::add) return static_cast<double>(call.dropped + call.n);
  if (call.length > 0) return static_cast<double>(error_at(ctx, call, item));
  return call.errors != nullptr ? static_cast<double>(ctx.load(call.errors + item)) : ctx.load(call.wide_errors + item);
}

}  // namespace metarl::cuda
