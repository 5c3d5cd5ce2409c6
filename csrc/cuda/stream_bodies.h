// Kernel bodies that order transitions into chains and set their leaves; see device_streams.h. The decisions are
// those of metarl/detail/stream_chains.h, which the CPU's buffer takes, too.
#pragma once

#include "cuda/copy_bodies.h"
#include "cuda/device_streams.h"
#include "cuda/replay_bodies.h"

namespace metarl::cuda {

// ---- what rows hold -------------------------------------------------------------------------------------------------

// Whether two runs of bytes differ; all lanes of a warp ask the same.
template <typename Context>
METARL_KERNEL bool differ(Context& ctx, const std::byte* a, const std::byte* b, std::int64_t bytes) {
  const auto bits =
      reinterpret_cast<std::uintptr_t>(a) | reinterpret_cast<std::uintptr_t>(b) | static_cast<std::uintptr_t>(bytes);
  const std::int64_t unit = bits % 4 == 0 ? 4 : 1;
  for (std::int64_t begin = 0; begin < bytes; begin += kWarp * unit) {
    const std::int64_t at = begin + ctx.lane() * unit;
    bool other = false;
    if (at < bytes && unit == 4) {
      other = ctx.load(reinterpret_cast<const std::uint32_t*>(a + at)) !=
              ctx.load(reinterpret_cast<const std::uint32_t*>(b + at));
    } else if (at < bytes) {
      other = ctx.load(a + at) != ctx.load(b + at);
    }
    if (ctx.ballot(kAllLanes, other) != 0) return true;
  }
  return false;
}

// The first bad one in the order of fields, then of rows, as the CPU looks.
constexpr int kBadPairShift = 40;

// Stacks store each frame once: the next one must be the same moved on. A warp takes a row.
template <typename Context>
METARL_KERNEL void check_stacks(Context& ctx, const StreamCall& call) {
  TreeState* state = call.tree.state;
  if ((ctx.peek(&state->bad) & kErrorTask) != 0) return;  // which the CPU looks at first
  for (std::int64_t row = grid_thread(ctx) / kWarp; row < call.n; row += grid_threads(ctx) / kWarp) {
    for (int p = 0; p < call.num_pairs; ++p) {
      const StreamPair& pair = call.pairs[p];
      if (pair.stack == 1) continue;
      const std::int64_t at = row * pair.bytes;
      if (!differ(ctx, call.next[p] + at, call.now[p] + at + pair.frame, pair.bytes - pair.frame)) continue;
      if (ctx.lane() != 0) continue;
      const std::uint64_t place = static_cast<std::uint64_t>(p) << kBadPairShift | static_cast<std::uint64_t>(row);
      ctx.atomic_or(&state->bad, kErrorStack);
      ctx.atomic_max(&state->first_bad, ~place);
    }
  }
}

// What the newest transition of a row's stream announced, or null if there is none.
template <typename Context>
METARL_KERNEL const std::byte* announced(Context& ctx, const StreamCall& call, int p, std::int64_t row,
                                         std::int64_t env) {
  const StreamPair& pair = call.pairs[p];
  if (call.streams.num_envs == 1 && row > 0) return call.next[p] + (row - 1) * pair.bytes;
  if (call.streams.rules.share_next) return call.streams.pending + env * call.streams.pending_bytes + pair.pending;
  const std::int64_t last = ctx.load(call.streams.table + env * call.streams.table_columns);
  return last < 0 ? nullptr : pair.next + last * pair.next_stride;
}

template <typename Context>
METARL_KERNEL int history_of(Context& ctx, const StreamPair& pair, const std::byte* stack) {
  int same = 0;  // frames 0 ... same are equal
  while (same + 1 < pair.stack && !differ(ctx, stack, stack + (same + 1) * pair.frame, pair.frame)) ++same;
  return pair.stack - 1 - same;
}

template <typename Context>
METARL_KERNEL void note_rows(Context& ctx, const StreamCall& call) {
  const DeviceStreams& streams = call.streams;
  for (std::int64_t i = grid_thread(ctx) / kWarp; i < call.count; i += grid_threads(ctx) / kWarp) {
    const std::int64_t row = call.first + i;
    const std::int64_t env = streams.num_envs == 1 ? 0 : row;
    bool continues = true;
    int history = 0;
    for (int p = 0; p < call.num_pairs; ++p) {
      const StreamPair& pair = call.pairs[p];
      const std::byte* now = call.now[p] + row * pair.bytes;
      const std::byte* before = announced(ctx, call, p, row, env);
      continues = continues && before != nullptr && !differ(ctx, before, now, pair.bytes);
      const int frames = history_of(ctx, pair, now);
      history = frames > history ? frames : history;
    }
    if (ctx.lane() != 0) continue;
    const auto is_set = [&](const std::uint8_t* flags) { return flags != nullptr && ctx.load(flags + row) != 0; };
    const bool ends = is_set(call.terminated) || is_set(call.truncated);
    ctx.store(streams.facts + i, (continues ? kRowContinues : 0u) | (ends ? kRowEnds : 0u) |
                                     static_cast<std::uint32_t>(history) << kRowHistoryShift);
    ctx.store(streams.row_slots + i, -1);
    ctx.store(streams.row_envs + i, -1);
  }
}

// ---- the order of rows ----------------------------------------------------------------------------------------------

// The Memory of stream_chains.h, for one thread. What it changes of `work` its owner stores.
template <typename Context>
struct DeviceMemory {
  Context& ctx;
  const StreamCall& call;
  const DeviceStreams& streams;
  const chains::ChainRules& rules;
  std::uint64_t num_written;
  StreamWork work;
  std::uint32_t hidden_before = 0;  // of windows that are complete
  std::uint32_t shown_before = 0;

