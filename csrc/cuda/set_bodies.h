// Kernel bodies that set leaves. A call is the phases below in order, each over the whole grid: a launch each, or all
// in one block with a barrier between them (plans.h decides). What a phase reads of the state no thread of it writes.
//
//   check    validates every item, finds the largest priority, and names the last item of each leaf its owner
//   fit      lowers the scale if the largest priority does not fit
//   apply    owners write their leaves and add the differences to the sums above
//   settle   extremes of the blocks that may have lost theirs
//   raise    raises the scale if all masses have become small
//   finish   the new state, by one thread
//
// A batch with a bad item changes nothing but the error.
//
// What differs between calls are the functions after SetCall: a replay buffer has its own of them (replay_bodies.h).
#pragma once

#include "cuda/context.h"
#include "cuda/device_tree.h"
#include "cuda/scale.h"

namespace metarl::cuda {

enum class SetKind : std::uint8_t {
  set,         // to the priorities; the leaves become valid
  invalidate,  // to mass 0; the leaves are not valid any more
  fit,         // none: the scale alone changes so that the largest priority fits
};

template <typename Priority>
struct SetCall {
  DeviceTree tree;
  const std::int64_t* indices;
  const Priority* priorities;  // not for invalidate
  std::int64_t n;              // < 2^32 - 1
  SetKind kind;
};

struct SetShared {
  std::uint64_t sums[2][kSharedSums];
};

template <typename Context, typename Priority>
METARL_KERNEL double priority_at(Context& ctx, const SetCall<Priority>& call, std::int64_t item) {
  // Minus zero is zero.
  return call.kind == SetKind::set ? static_cast<double>(ctx.load(call.priorities + item)) + 0.0 : 0.0;
}

template <typename Context, typename Priority>
METARL_KERNEL std::int64_t index_at(Context& ctx, const SetCall<Priority>& call, std::int64_t item) {
  return ctx.load(call.indices + item);
}

// Whether an item is the last one that sets its leaf. The others find the owner's tag or nothing: no more than one item
// sees its own.
template <typename Context, typename Call>
METARL_KERNEL bool take_ownership(Context& ctx, const Call& call, std::int64_t item, std::int64_t index) {
  if (ctx.peek(call.tree.owners + index) != static_cast<std::uint32_t>(item + 1)) return false;
  ctx.store(call.tree.owners + index, 0u);
  return true;
}

// How many items set leaves, and a bound of their priorities, after the check.
template <typename Context, typename Priority>
METARL_KERNEL std::uint64_t count_set(Context&, const SetCall<Priority>& call) {
  return static_cast<std::uint64_t>(call.n);
}
template <typename Context, typename Priority>
METARL_KERNEL double top_priority(Context& ctx, const SetCall<Priority>& call) {
  return bits_double(ctx.load(&call.tree.state->top_bits));
}

// What a call does besides, for each leaf that it sets and at its end.
template <typename Context, typename Priority>
METARL_KERNEL void note_item(Context&, const SetCall<Priority>&, std::int64_t, std::int64_t) {}
template <typename Context, typename Priority>
METARL_KERNEL void finish_owner(Context&, const SetCall<Priority>&, std::uint32_t) {}

// What was given as the item of an error.
template <typename Context, typename Priority>
METARL_KERNEL std::int64_t given_index(Context& ctx, const SetCall<Priority>& call, std::int64_t item) {
  return index_at(ctx, call, item);
}
template <typename Context, typename Priority>
METARL_KERNEL double given_value(Context& ctx, const SetCall<Priority>& call, std::int64_t item) {
  return priority_at(ctx, call, item);
}

template <typename Context, typename Priority>
METARL_KERNEL void check_items(Context& ctx, const SetCall<Priority>& call) {
  const DeviceTree& tree = call.tree;
  std::uint64_t top = 0;
  for (std::int64_t i = grid_thread(ctx); i < call.n; i += grid_threads(ctx)) {
    const std::int64_t index = ctx.load(call.indices + i);
    const bool inside = index >= 0 && index < tree.capacity;
    const std::uint64_t bits = double_bits(priority_at(ctx, call, i));
    const bool fine = bits < 0x7FF0000000000000ull;  // negative numbers, too, are above it
    if (inside) ctx.atomic_max(tree.owners + index, static_cast<std::uint32_t>(i + 1));
    if (inside && fine) {
      top = bits > top ? bits : top;
    } else {
      ctx.atomic_or(&tree.state->bad, (inside ? 0u : kErrorIndex) | (fine ? 0u : kErrorPriority));
      ctx.atomic_max(&tree.state->first_bad, ~static_cast<std::uint64_t>(i));
    }
  }
  top = warp_max(ctx, top);
  if (ctx.lane() == 0 && top != 0) ctx.atomic_max(&tree.state->top_bits, top);
}

template <typename Context, typename Call>
METARL_KERNEL ScaleChange planned_fit(Context& ctx, const Call& call) {
  TreeState* state = call.tree.state;
  const int exponent = ctx.load(&state->scale_exponent);
  if (call.kind == SetKind::invalidate) return ScaleChange{0, exponent, false};
  return fit_scale(top_priority(ctx, call), ctx.load(&state->total), exponent);
}

template <typename Context, typename Call>
METARL_KERNEL ScaleChange planned_raise(Context& ctx, const Call& call) {
  TreeState* state = call.tree.state;
  const ScaleChange fit = planned_fit(ctx, call);
  if (call.kind == SetKind::invalidate) return fit;
  if (call.kind == SetKind::fit) return ScaleChange{0, fit.exponent, false};
  const std::uint64_t changes = (fit.changed ? 0 : ctx.load(&state->changes)) + count_set(ctx, call);
  return raise_scale(ctx.load(&state->next_extremes[0]), changes, call.tree.capacity, fit.exponent);
}

// Adds what the leaves of a chunk of 128 have changed by, four a lane of a warp, to the sums above them. Others change
// the leaves of other chunks alone.
template <typename Context>
METARL_KERNEL void add_chunk(Context& ctx, const DeviceTree& tree, std::int64_t chunk, std::uint64_t delta) {
  for (int step = 1; step < 8; step *= 2) delta += ctx.shuffle_xor(kAllLanes, delta, step);
  const std::int64_t group = chunk * 4 + ctx.lane() / 8;
  if (ctx.lane() % 8 == 0 && delta != 0) ctx.store(tree.sums[0] + group, ctx.load(tree.sums[0] + group) + delta);
  // The four groups have one parent.
  for (int step = 8; step < kWarp; step *= 2) delta += ctx.shuffle_xor(kAllLanes, delta, step);
  if (ctx.lane() != 0 || delta == 0) return;
  for (int level = 1; level < tree.num_levels; ++level) {
    ctx.atomic_add(tree.sums[level] + (group >> (kSumBits * level)), delta);
  }
}

// Multiplies all masses by 2^shift. A warp takes 128 leaves, four a lane, so four groups.
template <typename Context>
METARL_KERNEL void shift_tree(Context& ctx, const DeviceTree& tree, int shift) {
  const std::int64_t chunks = tree.num_blocks * (kTreeBlockLeaves / 128);
  for (std::int64_t chunk = grid_thread(ctx) / kWarp; chunk < chunks; chunk += grid_threads(ctx) / kWarp) {
    std::uint32_t* leaves = tree.leaves + chunk * 128 + ctx.lane() * 4;
    const auto olds = ctx.template load_vector<4>(static_cast<const std::uint32_t*>(leaves));
    std::uint64_t delta = 0;
    for (int j = 0; j < 4; ++j) {
      const std::uint32_t mass = shift_mass(olds[j], shift);
      ctx.store(leaves + j, mass);
      delta += std::uint64_t{mass} - std::uint64_t{olds[j]};
    }
    add_chunk(ctx, tree, chunk, delta);
  }
  // A shift keeps the order of masses, and so which one is the extreme.
  for (std::int64_t b = grid_thread(ctx); b < tree.num_blocks; b += grid_threads(ctx)) {
    for (int which = 0; which < 2; ++which) {
      const std::uint32_t mass = extreme_key(which, ctx.load(tree.keys[which] + b));
      ctx.store(tree.keys[which] + b, extreme_key(which, shift_mass(mass, shift)));
    }
  }
}

template <typename Context, typename Call>
METARL_KERNEL void fit_masses(Context& ctx, const Call& call) {
  if (ctx.load(&call.tree.state->bad) != 0) return;
  const ScaleChange change = planned_fit(ctx, call);
  if (change.shift != 0) shift_tree(ctx, call.tree, change.shift);
}

template <typename Context>
METARL_KERNEL void change_validity(Context& ctx, const DeviceTree& tree, std::int64_t index, SetKind kind) {
  const std::uint32_t bit = 1u << (index & 31);
  std::uint32_t* word = tree.valid + (index >> 5);
  const bool is_valid = (ctx.peek(word) & bit) != 0;
  if (is_valid == (kind == SetKind::set)) return;
  // The owner alone changes this bit, others change theirs: adding it is setting it, adding its negative clears it.
  const std::uint32_t step = kind == SetKind::set ? 1u : ~0u;
  ctx.atomic_add(word, bit * step);
  ctx.atomic_add(tree.valid_counts + (index >> kTreeBlockBits), step);
  ctx.atomic_add(&tree.state->num_valid,
                 static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::int32_t>(step))));
  if (kind == SetKind::set) ctx.atomic_max(&tree.state->valid_end, static_cast<std::uint64_t>(index) + 1);
}

