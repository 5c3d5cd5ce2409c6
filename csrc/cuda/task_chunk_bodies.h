// Kernel bodies that let slots leave their tasks and join others, in order; part of task_order_bodies.h.
//
// Of many rows at once, those of a task depend on one another: who leaves gives its position to the task's last slot,
// which may leave next. The block takes 256 rows at a time, sorts out by counting which belong together, and one thread
// for each task that is left goes through its own, in shared memory.
#pragma once

#include "cuda/device_tasks.h"
#include "cuda/set_bodies.h"

namespace metarl::cuda {

constexpr int kTaskChunk = 256;
constexpr std::uint32_t kNoTask = 0xFFFFFFFFu;
constexpr std::uint64_t kLeastSpare = 64;  // positions of a region that is made anew, besides its share

struct TaskShared {
  std::uint32_t keys[kTaskChunk];  // tasks of the slots that leave or join, or kNoTask
  std::uint32_t slots[kTaskChunk];
  // By task, then in order:
  std::uint32_t positions[kTaskChunk];
  std::uint32_t holes[kTaskChunk];  // that slots leave, at their time
  std::uint32_t tails[kTaskChunk];  // owners of a task's last places, the last one first
  std::uint32_t num_leaving;
  std::uint64_t sums[2];
  std::uint64_t warps[kWarp];
};

// Slots in order, with the tasks that they join.
struct TaskItems {
  std::int64_t n;
  bool leave;  // they only leave
  // Slots from `first` on around the ring, with the tasks of dense rows; or a list of one of the two types.
  const std::byte* rows;
  std::int64_t first;
  const std::int64_t* slots;
  const std::uint32_t* short_slots;
  const std::uint32_t* tasks;
};

struct TaskItem {
  std::int64_t slot;
  std::uint32_t task;
};

// The integer at `from`; an unsigned one that is too large turns negative.
template <typename Context>
METARL_KERNEL std::int64_t load_task(Context& ctx, const DeviceTasks& tasks, const std::byte* from) {
  switch (tasks.bytes) {
    case 1:
      return tasks.is_signed ? std::int64_t{ctx.load(reinterpret_cast<const std::int8_t*>(from))}
                             : std::int64_t{ctx.load(reinterpret_cast<const std::uint8_t*>(from))};
    case 2:
      return tasks.is_signed ? std::int64_t{ctx.load(reinterpret_cast<const std::int16_t*>(from))}
                             : std::int64_t{ctx.load(reinterpret_cast<const std::uint16_t*>(from))};
    case 4:
      return tasks.is_signed ? std::int64_t{ctx.load(reinterpret_cast<const std::int32_t*>(from))}
                             : std::int64_t{ctx.load(reinterpret_cast<const std::uint32_t*>(from))};
    default:
      return ctx.load(reinterpret_cast<const std::int64_t*>(from));
  }
}

// Precondition: in range of the type.
template <typename Context>
METARL_KERNEL void store_task(Context& ctx, const DeviceTasks& tasks, std::byte* to, std::int64_t task) {
  switch (tasks.bytes) {
    case 1:
      return ctx.store(reinterpret_cast<std::uint8_t*>(to), static_cast<std::uint8_t>(task));
    case 2:
      return ctx.store(reinterpret_cast<std::uint16_t*>(to), static_cast<std::uint16_t>(task));
    case 4:
      return ctx.store(reinterpret_cast<std::uint32_t*>(to), static_cast<std::uint32_t>(task));
    default:
      return ctx.store(reinterpret_cast<std::int64_t*>(to), task);
  }
}

template <typename Context>
METARL_KERNEL std::byte* stored_task(const DeviceTasks& tasks, std::int64_t slot) {
  return tasks.stored + slot * tasks.stored_stride;
}

template <typename Context>
METARL_KERNEL void check_tasks(Context& ctx, const DeviceTasks& tasks, TreeState* state, const std::byte* rows,
                               std::int64_t n) {
  for (std::int64_t i = grid_thread(ctx); i < n; i += grid_threads(ctx)) {
    const std::int64_t task = load_task(ctx, tasks, rows + i * tasks.bytes);
    if (task >= 0 && task < kMostTasks) continue;
    ctx.atomic_or(&state->bad, kErrorTask);
    ctx.atomic_max(&state->first_bad, ~static_cast<std::uint64_t>(i));
  }
}

template <typename Context>
METARL_KERNEL TaskItem item_at(Context& ctx, const DeviceTasks& tasks, const TaskItems& items, std::int64_t i) {
  if (items.rows != nullptr) {
    const std::int64_t slot = (items.first + i) % tasks.capacity;
    return TaskItem{slot, static_cast<std::uint32_t>(load_task(ctx, tasks, items.rows + i * tasks.bytes))};
  }
  const std::int64_t slot =
      items.slots != nullptr ? ctx.load(items.slots + i) : std::int64_t{ctx.load(items.short_slots + i)};
  return TaskItem{slot, items.tasks != nullptr ? ctx.load(items.tasks + i) : 0u};
}

template <typename Context>
METARL_KERNEL void touch(Context& ctx, const DeviceTasks& tasks, std::uint64_t at, std::uint32_t place) {
  if (at < static_cast<std::uint64_t>(tasks.max_touched)) ctx.store(tasks.touched + at, place);
}

// Which of the first `count` keys are smaller than a thread's own, how many are the same, and how many of these come
// before it.
struct KeyRank {
  int smaller;
  int same;
  int before;
};

template <typename Context>
METARL_KERNEL KeyRank rank_of(Context& ctx, const TaskShared* shared, int count, std::uint32_t key) {
  KeyRank rank{0, 0, 0};
  for (int j = 0; j < count; ++j) {
    const std::uint32_t other = ctx.load(&shared->keys[j]);
    rank.smaller += other < key ? 1 : 0;
    rank.same += other == key ? 1 : 0;
    rank.before += other == key && j < ctx.thread() ? 1 : 0;
  }
  return rank;
}

// Of the slots of one task that leave, by one thread: each one's place goes to the task's last slot at that time. A
// slot that was moved before is where the one moved before it left: that chain is followed.
template <typename Context>
METARL_KERNEL void close_gaps(Context& ctx, const DeviceTasks& tasks, const TaskRegion& region, TaskShared* shared,
                              int begin, std::uint32_t leaving, std::uint64_t touched) {
  const std::uint32_t last = region.count - 1;
  for (std::uint32_t r = 0; r < leaving; ++r) {
    const std::uint32_t at = static_cast<std::uint32_t>(begin) + r;
    std::uint32_t hole = ctx.load(&shared->positions[at]);
    while (hole > last - r) hole = ctx.load(&shared->holes[static_cast<std::uint32_t>(begin) + (last - hole)]);
    ctx.store(&shared->holes[at], hole);
    std::uint32_t place = kNoPlace;
    if (hole < last - r) {
      const std::uint32_t moved = ctx.load(&shared->tails[at]);
      if (last - hole < leaving) {  // a place that is the last one later
        ctx.store(&shared->tails[static_cast<std::uint32_t>(begin) + (last - hole)], moved);
      } else {
        place = region.begin + hole;
        ctx.store(tasks.owners + place, moved);
        ctx.store(&tasks.entries[moved - 1].position, hole);
      }
    }
    touch(ctx, tasks, touched + 2 * at, place);
  }
}

// The thread's row of a chunk.
struct ChunkRow {
  int count;  // rows of the chunk
  bool exists;
  TaskItem item;
  TaskEntry entry;
};

template <typename Context>
METARL_KERNEL ChunkRow row_of_chunk(Context& ctx, const DeviceTasks& tasks, const TaskItems& items,
                                    std::int64_t first) {
  const std::int64_t rest = items.n - first;
  const int count = rest < kTaskChunk ? static_cast<int>(rest) : kTaskChunk;
  if (ctx.thread() >= count) return {count, false, {0, 0}, {0, 0, 0}};
  const TaskItem item = item_at(ctx, tasks, items, first + ctx.thread());
  return {count, true, item, ctx.load(tasks.entries + item.slot)};
}

// Returns how many places were touched. By all threads of a block, as those below.
template <typename Context>
METARL_KERNEL std::uint64_t leave_chunk(Context& ctx, const DeviceTasks& tasks, const TaskItems& items,
                                        std::int64_t first, TaskShared* shared, std::uint64_t touched) {
  const auto [count, exists, item, entry] = row_of_chunk(ctx, tasks, items, first);
  std::uint32_t key = kNoTask;
  if (exists) {
    if (entry.used != 0 && (items.leave || entry.task != item.task)) key = entry.task;
    ctx.store(&shared->keys[ctx.thread()], key);
    ctx.store(&shared->slots[ctx.thread()], static_cast<std::uint32_t>(item.slot));
  }
  if (ctx.thread() == 0) ctx.store(&shared->num_leaving, 0u);
  ctx.sync();
  if (items.leave) {  // a slot may be there again
    bool again = false;
    for (int j = 0; key != kNoTask && j < ctx.thread(); ++j) {
      again = again || ctx.load(&shared->slots[j]) == static_cast<std::uint32_t>(item.slot);
    }
    ctx.sync();
    if (again) {
      key = kNoTask;
      ctx.store(&shared->keys[ctx.thread()], key);
    }
    ctx.sync();
  }
  KeyRank rank{0, 0, 0};
  TaskRegion region{0, 0, 0};
  std::uint32_t tail = 0;
  if (key != kNoTask) {
    rank = rank_of(ctx, shared, count, key);
    region = ctx.load(tasks.regions + key);
    tail = region.begin + (region.count - 1 - static_cast<std::uint32_t>(rank.before));
    ctx.store(&shared->positions[rank.smaller + rank.before], entry.position);
    ctx.store(&shared->tails[rank.smaller + rank.before], ctx.load(tasks.owners + tail));
    ctx.atomic_add(&shared->num_leaving, 1u);
  }
  ctx.sync();
  const std::uint32_t num_leaving = ctx.load(&shared->num_leaving);
  const auto leaving = static_cast<std::uint32_t>(rank.same);
  if (key != kNoTask && rank.before == 0) {
    close_gaps(ctx, tasks, region, shared, rank.smaller, leaving, touched);
    ctx.store(&tasks.regions[key].count, region.count - leaving);
  }
  ctx.sync();
  if (key != kNoTask) {
    ctx.store(tasks.entries + item.slot, TaskEntry{0, 0, 0});
    ctx.store(tasks.owners + tail, 0u);
    touch(ctx, tasks, touched + 2 * static_cast<std::uint64_t>(rank.smaller + rank.before) + 1, tail);
  }
  ctx.sync();
  return 2 * std::uint64_t{num_leaving};
}

template <typename Context>
METARL_KERNEL std::uint64_t join_chunk(Context& ctx, const DeviceTasks& tasks, const TaskItems& items,
                                       std::int64_t first, TaskShared* shared, std::uint64_t touched) {
  const auto [count, exists, item, entry] = row_of_chunk(ctx, tasks, items, first);
  std::uint32_t key = kNoTask;
  std::uint32_t place = kNoPlace;
  if (exists) {
    if (entry.used == 0) {
      key = item.task;
    } else {  // it stays; its mass may be another
      place = ctx.load(&tasks.regions[entry.task].begin) + entry.position;
    }
    ctx.store(&shared->keys[ctx.thread()], key);
  }
  ctx.sync();
  KeyRank rank{0, 0, 0};
  TaskRegion region{0, 0, 0};
  if (key != kNoTask) {
    rank = rank_of(ctx, shared, count, key);
    region = ctx.load(tasks.regions + key);
  }
  ctx.sync();
  if (key != kNoTask) {
    const std::uint32_t position = region.count + static_cast<std::uint32_t>(rank.before);
    ctx.store(tasks.entries + item.slot, TaskEntry{position, static_cast<std::uint16_t>(key), 1});
    if (position < region.room) {
      place = region.begin + position;
      ctx.store(tasks.owners + place, static_cast<std::uint32_t>(item.slot) + 1);
    } else {
      ctx.store(&tasks.state->full, 1u);
    }
    if (rank.before == 0) {
      ctx.store(&tasks.regions[key].count, region.count + static_cast<std::uint32_t>(rank.same));
      ctx.atomic_max(&tasks.state->id_end, key + 1);
    }
    const auto slot_end = static_cast<std::uint64_t>(item.slot) + 1;
    if (slot_end > ctx.peek(&tasks.state->slot_end)) ctx.atomic_max(&tasks.state->slot_end, slot_end);
  }
  if (exists) touch(ctx, tasks, touched + static_cast<std::uint64_t>(ctx.thread()), place);
  ctx.sync();
  return static_cast<std::uint64_t>(count);
}

}  // namespace metarl::cuda