  METARL_KERNEL_TEMPLATE std::uint64_t written() const { return num_written; }
  METARL_KERNEL_TEMPLATE void advance() { ++num_written; }
  METARL_KERNEL_TEMPLATE std::uint64_t begun() const { return work.begun; }

  METARL_KERNEL_TEMPLATE std::uint32_t* link(std::byte* links, std::int64_t slot) const {
    return reinterpret_cast<std::uint32_t*>(links + slot * streams.link_stride);
  }
  METARL_KERNEL_TEMPLATE std::uint32_t next(std::int64_t slot) { return ctx.load(link(streams.next_links, slot)); }
  METARL_KERNEL_TEMPLATE void set_next(std::int64_t slot, std::uint32_t to) {
    ctx.store(link(streams.next_links, slot), to);
  }
  METARL_KERNEL_TEMPLATE std::uint32_t previous(std::int64_t slot) {
    return ctx.load(link(streams.previous_links, slot));
  }
  METARL_KERNEL_TEMPLATE void set_previous(std::int64_t slot, std::uint32_t to) {
    ctx.store(link(streams.previous_links, slot), to);
  }

  METARL_KERNEL_TEMPLATE std::int64_t* number(std::int64_t env, std::int64_t column) const {
    return streams.table + env * streams.table_columns + column;
  }
  METARL_KERNEL_TEMPLATE std::int64_t last(std::int64_t env) { return ctx.load(number(env, 0)); }
  METARL_KERNEL_TEMPLATE void set_last(std::int64_t env, std::int64_t slot) { ctx.store(number(env, 0), slot); }
  METARL_KERNEL_TEMPLATE std::int64_t position(std::int64_t env) { return ctx.load(number(env, 1)); }
  METARL_KERNEL_TEMPLATE void set_position(std::int64_t env, std::int64_t to) { ctx.store(number(env, 1), to); }
  METARL_KERNEL_TEMPLATE bool ended(std::int64_t env) { return ctx.load(number(env, 2)) != 0; }
  METARL_KERNEL_TEMPLATE void set_ended(std::int64_t env, bool to) { ctx.store(number(env, 2), to ? 1 : 0); }
  METARL_KERNEL_TEMPLATE std::int64_t candidates(std::int64_t env) { return ctx.load(number(env, 3)); }
  METARL_KERNEL_TEMPLATE std::int64_t* candidate_at(std::int64_t env, std::int64_t k) const {
    return number(env, chains::kStreamNumbers + chains::kPerCandidate * k);
  }
  METARL_KERNEL_TEMPLATE chains::Candidate candidate(std::int64_t env, std::int64_t k) {
    const std::int64_t* at = candidate_at(env, k);
    return chains::Candidate{ctx.load(at), static_cast<std::uint64_t>(ctx.load(at + 1)), ctx.load(at + 2)};
  }
  METARL_KERNEL_TEMPLATE void set_candidate(std::int64_t env, std::int64_t k, const chains::Candidate& to) {
    std::int64_t* at = candidate_at(env, k);
    ctx.store(at, to.slot);
    ctx.store(at + 1, static_cast<std::int64_t>(to.number));
    ctx.store(at + 2, to.position);
  }
  METARL_KERNEL_TEMPLATE void push_candidate(std::int64_t env, const chains::Candidate& added) {
    const std::int64_t count = candidates(env);
    set_candidate(env, count, added);
    ctx.store(number(env, 3), count + 1);
  }
  METARL_KERNEL_TEMPLATE void drop_candidate(std::int64_t env) {
    const std::int64_t count = candidates(env);
    for (std::int64_t k = 1; k < count; ++k) set_candidate(env, k - 1, candidate(env, k));
    ctx.store(number(env, 3), count - 1);
  }
  METARL_KERNEL_TEMPLATE void clear_candidates(std::int64_t env) { ctx.store(number(env, 3), 0); }