template <typename Context>
METARL_KERNEL void note_extremes(Context& ctx, const DeviceTree& tree, std::int64_t index, std::uint32_t old,
                                 std::uint32_t mass) {
  const std::int64_t b = index >> kTreeBlockBits;
  for (int which = 0; which < 2; ++which) {
    const std::uint32_t old_key = extreme_key(which, old);
    const std::uint32_t key = extreme_key(which, mass);
    const std::uint32_t top = ctx.peek(tree.keys[which] + b);
    if (key > top) ctx.atomic_max(tree.keys[which] + b, key);
    // If the key read was raised meanwhile, a leaf of this call holds it.
    if (old_key == top && key < old_key) ctx.atomic_or(tree.dirty + b, 1u << which);
  }
}

// Sums above changed leaves: those of a level with many are added to at once, those of the others in shared memory
// first. Begun and ended by all threads of a block.
template <typename Context>
METARL_KERNEL int begin_sums(Context& ctx, const DeviceTree& tree, SetShared* shared) {
  int direct = 0;  // the first level in shared memory
  while (tree.num_sums[direct] > kSharedSums) ++direct;
  const std::int64_t count = tree.num_sums[direct];
  for (std::int64_t s = ctx.thread(); s < count; s += ctx.block_threads()) ctx.store(&shared->sums[0][s], 0u);
  ctx.sync();
  return direct;
}

