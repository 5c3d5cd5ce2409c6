// Kernel bodies that share a batch out among tasks, as csrc/core/replay_tasks.cpp. As in sample_bodies.h, a draw is
// phases, from the third on in task_sample_bodies.h:
//
//   share     one block: which tasks take part, and how many draws each has
//   measure   a warp for each task: its mass, the mass before its region, its smallest probability; if there are masses
//   draw      slots, their probabilities, and the weights that depend on one item alone
//   weigh     weights that need the smallest probability of the batch
//   sum       their sum, added up in order by one thread of one block, as on the CPU
//   divide    by it
//   finish    the draw counter, by one thread
#pragma once

#include "cuda/sample_bodies.h"
#include "cuda/task_mass_bodies.h"

namespace metarl::cuda {

constexpr int kWeightBits = 31;  // of the largest weight of a mixture, as replay_tasks.cpp
constexpr int kMostBlockThreads = 1024;

struct TaskSampleShared {
  std::uint64_t warps[kWarp];
  std::uint64_t largest;    // weight, as bits
  std::uint64_t first_bad;  // ~task of the first one that is
  std::uint64_t missing;    // ~task of the first one without slots
  std::uint64_t drawable;
  double weights[kMostBlockThreads];
};

template <typename Context>
METARL_KERNEL double beta_of(Context& ctx, const TaskSampleCall& call) {
  return call.beta_memory != nullptr ? ctx.load(call.beta_memory) : call.beta;
}

template <typename Context>
METARL_KERNEL std::uint32_t sample_error(Context& ctx, const TaskSampleCall& call) {
  const std::uint32_t error = ctx.load(&call.tasks.state->error);
  if (error != 0) return error;
  return call.n > 0 && !is_good_beta(beta_of(ctx, call)) ? kErrorBeta : 0u;
}

// ---- shares ---------------------------------------------------------------------------------------------------------

// floor((n * weights + rest) / sum). Needs weights <= sum < 2^48, rest < sum.
METARL_HD std::uint64_t share_end(std::uint64_t n, std::uint64_t weights, std::uint64_t rest, std::uint64_t sum) {
  const std::uint64_t low = n * weights + rest;
  std::uint64_t high = mul_high(n, weights) + (low < rest ? 1 : 0);
  if (high == 0) return low / sum;
  std::uint64_t quotient = 0;  // it fits: high < sum
  for (int bit = 63; bit >= 0; --bit) {
    high = high << 1 | (low >> bit & 1);
    quotient <<= 1;
    if (high < sum) continue;
    high -= sum;
    quotient |= 1;
  }
  return quotient;
}

template <typename Context>
METARL_KERNEL double given_weight(Context& ctx, const TaskSampleCall& call, std::int64_t task) {
  return call.wide_weights != nullptr ? ctx.load(call.wide_weights + task)
                                      : static_cast<double>(ctx.load(call.short_weights + task));
}

// As an integer whose ratio to the largest one is kept.
METARL_HD std::uint32_t integer_weight(double weight, double largest) {
  if (weight <= 0.0) return 0;
  const int up = kWeightBits - 1 - exponent_of(largest);
  // In two steps, as the power alone may not be a number; the first is exact, and so is what counts of the second.
  const int half = up / 2;
  const double scaled = weight * power_of_two(half) * power_of_two(up - half);
  const auto down = static_cast<std::uint32_t>(scaled);  // at most 2^31
  const std::uint32_t rounded = down + (scaled - static_cast<double>(down) >= 0.5 ? 1u : 0u);
  return rounded != 0 ? rounded : 1u;
}

// Of a weight in an array: the largest, or the first that is none.
template <typename Context>
METARL_KERNEL void look_at_weights(Context& ctx, const TaskSampleCall& call, TaskSampleShared* shared) {
  for (std::int64_t task = ctx.thread(); task < call.num_listed; task += ctx.block_threads()) {
    const std::uint64_t bits = double_bits(given_weight(ctx, call, task) + 0.0);  // minus zero is zero
    if (bits < 0x7FF0000000000000ull) {
      if (bits != 0) ctx.atomic_max(&shared->largest, bits);
    } else {
      ctx.atomic_max(&shared->first_bad, ~static_cast<std::uint64_t>(task));
    }
  }
}

template <typename Context>
METARL_KERNEL ListedTask candidate_at(Context& ctx, const TaskSampleCall& call, std::int64_t i, double largest) {
  switch (call.mix) {
    case TaskMixKind::balanced:
      return ListedTask{static_cast<std::uint32_t>(i), 1};
    case TaskMixKind::listed:
      return call.listed[i];
    case TaskMixKind::uploaded:
      return ctx.load(call.uploaded + i);
    default:
      return ListedTask{static_cast<std::uint32_t>(i), integer_weight(given_weight(ctx, call, i), largest)};
  }
}

template <typename Context>
METARL_KERNEL void fail_draw(Context& ctx, TaskState* state, std::uint32_t error, std::int64_t index, double value) {
  ctx.store(&state->error, error);
  ctx.store(&state->error_index, index);
  ctx.store(&state->error_value, value);
}

// Slots of a task that takes part, or 0.
template <typename Context>
METARL_KERNEL std::uint32_t count_of(Context& ctx, const DeviceTasks& tasks, const ListedTask& given) {
  const bool known = given.weight != 0 && static_cast<std::int64_t>(given.task) < tasks.num_ids;
  return known ? ctx.load(&tasks.regions[given.task].count) : 0u;
}

// The tasks that take part, with what is known of them at once; the sum of their weights.
template <typename Context>
METARL_KERNEL std::uint64_t list_shares(Context& ctx, const TaskSampleCall& call, double largest,
                                        TaskSampleShared* shared) {
  const DeviceTasks& tasks = call.tasks;
  const bool balanced = call.mix == TaskMixKind::balanced;
  const std::int64_t candidates = balanced ? std::int64_t{ctx.load(&tasks.state->id_end)} : call.num_listed;
  const IdRange range = ids_of_thread(ctx, candidates);
  std::uint64_t number = 0;
  std::uint64_t weight = 0;
  std::uint64_t drawable = 0;
  for (std::int64_t i = range.begin; i < range.end; ++i) {
    const ListedTask given = candidate_at(ctx, call, i, largest);
    const std::uint32_t count = count_of(ctx, tasks, given);
    if (given.weight != 0 && count == 0 && !balanced) {
      ctx.atomic_max(&shared->missing, ~std::uint64_t{given.task});
    }
    if (count == 0) continue;
    ++number;
    weight += given.weight;
    drawable += count;
  }
  if (drawable != 0) ctx.atomic_add(&shared->drawable, drawable);
  const BlockSum numbers = sum_in_block(ctx, number, shared->warps);
  const BlockSum weights = sum_in_block(ctx, weight, shared->warps);
  number = numbers.before;
  weight = weights.before;
  for (std::int64_t i = range.begin; i < range.end; ++i) {
    const ListedTask given = candidate_at(ctx, call, i, largest);
    const std::uint32_t count = count_of(ctx, tasks, given);
    if (count == 0) continue;
    TaskShare share{};
    weight += given.weight;
    share.before = weight;
    share.task = given.task;
    share.count = count;
    share.weight = given.weight;
    ctx.store(tasks.shares + number, share);
    ++number;
  }
  if (ctx.thread() == 0) {
    ctx.store(&tasks.state->num_shares, static_cast<std::uint32_t>(numbers.all));
    ctx.store(&tasks.state->weight_sum, weights.all);
  }
  return weights.all;
}

// By one block. Systematic rounding, as draw_tasks on the CPU, whose number of draws up to each task this is.
template <typename Context>
METARL_KERNEL void share_draws(Context& ctx, const TaskSampleCall& call, TaskSampleShared* shared) {
  TaskState* state = call.tasks.state;
  const bool empty = ctx.load(&call.tree.state->num_valid) == 0;
  if (ctx.thread() == 0) {
    ctx.store(&shared->largest, 0u);
    ctx.store(&shared->first_bad, 0u);
    ctx.store(&shared->missing, 0u);
    ctx.store(&shared->drawable, 0u);
    fail_draw(ctx, state, empty ? kErrorEmpty : 0u, 0, 0.0);
    ctx.store(&state->num_shares, 0u);
    ctx.store(&state->drawable, 0u);
    ctx.store(&state->least_share, 0u);
    ctx.store(&state->least_drawn, 0u);
  }
  ctx.sync();
  if (empty) return;
  if (call.mix == TaskMixKind::weighted) {
    look_at_weights(ctx, call, shared);
    ctx.sync();
    const std::uint64_t bad = ctx.load(&shared->first_bad);
    if (bad != 0 || ctx.load(&shared->largest) == 0) {
      if (ctx.thread() != 0) return;
      const auto task = static_cast<std::int64_t>(~bad);
      return fail_draw(ctx, state, kErrorShare, bad != 0 ? task : -1, bad != 0 ? given_weight(ctx, call, task) : 0.0);
    }
  }
  const std::uint64_t sum = list_shares(ctx, call, bits_double(ctx.load(&shared->largest)), shared);
  ctx.sync();
  const std::uint64_t missing = ctx.load(&shared->missing);
  if (missing != 0) {
    if (ctx.thread() == 0) fail_draw(ctx, state, kErrorNoTask, static_cast<std::int64_t>(~missing), 0.0);
    return;
  }
  if (ctx.thread() == 0) ctx.store(&state->drawable, ctx.load(&shared->drawable));
  const PhiloxBlock block = philox(call.key, 0, ctx.load(&call.tree.state->draws), kTagTaskCounts);
  const std::uint64_t rest = draw_uniform(std::uint64_t{block.v[0]} << 32 | block.v[1], sum);
  const std::int64_t num_shares = ctx.load(&state->num_shares);
  for (std::int64_t s = ctx.thread(); s < num_shares; s += ctx.block_threads()) {
    TaskShare* share = call.tasks.shares + s;
    const std::uint64_t end = share_end(static_cast<std::uint64_t>(call.n), ctx.load(&share->before), rest, sum);
    ctx.store(&share->end, static_cast<std::uint32_t>(end));
  }
}

template <typename Context>
METARL_KERNEL double share_part(Context& ctx, const TaskSampleCall& call, const TaskShare& share) {
  return static_cast<double>(share.weight) / static_cast<double>(ctx.load(&call.tasks.state->weight_sum));
}

// ---- measures -------------------------------------------------------------------------------------------------------

// Mass of the places before one, in all lanes of a warp. No load depends on another one.
template <typename Context>
METARL_KERNEL std::uint64_t mass_before(Context& ctx, const DeviceTree& tree, std::uint64_t place) {
  std::uint64_t sum = 0;
  std::uint64_t node = place >> kGroupBits;
  if (static_cast<std::uint64_t>(ctx.lane()) < place - (node << kGroupBits)) {
    sum += ctx.load(tree.leaves + (node << kGroupBits) + ctx.lane());
  }
  for (int level = 0; level < tree.num_levels; ++level) {
    const std::uint64_t line = node >> kSumBits << kSumBits;
    if (static_cast<std::uint64_t>(ctx.lane()) < node - line) sum += ctx.load(tree.sums[level] + line + ctx.lane());
    node >>= kSumBits;
  }
  for (int step = 1; step < kWarp; step *= 2) sum += ctx.shuffle_xor(kAllLanes, sum, step);
  return sum;
}

// Smallest positive mass of the places [begin, end), or 0: of whole blocks their keys say it.
template <typename Context>
METARL_KERNEL std::uint32_t smallest_mass(Context& ctx, const DeviceTree& tree, std::int64_t begin, std::int64_t end) {
  std::uint32_t key = 0;
  const auto look = [&](std::int64_t from, std::int64_t to) {
    for (std::int64_t at = from + ctx.lane(); at < to; at += kWarp) {
      const std::uint32_t other = extreme_key(1, ctx.load(tree.leaves + at));
      key = other > key ? other : key;
    }
  };
  const std::int64_t first = blocks_to(static_cast<std::uint64_t>(begin)) << kTreeBlockBits;
  const std::int64_t last = end >> kTreeBlockBits << kTreeBlockBits;
  if (first >= last) {
    look(begin, end);
  } else {
    look(begin, first);
    for (std::int64_t b = (first >> kTreeBlockBits) + ctx.lane(); b < last >> kTreeBlockBits; b += kWarp) {
      const std::uint32_t other = ctx.load(tree.keys[1] + b);
      key = other > key ? other : key;
    }
    look(last, end);
  }
  return extreme_key(1, warp_max(ctx, key));
}

template <typename Context>
METARL_KERNEL void measure_shares(Context& ctx, const TaskSampleCall& call) {
  const DeviceTasks& tasks = call.tasks;
  if (!tasks.weighted || sample_error(ctx, call) != 0) return;
  const std::int64_t num_shares = ctx.load(&tasks.state->num_shares);
  for (std::int64_t s = grid_thread(ctx) / kWarp; s < num_shares; s += grid_threads(ctx) / kWarp) {
    TaskShare share = ctx.load(tasks.shares + s);
    const std::uint64_t begin = ctx.load(&tasks.regions[share.task].begin);
    share.before = mass_before(ctx, tasks.masses, begin);
    share.total = mass_before(ctx, tasks.masses, begin + share.count) - share.before;
    double least = share_part(ctx, call, share) / static_cast<double>(share.count);
    if (call.n > 0 && call.normalization == WeightNormalization::max && call.mode != SamplingMode::uniform &&
        share.total != 0) {
      const auto first = static_cast<std::int64_t>(begin);
      const std::uint32_t smallest = smallest_mass(ctx, tasks.masses, first, first + std::int64_t{share.count});
      least = share_part(ctx, call, share) * (static_cast<double>(smallest) / static_cast<double>(share.total));
    }
    if (ctx.lane() != 0) continue;
    ctx.store(tasks.shares + s, share);
    ctx.atomic_max(&tasks.state->least_share, ~double_bits(least));
  }
}

}  // namespace metarl::cuda