  METARL_KERNEL_TEMPLATE void hide(std::int64_t slot) {
    ctx.store(streams.hidden + work.num_hidden++, static_cast<std::uint32_t>(slot));
  }
  METARL_KERNEL_TEMPLATE void show(std::int64_t slot) {
    ctx.store(streams.shown + work.num_shown++, static_cast<std::uint32_t>(slot));
  }
  METARL_KERNEL_TEMPLATE bool shows_any() const { return work.num_shown > shown_before; }
  METARL_KERNEL_TEMPLATE bool shows(std::int64_t slot) {
    for (std::uint32_t k = shown_before; k < work.num_shown; ++k) {
      if (ctx.load(streams.shown + k) == static_cast<std::uint32_t>(slot)) return true;
    }
    return false;
  }
  METARL_KERNEL_TEMPLATE void apply() {
    work.begun = num_written;
    if (work.num_hidden == hidden_before && !shows_any()) return;
    // Their slots may hold other rows when the changes are applied.
    for (std::uint32_t k = shown_before; call.task_rows != nullptr && k < work.num_shown; ++k) {
      const std::byte* at = stored_task<Context>(call.tasks, std::int64_t{ctx.load(streams.shown + k)});
      ctx.store(streams.shown_tasks + k, static_cast<std::uint32_t>(load_task(ctx, call.tasks, at)));
    }
    ctx.store(streams.windows + work.num_windows++, StreamWindow{work.num_hidden, work.num_shown});
    hidden_before = work.num_hidden;
    shown_before = work.num_shown;
  }

  METARL_KERNEL_TEMPLATE std::uint32_t facts(std::int64_t row) { return ctx.load(streams.facts + (row - call.first)); }
  METARL_KERNEL_TEMPLATE bool continues(std::int64_t, std::int64_t row) { return (facts(row) & kRowContinues) != 0; }
  METARL_KERNEL_TEMPLATE bool ends(std::int64_t row) { return (facts(row) & kRowEnds) != 0; }
  METARL_KERNEL_TEMPLATE int history(std::int64_t row) { return static_cast<int>(facts(row) >> kRowHistoryShift); }

