// Kernel bodies that draw from tasks: the phases of task_share_bodies.h from the third on.
#pragma once

#include "cuda/task_share_bodies.h"
#include "cuda/weight_bodies.h"

namespace metarl::cuda {

// ---- draws ----------------------------------------------------------------------------------------------------------

// The share that draw number `item` is of.
template <typename Context>
METARL_KERNEL std::int64_t share_of(Context& ctx, const DeviceTasks& tasks, std::int64_t num_shares,
                                    std::int64_t item) {
  std::int64_t low = 0;
  std::int64_t high = num_shares - 1;
  while (low < high) {
    const std::int64_t middle = (low + high) / 2;
    if (std::int64_t{ctx.load(&tasks.shares[middle].end)} > item) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

template <typename Context>
METARL_KERNEL double weight_factor(Context& ctx, const TaskSampleCall& call) {
  if (call.normalization != WeightNormalization::none) return 1.0;
  return static_cast<double>(static_cast<std::int64_t>(ctx.load(&call.tasks.state->drawable)));
}

// What probabilities are divided by, once it is known.
template <typename Context>
METARL_KERNEL double smallest_of(Context& ctx, const TaskSampleCall& call) {
  if (call.normalization == WeightNormalization::none) return 1.0;
  const TaskState* state = call.tasks.state;
  return bits_double(
      ~ctx.load(call.normalization == WeightNormalization::max ? &state->least_share : &state->least_drawn));
}

template <typename Context>
METARL_KERNEL void store_nothing(Context& ctx, const TaskSampleCall& call) {
  for (std::int64_t i = grid_thread(ctx); i < call.n; i += grid_threads(ctx)) {
    ctx.store(call.indices + i, 0);
    ctx.store(call.probabilities + i, 0.0);
    ctx.store(call.weights + i, 0.0f);
  }
}

template <typename Context>
METARL_KERNEL void draw_from_tasks(Context& ctx, const TaskSampleCall& call) {
  const DeviceTasks& tasks = call.tasks;
  if (sample_error(ctx, call) != 0) return store_nothing(ctx, call);
  const std::uint64_t number = ctx.load(&call.tree.state->draws);
  const std::int64_t num_shares = ctx.load(&tasks.state->num_shares);
  const bool may_descend = tasks.weighted && call.mode != SamplingMode::uniform &&
                           ctx.load(tasks.masses.sums[tasks.masses.num_levels - 1]) != 0;
  const bool weigh = tasks.weighted && !needs_batch(call.normalization);
  const double beta = beta_of(ctx, call);
  const double factor = weight_factor(ctx, call);
  const double smallest = weigh ? smallest_of(ctx, call) : 1.0;
  std::uint64_t least = 0;
  const int team = ctx.lane() / kTeam;
  for (std::int64_t first = grid_thread(ctx) / kWarp * kTeams; first < call.n;
       first += grid_threads(ctx) / kWarp * kTeams) {
    const bool mine = first + team < call.n;
    const std::int64_t item = mine ? first + team : call.n - 1;
    const std::int64_t s = share_of(ctx, tasks, num_shares, item);
    const TaskShare share = ctx.load(tasks.shares + s);
    const std::int64_t begin = s == 0 ? 0 : std::int64_t{ctx.load(&tasks.shares[s - 1].end)};
    const bool by_mass = may_descend && share.total != 0;
    const std::uint64_t population = by_mass ? share.total : std::uint64_t{share.count};
    const auto inside = static_cast<std::uint64_t>(item - begin);
    const PhiloxBlock block =
        philox(call.key, static_cast<std::uint32_t>(inside / 2), number, kTagTaskSample | share.task << 8);
    const std::uint64_t bits =
        inside % 2 == 0 ? std::uint64_t{block.v[0]} << 32 | block.v[1] : std::uint64_t{block.v[2]} << 32 | block.v[3];
    std::uint64_t at = 0;
    if (call.mode == SamplingMode::stratified) {
      const std::uint64_t draws = std::uint64_t{share.end} - static_cast<std::uint64_t>(begin);
      StratifiedDraws strata = make_stratified(population, draws, inside);
      at = next_stratified(strata, bits, population);
    } else {
      at = draw_uniform(bits, population);
    }
    Leaf leaf{static_cast<std::int64_t>(ctx.load(&tasks.regions[share.task].begin) + at), 0};
    if (may_descend) {
      const Leaf found = descend(ctx, tasks.masses, by_mass ? share.before + at : 0);
      leaf = by_mass ? found : leaf;
    }
    if (!mine || ctx.lane() % kTeam != 0) continue;
    const double part = share_part(ctx, call, share);
    const double probability = by_mass ? part * (static_cast<double>(leaf.mass) / static_cast<double>(share.total))
                                       : part / static_cast<double>(share.count);
    ctx.store(call.indices + item, std::int64_t{ctx.load(tasks.owners + leaf.index)} - 1);
    ctx.store(call.probabilities + item, probability);
    if (weigh) {
      const auto weight = static_cast<float>(wide_weight(probability, factor, smallest, beta));
      ctx.store(call.weights + item, weight);
      if (call.normalization == WeightNormalization::none && !(weight <= 0x1.fffffep127f)) {
        ctx.atomic_or(&call.tree.state->bad, kErrorWeight);
      }
    } else if (!tasks.weighted) {
      ctx.store(call.weights + item, 1.0f);
    }
    const std::uint64_t key = ~double_bits(probability);
    least = key > least ? key : least;
  }
  if (!tasks.weighted || weigh) return;
  least = warp_max(ctx, least);
  if (ctx.lane() == 0 && least != 0) ctx.atomic_max(&tasks.state->least_drawn, least);
}

// ---- weights --------------------------------------------------------------------------------------------------------

template <typename Context>
METARL_KERNEL bool weighs_batch(Context& ctx, const TaskSampleCall& call, bool by_sum) {
  return call.tasks.weighted && sample_error(ctx, call) == 0 &&
         call.normalization == (by_sum ? WeightNormalization::sum : WeightNormalization::batch_max);
}

template <typename Context>
METARL_KERNEL double drawn_weight(Context& ctx, const TaskSampleCall& call, std::int64_t item, double smallest,
                                  double beta) {
  return wide_weight(ctx.load(call.probabilities + item), 1.0, smallest, beta);
}

template <typename Context>
METARL_KERNEL void weigh_drawn(Context& ctx, const TaskSampleCall& call) {
  if (!weighs_batch(ctx, call, false)) return;
  const double beta = beta_of(ctx, call);
  const double smallest = smallest_of(ctx, call);
  for (std::int64_t i = grid_thread(ctx); i < call.n; i += grid_threads(ctx)) {
    ctx.store(call.weights + i, static_cast<float>(drawn_weight(ctx, call, i, smallest, beta)));
  }
}

// By one block: all compute, one adds up. Weights are rounded once, after the division, so they are computed again
// then.
template <typename Context>
METARL_KERNEL void sum_drawn(Context& ctx, const TaskSampleCall& call, TaskSampleShared* shared) {
  if (!weighs_batch(ctx, call, true)) return;
  const double beta = beta_of(ctx, call);
  const double smallest = smallest_of(ctx, call);
  double sum = 0.0;
  for (std::int64_t first = 0; first < call.n; first += ctx.block_threads()) {
    const std::int64_t i = first + ctx.thread();
    if (i < call.n) ctx.store(&shared->weights[ctx.thread()], drawn_weight(ctx, call, i, smallest, beta));
    ctx.sync();
    const std::int64_t rest = call.n - first;
    const int count = rest < ctx.block_threads() ? static_cast<int>(rest) : ctx.block_threads();
    for (int k = 0; ctx.thread() == 0 && k < count; ++k) sum += ctx.load(&shared->weights[k]);
    ctx.sync();
  }
  if (ctx.thread() == 0) ctx.store(&call.tasks.state->total_weight, sum);
}

template <typename Context>
METARL_KERNEL void divide_drawn(Context& ctx, const TaskSampleCall& call) {
  if (!weighs_batch(ctx, call, true)) return;
  const double beta = beta_of(ctx, call);
  const double smallest = smallest_of(ctx, call);
  const double sum = ctx.load(&call.tasks.state->total_weight);
  for (std::int64_t i = grid_thread(ctx); i < call.n; i += grid_threads(ctx)) {
    ctx.store(call.weights + i, static_cast<float>(drawn_weight(ctx, call, i, smallest, beta) / sum));
  }
}

template <typename Context>
METARL_KERNEL void finish_drawn(Context& ctx, const TaskSampleCall& call) {
  if (grid_thread(ctx) != 0 || call.n == 0) return;
  TreeState* state = call.tree.state;
  const TaskState* tasks = call.tasks.state;
  const std::uint32_t bad = sample_error(ctx, call) | ctx.load(&state->bad);
  if (bad != 0) {
    const bool of_tasks = (bad & (kErrorNoTask | kErrorShare)) != 0;
    record_error(ctx, state, bad, 0, of_tasks ? ctx.load(&tasks->error_index) : 0,
                 of_tasks ? ctx.load(&tasks->error_value) : beta_of(ctx, call));
  } else {
    ctx.store(&state->draws, ctx.load(&state->draws) + 1);
  }
  ctx.store(&state->calls, ctx.load(&state->calls) + 1);
  ctx.store(&state->bad, 0u);
}

// The whole call, by one block.
template <typename Context>
METARL_KERNEL void draw_in_one_block(Context& ctx, const TaskSampleCall& call, TaskSampleShared* shared) {
  share_draws(ctx, call, shared);
  ctx.sync();
  measure_shares(ctx, call);
  ctx.sync();
  if (call.n == 0) return;
  draw_from_tasks(ctx, call);
  ctx.sync();
  weigh_drawn(ctx, call);
  sum_drawn(ctx, call, shared);
  ctx.sync();
  divide_drawn(ctx, call);
  ctx.sync();
  finish_drawn(ctx, call);
}

}  // namespace metarl::cuda
