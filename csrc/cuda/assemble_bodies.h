// Kernel bodies that read chains while sampling: n-step returns, next observations, frame stacks and sequences. As
// csrc/core/streams_gather.cpp.
#pragma once

#include "cuda/copy_bodies.h"
#include "cuda/device_streams.h"

namespace metarl::cuda {

template <typename Context>
METARL_KERNEL std::uint32_t link_of(Context& ctx, const std::byte* links, std::int64_t stride, std::int64_t slot) {
  return ctx.load(reinterpret_cast<const std::uint32_t*>(links + slot * stride));
}

template <typename T, typename Context>
METARL_KERNEL void follow_return(Context& ctx, const ReturnCall& call, std::int64_t item, std::int64_t part,
                                 bool empty) {
  double sum = 0.0;
  double discount = empty ? 0.0 : 1.0;
  std::int64_t last = 0;
  std::int64_t at = empty ? -1 : ctx.load(call.indices + item);
  for (int step = 0; step < call.n_step && at >= 0; ++step) {
    last = at;
    const auto* rewards = reinterpret_cast<const T*>(call.rewards + at * call.reward_stride);
    sum = links::add_reward(sum, discount, static_cast<double>(ctx.load(rewards + part)));
    const bool ends =
        ctx.load(reinterpret_cast<const std::uint8_t*>(call.terminated + at * call.terminated_stride)) != 0;
    discount = links::next_discount(discount, call.gamma, ends);
    at = ends ? -1 : links::follow(link_of(ctx, call.next_links, call.link_stride, at));
  }
  ctx.store(reinterpret_cast<T*>(call.returns) + item * call.reward_items + part, static_cast<T>(sum));
  if (part != 0) return;
  ctx.store(call.last + item, last);
  ctx.store(call.discounts + item, static_cast<float>(discount));
}

// A thread follows the return of one item of a reward.
template <typename Context>
METARL_KERNEL void follow_returns(Context& ctx, const ReturnCall& call) {
  const bool empty = ctx.load(&call.tree->num_valid) == 0;
  const std::int64_t works = call.n * call.reward_items;
  for (std::int64_t work = grid_thread(ctx); work < works; work += grid_threads(ctx)) {
    const std::int64_t item = work / call.reward_items;
    const std::int64_t part = work - item * call.reward_items;
    if (call.wide) {
      follow_return<double>(ctx, call, item, part, empty);
    } else {
      follow_return<float>(ctx, call, item, part, empty);
    }
  }
}

// A thread follows a sequence.
template <typename Context>
METARL_KERNEL void follow_sequences(Context& ctx, const SequenceCall& call) {
  const bool empty = ctx.load(&call.tree->num_valid) == 0;
  for (std::int64_t item = grid_thread(ctx); item < call.n; item += grid_threads(ctx)) {
    std::int64_t at = empty ? -1 : ctx.load(call.indices + item);
    for (int t = 0; t < call.length; ++t) {
      ctx.store(call.steps + item * call.length + t, at);
      ctx.store(call.mask + item * call.length + t, at >= 0 ? 1 : 0);
      if (at >= 0) at = links::follow(link_of(ctx, call.next_links, call.link_stride, at));
    }
  }
}

// The frame `back` before a slot's; the oldest one is repeated where there are none before.
template <typename Context>
METARL_KERNEL const std::byte* frame_before(Context& ctx, const AssembleCall& call, const AssembledField& field,
                                            std::int64_t slot, std::int64_t back) {
  for (; back > 0; --back) {
    const std::uint32_t previous = link_of(ctx, call.previous_links, call.link_stride, slot);
    if (previous == links::kNoPrevious) break;
    slot = static_cast<std::int64_t>(previous);
  }
  return field.copied.slots + slot * field.copied.stride;
}

// Where byte `offset` of a slot's element lies.
template <typename Context>
METARL_KERNEL const std::byte* assembled_from(Context& ctx, const AssembleCall& call, const AssembledField& field,
                                              std::int64_t slot, std::int64_t offset) {
  if (field.from == AssembledFrom::slot) return field.copied.slots + slot * field.copied.stride + offset;
  const std::int64_t frame = field.stack == 1 ? 0 : offset / field.frame;
  const std::int64_t inside = offset - frame * field.frame;
  if (field.from == AssembledFrom::history) {
    return frame_before(ctx, call, field, slot, field.stack - 1 - frame) + inside;
  }
  const std::uint32_t link = link_of(ctx, call.next_links, call.link_stride, slot);
  if (links::kind(link) == links::kNewest) {
    return call.pending + links::value(link) * call.pending_bytes + field.pending + offset;
  }
  if (frame == field.stack - 1) return field.copied.slots + links::value(link) * field.copied.stride + inside;
  return frame_before(ctx, call, field, slot, field.stack - 2 - frame) + inside;
}

template <typename Context>
METARL_KERNEL void assemble_rows(Context& ctx, const AssembleCall& call) {
  const bool empty = ctx.load(&call.tree->num_valid) == 0;
  int f = 0;
  for (std::int64_t unit = grid_thread(ctx); unit < call.num_units; unit += grid_threads(ctx)) {
    while (f + 1 < call.num_fields && unit >= call.fields[f + 1].copied.first_unit) ++f;
    const AssembledField& field = call.fields[f];
    const UnitPlace place = place_of(field.copied, unit);
    const std::int64_t offset = static_cast<std::int64_t>(place.part << field.copied.unit_bits);
    const std::int64_t slot = ctx.load((field.of_last ? call.last : call.indices) + place.item);
    const bool nothing = empty || slot < 0;
    const std::byte* from = nothing ? nullptr : assembled_from(ctx, call, field, slot, offset);
    std::byte* to = field.copied.rows + static_cast<std::int64_t>(place.item) * field.copied.row_bytes + offset;
    copy_unit(ctx, from, to, field.copied.unit_bits, nothing);
  }
  if (call.mark == nullptr || grid_thread(ctx) != 0) return;
  ctx.store(call.mark + kMarkEpoch, ctx.load(&call.replay->epoch));
  ctx.store(call.mark + kMarkWritten, ctx.load(&call.replay->written));
}

}  // namespace metarl::cuda