  METARL_KERNEL_TEMPLATE void write_history(std::int64_t slot, std::int64_t row, int back) {
    ctx.store(streams.frames + work.num_frames++, FrameWrite{slot, row, 0, back});
  }
  METARL_KERNEL_TEMPLATE void write_tail(std::int64_t slot, std::int64_t env) {
    // Of several streams each has one row in a call, which has the stream's number.
    const bool is_given = streams.num_envs == 1 || work.newest_row == env;
    ctx.store(streams.frames + work.num_frames++, FrameWrite{slot, is_given ? work.newest_row : -1, env, 0});
  }
  METARL_KERNEL_TEMPLATE void write_row(std::int64_t env, std::int64_t row, std::int64_t slot) {
    if (call.task_rows != nullptr) {  // apply() needs it before the row is copied
      const std::int64_t task = load_task(ctx, call.tasks, call.task_rows + row * call.tasks.bytes);
      store_task(ctx, call.tasks, stored_task<Context>(call.tasks, slot), task);
    }
    if (streams.num_envs == 1 && work.newest_row >= call.first) {
      ctx.store(streams.row_envs + (work.newest_row - call.first), -1);
    }
    ctx.store(streams.row_envs + (row - call.first), env);
    work.newest_row = row;
  }
  METARL_KERNEL_TEMPLATE void note_slot(std::int64_t row, std::int64_t slot) {
    ctx.store(streams.row_slots + (row - call.first), slot);
  }
};

template <typename Context>
METARL_KERNEL void order_rows(Context& ctx, const StreamCall& call) {
  ReplayState* state = call.replay.state;
  const std::uint64_t written = ctx.load(&state->written);
  StreamWork work = call.first == 0 ? StreamWork{written, -1, 0, 0, 0, 0} : ctx.load(call.streams.work);
  work.num_frames = 0;
  DeviceMemory<Context> memory{ctx, call, call.streams, call.streams.rules, written, work};
  for (std::int64_t row = call.first; row < call.first + call.count; ++row) {
    chains::add_row(memory, call.streams.num_envs == 1 ? 0 : row, row);
  }
  if (call.first + call.count == call.n) memory.apply();
  ctx.store(call.streams.work, memory.work);
  ctx.store(&state->written, memory.num_written);
}

// ---- leaves ---------------------------------------------------------------------------------------------------------

// A call of set_bodies.h: some slots are hidden, or get the running maximum.
struct WindowCall {
  const DeviceTree& tree;
  const DeviceReplay& replay;
  const std::uint32_t* slots;
  std::int64_t n;
  SetKind kind;
};

template <typename Context>
METARL_KERNEL std::int64_t index_at(Context& ctx, const WindowCall& call, std::int64_t item) {
  return static_cast<std::int64_t>(ctx.load(call.slots + item));
}
template <typename Context>
METARL_KERNEL double priority_at(Context& ctx, const WindowCall& call, std::int64_t) {
  return call.kind == SetKind::invalidate ? 0.0 : ctx.load(&call.replay.state->running_max_scaled);
}
template <typename Context>
METARL_KERNEL std::uint64_t count_set(Context&, const WindowCall& call) {
  return static_cast<std::uint64_t>(call.n);
}
template <typename Context>
METARL_KERNEL double top_priority(Context& ctx, const WindowCall& call) {
  return ctx.load(&call.replay.state->running_max_scaled);
}
template <typename Context>
METARL_KERNEL void note_item(Context& ctx, const WindowCall& call, std::int64_t, std::int64_t index) {
  if (call.kind == SetKind::set) ctx.store(call.replay.raw + index, ctx.load(&call.replay.state->running_max));
}
template <typename Context>
METARL_KERNEL void finish_owner(Context&, const WindowCall&, std::uint32_t) {}
template <typename Context>
METARL_KERNEL std::int64_t given_index(Context&, const WindowCall&, std::int64_t) {
  return 0;
}
template <typename Context>
METARL_KERNEL double given_value(Context&, const WindowCall&, std::int64_t) {
  return 0.0;
}
template <typename Context>
METARL_KERNEL void check_items(Context& ctx, const WindowCall& call) {
  for (std::int64_t i = grid_thread(ctx); i < call.n; i += grid_threads(ctx)) {
    ctx.atomic_max(call.tree.owners + index_at(ctx, call, i), static_cast<std::uint32_t>(i + 1));
  }
}

// Moves list[begin, end) to its front, by one block.
template <typename Context>
METARL_KERNEL void move_to_front(Context& ctx, std::uint32_t* list, std::uint32_t begin, std::uint32_t end) {
  const auto threads = static_cast<std::uint32_t>(ctx.block_threads());
  for (std::uint32_t part = begin; begin > 0 && part < end; part += threads) {
    const std::uint32_t from = part + static_cast<std::uint32_t>(ctx.thread());
    const std::uint32_t slot = from < end ? ctx.load(list + from) : 0u;
    ctx.sync();
    if (from < end) ctx.store(list + (from - begin), slot);
    ctx.sync();
  }
}

template <typename Context>
METARL_KERNEL_CALL void set_window(Context& ctx, const StreamCall& call, const std::uint32_t* slots, std::uint32_t n,
                                   SetKind kind, SetShared* shared) {
  const WindowCall window{call.tree, call.replay, slots, static_cast<std::int64_t>(n), kind};
  set_in_one_block(ctx, window, shared);
  ctx.sync();
}

// One call at a time needs it.
union RowsShared {
  SetShared sets;
  TaskShared tasks;
};

template <typename Context>
METARL_KERNEL void record_bad_row(Context& ctx, const StreamCall& call, std::uint32_t bad, std::uint64_t place) {
  TreeState* tree = call.tree.state;
  if ((bad & kErrorTask) != 0) {
    const std::int64_t task =
        load_task(ctx, call.tasks, call.task_rows + static_cast<std::int64_t>(place) * call.tasks.bytes);
    return record_error(ctx, tree, bad, place, task, static_cast<double>(call.n));
  }
  record_error(ctx, tree, bad, place & ((std::uint64_t{1} << kBadPairShift) - 1),
               kFirstPairIndex + static_cast<std::int64_t>(place >> kBadPairShift), 0.0);
}

template <typename Context>
METARL_KERNEL_CALL void order_window(Context& ctx, const StreamCall& call, const StreamWindow& before,
                                     const StreamWindow& window, TaskShared* shared) {
  TaskItems hidden{};
  hidden.n = window.hidden_end - before.hidden_end;
  hidden.leave = true;
  hidden.short_slots = call.streams.hidden + before.hidden_end;
  place_items(ctx, call.tasks, hidden, shared);
  TaskItems shown{};
  shown.n = window.shown_end - before.shown_end;
  shown.short_slots = call.streams.shown + before.shown_end;
  shown.tasks = call.streams.shown_tasks + before.shown_end;
  place_items(ctx, call.tasks, shown, shared);
}

// By one block.
template <typename Context>
METARL_KERNEL void plan_rows(Context& ctx, const StreamCall& call, RowsShared* rows_shared) {
  TreeState* tree = call.tree.state;
  SetShared* shared = &rows_shared->sets;
  const bool has_tasks = call.task_rows != nullptr;
  const bool is_last = call.first + call.count == call.n;
  if (has_tasks) begin_order(ctx, call.tasks);
  const std::uint32_t bad = ctx.load(&tree->bad);
  const std::uint64_t calls = ctx.load(&tree->calls);
  ctx.sync();
  if (bad != 0) {  // note_rows has said that no row is stored
    if (ctx.thread() != 0) return;
    ctx.store(&call.streams.work->num_frames, 0u);
    if (!is_last) return;
    record_bad_row(ctx, call, bad, ~ctx.load(&tree->first_bad));
    ctx.store(&tree->calls, calls + 1);
    ctx.store(&tree->first_bad, 0u);
    ctx.store(&tree->bad, 0u);
    return;
  }
  if (ctx.thread() == 0) order_rows(ctx, call);
  ctx.sync();
  // As the CPU's tree is prepared for the largest priority before anything changes.
  if (call.first == 0) set_window(ctx, call, call.streams.hidden, 0, SetKind::fit, shared);
  const StreamWork work = ctx.load(call.streams.work);
  ctx.sync();
  StreamWindow before{0, 0};
  for (std::uint32_t w = 0; w < work.num_windows; ++w) {
    const StreamWindow window = ctx.load(call.streams.windows + w);
    const std::uint32_t num_hidden = window.hidden_end - before.hidden_end;
    const std::uint32_t num_shown = window.shown_end - before.shown_end;
    if (num_hidden != 0) {
      set_window(ctx, call, call.streams.hidden + before.hidden_end, num_hidden, SetKind::invalidate, shared);
    }
    if (num_shown != 0) {
      set_window(ctx, call, call.streams.shown + before.shown_end, num_shown, SetKind::set, shared);
    }
    if (has_tasks) order_window(ctx, call, before, window, &rows_shared->tasks);
    before = window;
  }
  if (has_tasks) end_order(ctx, call.tasks, &rows_shared->tasks);
  move_to_front(ctx, call.streams.hidden, before.hidden_end, work.num_hidden);
  move_to_front(ctx, call.streams.shown, before.shown_end, work.num_shown);
  if (has_tasks) move_to_front(ctx, call.streams.shown_tasks, before.shown_end, work.num_shown);
  if (ctx.thread() != 0) return;
  StreamWork rest = work;
  rest.num_hidden -= before.hidden_end;
  rest.num_shown -= before.shown_end;
  rest.num_windows = 0;
  ctx.store(call.streams.work, rest);
  ctx.store(&tree->calls, calls + (is_last ? 1 : 0));
}

// ---- frames of hidden slots -----------------------------------------------------------------------------------------

template <typename Context>
METARL_KERNEL const std::byte* frame_source(const StreamCall& call, int p, const FrameWrite& write) {
  const StreamPair& pair = call.pairs[p];
  if (write.back > 0) {
    const std::int64_t frame = pair.stack - 1 - write.back;
    return call.now[p] + write.row * pair.bytes + (frame > 0 ? frame : 0) * pair.frame;
  }
  const std::byte* next = write.row >= 0 ? call.next[p] + write.row * pair.bytes
                                         : call.streams.pending + write.env * call.streams.pending_bytes + pair.pending;
  return next + (pair.bytes - pair.frame);
}

// A warp copies a frame of one field.
template <typename Context>
METARL_KERNEL void write_frames(Context& ctx, const StreamCall& call) {
  const std::int64_t count = ctx.load(&call.streams.work->num_frames);
  const std::int64_t works = count * call.num_pairs;
  for (std::int64_t work = grid_thread(ctx) / kWarp; work < works; work += grid_threads(ctx) / kWarp) {
    const FrameWrite write = ctx.load(call.streams.frames + work / call.num_pairs);
    const int p = static_cast<int>(work % call.num_pairs);
    const StreamPair& pair = call.pairs[p];
    const std::byte* from = frame_source<Context>(call, p, write);
    std::byte* to = pair.frames + write.slot * pair.frame_stride;
    const auto bits = reinterpret_cast<std::uintptr_t>(from) | reinterpret_cast<std::uintptr_t>(to) |
                      static_cast<std::uintptr_t>(pair.frame);
    const int unit_bits = bits % 16 == 0 ? 4 : bits % 4 == 0 ? 2 : 0;
    for (std::int64_t at = std::int64_t{ctx.lane()} << unit_bits; at < pair.frame;
         at += std::int64_t{kWarp} << unit_bits) {
      copy_unit(ctx, from + at, to + at, unit_bits, false);
    }
  }
}

}  // namespace metarl::cuda