template <typename Context>
METARL_KERNEL void add_to_sums(Context& ctx, const DeviceTree& tree, std::int64_t index, std::uint64_t delta,
                               int direct, SetShared* shared) {
  std::int64_t sum = index >> kGroupBits;
  for (int level = 0; level < direct; ++level) {
    ctx.atomic_add(tree.sums[level] + sum, delta);
    sum >>= kSumBits;
  }
  ctx.atomic_add(&shared->sums[0][sum], delta);
}

template <typename Context>
METARL_KERNEL void end_sums(Context& ctx, const DeviceTree& tree, int direct, SetShared* shared) {
  std::int64_t count = tree.num_sums[direct];
  int side = 0;
  for (int level = direct; level < tree.num_levels; ++level) {
    ctx.sync();
    for (std::int64_t s = ctx.thread(); s < count; s += ctx.block_threads()) {
      const std::uint64_t delta = ctx.load(&shared->sums[side][s]);
      if (delta != 0) ctx.atomic_add(tree.sums[level] + s, delta);
    }
    const std::int64_t above = (count + kSumFanout - 1) / kSumFanout;
    if (level + 1 == tree.num_levels) break;
    for (std::int64_t m = ctx.thread(); m < above; m += ctx.block_threads()) {
      std::uint64_t delta = 0;
      for (std::int64_t s = m * kSumFanout; s < (m + 1) * kSumFanout && s < count; ++s) {
        delta += ctx.load(&shared->sums[side][s]);
      }
      ctx.store(&shared->sums[1 - side][m], delta);
    }
    side = 1 - side;
    count = above;
  }
}

