// Kernel bodies that keep the slots of a replay buffer by task; see device_tasks.h. The decisions are those of
// csrc/core/task_index.cpp. A change is phases, each over the whole grid but the first; the last two of buffers with
// masses are in task_mass_bodies.h:
//
//   order    one block: slots leave their tasks and join others, in order; regions that are full are made anew
//   clear    no place has an owner                             \  if regions are new
//   fill     every place has the one that its entry names      /
//   masses   places that may have changed get their owners' masses, or all do
//   settle   extremes of the blocks that may have lost theirs
#pragma once

#include "cuda/task_chunk_bodies.h"

namespace metarl::cuda {

template <typename Context>
METARL_KERNEL void begin_order(Context& ctx, const DeviceTasks& tasks) {
  if (ctx.thread() == 0) {
    ctx.store(&tasks.state->full, 0u);
    ctx.store(&tasks.state->reload, 0u);
    ctx.store(&tasks.state->num_touched, 0u);
  }
  ctx.sync();
}

// The sum of the values of the threads before, and of all.
struct BlockSum {
  std::uint64_t before;
  std::uint64_t all;
};

template <typename Context>
METARL_KERNEL BlockSum sum_in_block(Context& ctx, std::uint64_t value, std::uint64_t* warps) {
  std::uint64_t sum = value;
  for (int step = 1; step < kWarp; step *= 2) {
    const std::uint64_t before = ctx.shuffle_up(kAllLanes, sum, step, kWarp);
    sum += ctx.lane() >= step ? before : 0;
  }
  if (ctx.lane() == kWarp - 1) ctx.store(warps + ctx.thread() / kWarp, sum);
  ctx.sync();
  BlockSum result{sum - value, 0};
  for (int warp = 0; warp < ctx.block_threads() / kWarp; ++warp) {
    const std::uint64_t part = ctx.load(warps + warp);
    result.before += warp < ctx.thread() / kWarp ? part : 0;
    result.all += part;
  }
  ctx.sync();
  return result;
}

// A part of the numbers [0, ids) for each thread of a block, in order.
struct IdRange {
  std::int64_t begin;
  std::int64_t end;
};

template <typename Context>
METARL_KERNEL IdRange ids_of_thread(Context& ctx, std::int64_t ids) {
  const std::int64_t each = (ids + ctx.block_threads() - 1) / ctx.block_threads();
  const std::int64_t begin = ctx.thread() * each < ids ? ctx.thread() * each : ids;
  return IdRange{begin, begin + each < ids ? begin + each : ids};
}

// If a region is full, all get room for their positions, and an equal part of the places that are left; of few slots
// only as many more as there are already, so that what must be gone through grows with them.
template <typename Context>
METARL_KERNEL_CALL void end_order(Context& ctx, const DeviceTasks& tasks, TaskShared* shared) {
  TaskState* state = tasks.state;
  if (ctx.load(&state->full) == 0) return;
  const std::int64_t ids = ctx.load(&state->id_end);
  if (ctx.thread() < 2) ctx.store(&shared->sums[ctx.thread()], 0u);
  ctx.sync();
  std::uint64_t slots = 0;
  std::uint64_t present = 0;
  for (std::int64_t id = ctx.thread(); id < ids; id += ctx.block_threads()) {
    const std::uint32_t count = ctx.load(&tasks.regions[id].count);
    slots += count;
    present += count != 0 ? 1 : 0;
  }
  if (present != 0) {
    ctx.atomic_add(&shared->sums[0], slots);
    ctx.atomic_add(&shared->sums[1], present);
  }
  ctx.sync();
  slots = ctx.load(&shared->sums[0]);
  present = ctx.load(&shared->sums[1]);
  if (present == 0) return;
  const std::uint64_t left = (static_cast<std::uint64_t>(tasks.num_places) - slots) / present;
  const std::uint64_t wanted = slots / present + kLeastSpare;
  const std::uint64_t spare = left < wanted ? left : wanted;
  const IdRange range = ids_of_thread(ctx, ids);
  std::uint64_t rooms = 0;
  for (std::int64_t id = range.begin; id < range.end; ++id) {
    const std::uint32_t count = ctx.load(&tasks.regions[id].count);
    rooms += count != 0 ? count + spare : 0;
  }
  const BlockSum sum = sum_in_block(ctx, rooms, shared->warps);
  std::uint64_t begin = sum.before;
  for (std::int64_t id = range.begin; id < range.end; ++id) {
    const std::uint32_t count = ctx.load(&tasks.regions[id].count);
    const std::uint64_t room = count != 0 ? count + spare : 0;
    ctx.store(tasks.regions + id,
              TaskRegion{static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(room), count});
    begin += room;
  }
  if (ctx.thread() == 0) {
    ctx.store(&state->reload, 1u);
    if (sum.all > ctx.load(&state->end)) ctx.store(&state->end, sum.all);
  }
  ctx.sync();
}

// Then every place has the owner that its entry names; over the whole grid.
template <typename Context>
METARL_KERNEL void clear_places(Context& ctx, const DeviceTasks& tasks) {
  if (ctx.load(&tasks.state->full) == 0) return;
  const auto end = static_cast<std::int64_t>(ctx.load(&tasks.state->end));
  for (std::int64_t place = grid_thread(ctx); place < end; place += grid_threads(ctx)) {
    ctx.store(tasks.owners + place, 0u);
  }
}

template <typename Context>
METARL_KERNEL void fill_places(Context& ctx, const DeviceTasks& tasks) {
  if (ctx.load(&tasks.state->full) == 0) return;
  const auto end = static_cast<std::int64_t>(ctx.load(&tasks.state->slot_end));
  for (std::int64_t slot = grid_thread(ctx); slot < end; slot += grid_threads(ctx)) {
    const TaskEntry entry = ctx.load(tasks.entries + slot);
    if (entry.used == 0) continue;
    const std::uint32_t place = ctx.load(&tasks.regions[entry.task].begin) + entry.position;
    ctx.store(tasks.owners + place, static_cast<std::uint32_t>(slot) + 1);
  }
}

// All that leave come first. Who leaves must be at its place.
template <typename Context>
METARL_KERNEL_CALL void place_items(Context& ctx, const DeviceTasks& tasks, const TaskItems& items,
                                    TaskShared* shared) {
  if (ctx.load(&tasks.state->full) != 0) {
    end_order(ctx, tasks, shared);
    clear_places(ctx, tasks);
    ctx.sync();
    fill_places(ctx, tasks);
    ctx.sync();
    if (ctx.thread() == 0) ctx.store(&tasks.state->full, 0u);
    ctx.sync();
  }
  std::uint64_t touched = ctx.load(&tasks.state->num_touched);
  for (std::int64_t first = 0; first < items.n; first += kTaskChunk) {
    touched += leave_chunk(ctx, tasks, items, first, shared, touched);
  }
  for (std::int64_t first = 0; !items.leave && first < items.n; first += kTaskChunk) {
    touched += join_chunk(ctx, tasks, items, first, shared, touched);
  }
  ctx.sync();
  if (ctx.thread() == 0) ctx.store(&tasks.state->num_touched, touched);
  ctx.sync();
}

// By one block. A row with a bad task lets the whole add fail.
template <typename Context>
METARL_KERNEL void order_tasks(Context& ctx, const TaskOrderCall& call, TaskShared* shared) {
  const DeviceTasks& tasks = call.tasks;
  begin_order(ctx, tasks);
  TaskItems items{};
  if (call.change == TaskChange::add) {
    check_tasks(ctx, tasks, call.tree.state, call.rows, call.dropped + call.n);
    ctx.sync();
    if (ctx.load(&call.tree.state->bad) != 0) return;
    const std::uint64_t start = ctx.load(call.written) + static_cast<std::uint64_t>(call.dropped);
    items.first = static_cast<std::int64_t>(start % static_cast<std::uint64_t>(tasks.capacity));
    items.rows = call.rows + call.dropped * tasks.bytes;
    for (std::int64_t done = 0; done < call.n; done += items.n) {
      items.n = call.n - done;
      if (call.portion != 0) {
        items.n = items.n < call.portion ? items.n : call.portion;
        const std::int64_t ahead = tasks.capacity - items.first;
        items.n = items.n < ahead ? items.n : ahead;
      }
      place_items(ctx, tasks, items, shared);
      items.first = (items.first + items.n) % tasks.capacity;
      items.rows += items.n * tasks.bytes;
    }
  } else if (call.change == TaskChange::remove) {
    items.n = call.n;
    items.leave = true;
    items.slots = call.slots;
    place_items(ctx, tasks, items, shared);
  } else if (ctx.thread() == 0) {
    ctx.store(&tasks.state->full, 1u);
  }
  ctx.sync();
  end_order(ctx, tasks, shared);
}

}  // namespace metarl::cuda
