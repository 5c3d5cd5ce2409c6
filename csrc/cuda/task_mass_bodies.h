// Kernel bodies that give the places of tasks their owners' masses; the last phases of task_order_bodies.h.
#pragma once

#include "cuda/task_order_bodies.h"

namespace metarl::cuda {

template <typename Context>
METARL_KERNEL std::uint32_t mass_of_owner(Context& ctx, const DeviceTree& slots, std::uint32_t owner) {
  return owner != 0 ? ctx.load(slots.leaves + (owner - 1)) : 0u;
}

METARL_HD std::int64_t blocks_to(std::uint64_t place) {
  return static_cast<std::int64_t>((place + kTreeBlockLeaves - 1) >> kTreeBlockBits);
}

// Every place gets its owner's mass. A warp takes a block of places, 128 at a time.
template <typename Context>
METARL_KERNEL void reload_masses(Context& ctx, const TaskRefreshCall& call) {
  const DeviceTree& tree = call.tasks.masses;
  const std::int64_t blocks = blocks_to(ctx.load(&call.tasks.state->end));
  for (std::int64_t b = grid_thread(ctx) / kWarp; b < blocks; b += grid_threads(ctx) / kWarp) {
    std::uint32_t keys[2] = {0, 0};
    for (int part = 0; part < kTreeBlockLeaves; part += 128) {
      const std::int64_t first = (b << kTreeBlockBits) + part + ctx.lane() * 4;
      const auto owners = ctx.template load_vector<4>(static_cast<const std::uint32_t*>(call.tasks.owners + first));
      const auto olds = ctx.template load_vector<4>(static_cast<const std::uint32_t*>(tree.leaves + first));
      std::uint64_t delta = 0;
      for (int j = 0; j < 4; ++j) {
        const std::uint32_t mass = mass_of_owner(ctx, call.tree, owners[j]);
        if (mass != olds[j]) ctx.store(tree.leaves + first + j, mass);
        delta += std::uint64_t{mass} - std::uint64_t{olds[j]};
        for (int which = 0; which < 2; ++which) {
          const std::uint32_t key = extreme_key(which, mass);
          keys[which] = key > keys[which] ? key : keys[which];
        }
      }
      add_chunk(ctx, tree, (b << (kTreeBlockBits - 7)) + part / 128, delta);
    }
    for (int which = 0; which < 2; ++which) {
      const std::uint32_t key = warp_max(ctx, keys[which]);
      if (ctx.lane() == 0) ctx.store(tree.keys[which] + b, key);
    }
  }
}

template <typename Context>
METARL_KERNEL std::uint32_t changed_place(Context& ctx, const TaskRefreshCall& call, std::int64_t i) {
  if (call.slots == nullptr) return ctx.load(call.tasks.touched + i);
  const std::int64_t slot = ctx.load(call.slots + i);
  if (slot < 0 || slot >= call.tasks.capacity) return kNoPlace;  // the update was refused
  const TaskEntry entry = ctx.load(call.tasks.entries + slot);
  return entry.used != 0 ? ctx.load(&call.tasks.regions[entry.task].begin) + entry.position : kNoPlace;
}

template <typename Context>
METARL_KERNEL void refresh_masses(Context& ctx, const TaskRefreshCall& call, SetShared* shared) {
  const TaskState* state = call.tasks.state;
  const DeviceTree& tree = call.tasks.masses;
  const auto touched = static_cast<std::int64_t>(ctx.load(&state->num_touched));
  bool all = ctx.load(&call.tree.state->rescales) != ctx.load(&state->seen_rescales);
  all = all || (call.slots == nullptr && (ctx.load(&state->reload) != 0 || touched > call.tasks.max_touched));
  if (all) return reload_masses(ctx, call);
  const std::int64_t n = call.slots != nullptr ? call.n : touched;
  const int direct = begin_sums(ctx, tree, shared);
  for (std::int64_t i = grid_thread(ctx); i < n; i += grid_threads(ctx)) {
    const std::uint32_t place = changed_place(ctx, call, i);
    if (place == kNoPlace) continue;
    const std::uint32_t mass = mass_of_owner(ctx, call.tree, ctx.load(call.tasks.owners + place));
    // A place may be there several times: who comes first sees the difference.
    const std::uint32_t old = ctx.atomic_exchange(tree.leaves + place, mass);
    if (mass == old) continue;
    note_extremes(ctx, tree, std::int64_t{place}, old, mass);
    add_to_sums(ctx, tree, std::int64_t{place}, std::uint64_t{mass} - std::uint64_t{old}, direct, shared);
  }
  end_sums(ctx, tree, direct, shared);
}

// A warp looks through the places of a block that is dirty.
template <typename Context>
METARL_KERNEL void settle_masses(Context& ctx, const TaskRefreshCall& call) {
  const DeviceTree& tree = call.tasks.masses;
  const std::int64_t blocks = blocks_to(ctx.load(&call.tasks.state->end));
  for (std::int64_t b = grid_thread(ctx) / kWarp; b < blocks; b += grid_threads(ctx) / kWarp) {
    if (ctx.load(tree.dirty + b) == 0) continue;
    std::uint32_t keys[2] = {0, 0};
    for (int part = 0; part < kTreeBlockLeaves; part += 128) {
      const std::uint32_t* leaves = tree.leaves + (b << kTreeBlockBits) + part + ctx.lane() * 4;
      const auto masses = ctx.template load_vector<4>(leaves);
      for (int j = 0; j < 4; ++j) {
        for (int which = 0; which < 2; ++which) {
          const std::uint32_t key = extreme_key(which, masses[j]);
          keys[which] = key > keys[which] ? key : keys[which];
        }
      }
    }
    for (int which = 0; which < 2; ++which) {
      const std::uint32_t key = warp_max(ctx, keys[which]);
      if (ctx.lane() == 0) ctx.store(tree.keys[which] + b, key);
    }
    if (ctx.lane() == 0) ctx.store(tree.dirty + b, 0u);
  }
  if (grid_thread(ctx) == 0) ctx.store(&call.tasks.state->seen_rescales, ctx.load(&call.tree.state->rescales));
}

// The whole call, by one block.
template <typename Context>
METARL_KERNEL void refresh_in_one_block(Context& ctx, const TaskRefreshCall& call, SetShared* shared) {
  if (call.slots == nullptr) {
    clear_places(ctx, call.tasks);
    ctx.sync();
    fill_places(ctx, call.tasks);
    ctx.sync();
  }
  if (!call.tasks.weighted) return;
  refresh_masses(ctx, call, shared);
  ctx.sync();
  settle_masses(ctx, call);
}

}  // namespace metarl::cuda