template <typename Context, typename Call>
METARL_KERNEL void apply_items(Context& ctx, const Call& call, SetShared* shared) {
  const DeviceTree& tree = call.tree;
  const bool refused = ctx.load(&tree.state->bad) != 0;
  const double factor = power_of_two(planned_fit(ctx, call).exponent);
  const int direct = begin_sums(ctx, tree, shared);
  for (std::int64_t i = grid_thread(ctx); i < call.n; i += grid_threads(ctx)) {
    const std::int64_t index = index_at(ctx, call, i);
    if (index < 0 || index >= tree.capacity || !take_ownership(ctx, call, i, index) || refused) continue;
    note_item(ctx, call, i, index);
    const std::uint32_t old = ctx.load(tree.leaves + index);
    const std::uint32_t mass = to_mass(priority_at(ctx, call, i), factor);
    change_validity(ctx, tree, index, call.kind);
    if (mass == old) continue;
    ctx.store(tree.leaves + index, mass);
    note_extremes(ctx, tree, index, old, mass);
    add_to_sums(ctx, tree, index, std::uint64_t{mass} - std::uint64_t{old}, direct, shared);
  }
  end_sums(ctx, tree, direct, shared);
}

// A lane reads the keys of one block; a warp looks through the leaves of those that are dirty.
template <typename Context, typename Call>
METARL_KERNEL void settle_extremes(Context& ctx, const Call& call) {
  const DeviceTree& tree = call.tree;
  std::uint32_t tops[2] = {0, 0};
  for (std::int64_t first = grid_thread(ctx) / kWarp * kWarp; first < tree.num_blocks; first += grid_threads(ctx)) {
    const std::int64_t own = first + ctx.lane();
    const bool exists = own < tree.num_blocks;
    const std::uint32_t dirty = exists ? ctx.load(tree.dirty + own) : 0u;
    for (int which = 0; which < 2; ++which) {
      std::uint32_t key = exists ? ctx.load(tree.keys[which] + own) : 0u;
      std::uint32_t waiting = ctx.ballot(kAllLanes, (dirty >> which & 1) != 0);
      const bool is_dirty = (waiting >> ctx.lane() & 1) != 0;
      for (; waiting != 0; waiting &= waiting - 1) {
        const int chosen = highest_bit(waiting & (0u - waiting));
        const std::uint32_t* leaves = tree.leaves + ((first + chosen) << kTreeBlockBits) + ctx.lane() * 4;
        std::uint32_t most = 0;
        for (int part = 0; part < kTreeBlockLeaves; part += 128) {
          const auto masses = ctx.template load_vector<4>(leaves + part);
          for (int j = 0; j < 4; ++j) {
            const std::uint32_t other = extreme_key(which, masses[j]);
            most = other > most ? other : most;
          }
        }
        most = warp_max(ctx, most);
        key = ctx.lane() == chosen ? most : key;
      }
      if (is_dirty) ctx.store(tree.keys[which] + own, key);
      tops[which] = key > tops[which] ? key : tops[which];
    }
    if (dirty != 0) ctx.store(tree.dirty + own, 0u);
  }
  for (int which = 0; which < 2; ++which) {
    const std::uint32_t top = warp_max(ctx, tops[which]);
    if (ctx.lane() == 0 && top != 0) ctx.atomic_max(&tree.state->next_extremes[which], top);
  }
}

