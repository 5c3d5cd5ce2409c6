// Kernel bodies that keep the slots of a replay buffer by task; see device_tasks.h. The decisions are those of
// csrc/core/task_index.cpp. A change is phases, each over the whole grid but the first:
//
//   order    one block: slots leave their tasks and join others, in order; regions that are full are made anew
//   clear    no place has an owner                             \  if regions are new
//   fill     every place has the one that its entry names      /
//   masses   places that may have changed get their owners' masses, or all do
//   settle   extremes of the blocks that may have lost theirs
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

// Returns how many places were touched. By all threads of a block, as those below.
template <typename Context>
METARL_KERNEL std::uint64_t leave_chunk(Context& ctx, const DeviceTasks& tasks, const TaskItems& items,
                                        std::int64_t first, TaskShared* shared, std::uint64_t touched) {
  const std::int64_t rest = items.n - first;
  const int count = rest < kTaskChunk ? static_cast<int>(rest) : kTaskChunk;
  const bool exists = ctx.thread() < count;
  TaskItem item{0, 0};
  TaskEntry entry{0, 0, 0};
  std::uint32_t key = kNoTask;
  if (exists) {
    item = item_at(ctx, tasks, items, first + ctx.thread());
    entry = ctx.load(tasks.entries + item.slot);
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
  const std::int64_t rest = items.n - first;
  const int count = rest < kTaskChunk ? static_cast<int>(rest) : kTaskChunk;
  const bool exists = ctx.thread() < count;
  TaskItem item{0, 0};
  TaskEntry entry{0, 0, 0};
  std::uint32_t key = kNoTask;
  std::uint32_t place = kNoPlace;
  if (exists) {
    item = item_at(ctx, tasks, items, first + ctx.thread());
    entry = ctx.load(tasks.entries + item.slot);
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
  std::uint64_t begin = 0;
  for (std::int64_t first = 0; first < ids; first += ctx.block_threads()) {
    const std::int64_t id = first + ctx.thread();
    const std::uint32_t count = id < ids ? ctx.load(&tasks.regions[id].count) : 0u;
    const std::uint64_t room = count != 0 ? count + spare : 0;
    const BlockSum sum = sum_in_block(ctx, room, shared->warps);
    if (id < ids) {
      ctx.store(tasks.regions + id,
                TaskRegion{static_cast<std::uint32_t>(begin + sum.before), static_cast<std::uint32_t>(room), count});
    }
    begin += sum.all;
  }
  if (ctx.thread() == 0) {
    ctx.store(&state->reload, 1u);
    if (begin > ctx.load(&state->end)) ctx.store(&state->end, begin);
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

// ---- masses of places -----------------------------------------------------------------------------------------------

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