template <typename Context, typename Call>
METARL_KERNEL void raise_masses(Context& ctx, const Call& call) {
  if (ctx.load(&call.tree.state->bad) != 0) return;
  const ScaleChange change = planned_raise(ctx, call);
  if (change.shift != 0) shift_tree(ctx, call.tree, change.shift);
}

// Keeps what a call found, unless an earlier one failed.
template <typename Context>
METARL_KERNEL void record_error(Context& ctx, TreeState* state, std::uint32_t bad, std::uint64_t item,
                                std::int64_t index, double value) {
  const std::uint32_t before = ctx.load(&state->error);
  ctx.store(&state->error, before | bad);
  if (before != 0) return;
  ctx.store(&state->first_error, bad);
  ctx.store(&state->error_call, ctx.load(&state->calls));
  ctx.store(&state->error_item, item);
  ctx.store(&state->error_index, index);
  ctx.store(&state->error_value, value);
}

template <typename Context, typename Call>
METARL_KERNEL void finish_set(Context& ctx, const Call& call) {
  if (grid_thread(ctx) != 0) return;
  const DeviceTree& tree = call.tree;
  TreeState* state = tree.state;
  const std::uint32_t bad = ctx.load(&state->bad);
  if (bad != 0) {
    const auto item = static_cast<std::int64_t>(~ctx.load(&state->first_bad));
    record_error(ctx, state, bad, static_cast<std::uint64_t>(item), given_index(ctx, call, item),
                 given_value(ctx, call, item));
  } else {
    const ScaleChange fit = planned_fit(ctx, call);
    const ScaleChange raise = planned_raise(ctx, call);
    if (call.kind != SetKind::invalidate) {
      const std::uint64_t before = fit.changed ? 0 : ctx.load(&state->changes);
      ctx.store(&state->changes, raise.shift != 0 ? 0 : before + count_set(ctx, call));
      ctx.store(&state->rescales,
                ctx.load(&state->rescales) + (fit.shift != 0 ? 1u : 0u) + (raise.shift != 0 ? 1u : 0u));
      ctx.store(&state->scale_exponent, raise.exponent);
    }
    for (int which = 0; which < 2; ++which) {
      const std::uint32_t mass = extreme_key(which, ctx.load(&state->next_extremes[which]));
      const std::uint32_t shifted = call.kind == SetKind::set ? shift_mass(mass, raise.shift) : mass;
      ctx.store(&state->extremes[which], extreme_key(which, shifted));
    }
    ctx.store(&state->total, ctx.load(tree.sums[tree.num_levels - 1]));
  }
  finish_owner(ctx, call, bad);
  ctx.store(&state->calls, ctx.load(&state->calls) + 1);
  ctx.store(&state->top_bits, 0u);
  ctx.store(&state->first_bad, 0u);
  ctx.store(&state->bad, 0u);
  for (int which = 0; which < 2; ++which) ctx.store(&state->next_extremes[which], 0u);
}

// The whole call, by one block.
template <typename Context, typename Call>
METARL_KERNEL void set_in_one_block(Context& ctx, const Call& call, SetShared* shared) {
  check_items(ctx, call);
  ctx.sync();
  fit_masses(ctx, call);
  ctx.sync();
  apply_items(ctx, call, shared);
  ctx.sync();
  settle_extremes(ctx, call);
  ctx.sync();
  raise_masses(ctx, call);
  ctx.sync();
  finish_set(ctx, call);
}

}  // namespace metarl::cuda
