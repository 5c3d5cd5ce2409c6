// Which kernels a call launches, with how many threads. Plain host code: the emulator's tests run the same plans.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cuda/assemble_bodies.h"
#include "cuda/copy_bodies.h"
#include "cuda/get_bodies.h"
#include "cuda/replay_bodies.h"
#include "cuda/sample_bodies.h"
#include "cuda/stream_bodies.h"
#include "cuda/task_sample_bodies.h"
#include "cuda/weight_bodies.h"

namespace metarl::cuda {

enum class Kernel : std::uint8_t {
  set_in_one_block,
  check_items,
  fit_masses,
  apply_items,
  settle_extremes,
  raise_masses,
  finish_set,
  sample_in_one_block,
  draw_items,
  weigh_items,
  sum_weights,
  divide_weights,
  finish_sample,
  find_items,
  finish_find,
  get_items,
  finish_get,
  copy_rows,
  check_tasks,
  check_stacks,
  note_rows,
  plan_rows,
  write_frames,
  follow_returns,
  follow_sequences,
  assemble_rows,
  weigh_probabilities,
  order_tasks,
  refresh_in_one_block,
  clear_places,
  fill_places,
  refresh_masses,
  settle_masses,
  draw_in_one_block,
  share_draws,
  measure_shares,
  draw_from_tasks,
  weigh_drawn,
  sum_drawn,
  divide_drawn,
  finish_drawn,
};

struct Launch {
  Kernel kernel;
  int num_blocks;
  int block_threads;
};

struct Plan {
  Launch launches[8];
  int count = 0;
  void add(Kernel kernel, std::int64_t num_blocks, int block_threads) {
    launches[count++] = Launch{kernel, static_cast<int>(num_blocks), block_threads};
  }
};

constexpr int kBlockThreads = 256;
constexpr int kOneBlockThreads = 1024;

// Most threads of a block; what a kernel is compiled for, as registers are shared out among them.
constexpr int most_threads(Kernel kernel) {
  const bool one_block = kernel == Kernel::set_in_one_block || kernel == Kernel::sample_in_one_block ||
                         kernel == Kernel::plan_rows || kernel == Kernel::weigh_probabilities ||
                         kernel == Kernel::order_tasks || kernel == Kernel::refresh_in_one_block ||
                         kernel == Kernel::draw_in_one_block || kernel == Kernel::share_draws ||
                         kernel == Kernel::sum_drawn;
  return one_block ? kOneBlockThreads : kBlockThreads;
}

// What a plan depends on besides the call. The tests vary it; results do not depend on it.
struct PlanLimits {
  std::int64_t one_block_items = 2048;             // of a set call
  std::int64_t one_block_draws = 512;              // of a sample call: 1024 threads make 128 at once
  std::int64_t one_block_tree_blocks = 16 * 1024;  // one block reads a key of each: about 16 million leaves
  std::int64_t one_block_places = 512 * 1024;      // of tasks: one block may have to go through all
  std::int64_t most_blocks = 1024;                 // threads take more than one item beyond that
  std::int64_t most_copy_blocks = 16 * 1024;       // a copy has little to do for each unit
  std::int64_t most_weight_blocks = 32;            // each reads all probabilities
  int block_threads = kBlockThreads;
  int one_block_threads = kOneBlockThreads;
};

inline std::int64_t blocks_for(std::int64_t threads, const PlanLimits& limits) {
  return std::clamp<std::int64_t>((threads + limits.block_threads - 1) / limits.block_threads, 1, limits.most_blocks);
}

inline Plan plan_set(const DeviceTree& tree, std::int64_t n, const PlanLimits& limits = {}) {
  Plan plan;
  if (n <= limits.one_block_items && tree.num_blocks <= limits.one_block_tree_blocks) {
    plan.add(Kernel::set_in_one_block, 1, limits.one_block_threads);
    return plan;
  }
  const std::int64_t items = blocks_for(n, limits);
  const std::int64_t leaves = blocks_for(tree.num_blocks * (kTreeBlockLeaves / 4), limits);
  plan.add(Kernel::check_items, items, limits.block_threads);
  plan.add(Kernel::fit_masses, leaves, limits.block_threads);
  plan.add(Kernel::apply_items, items, limits.block_threads);
  plan.add(Kernel::settle_extremes, blocks_for(tree.num_blocks, limits), limits.block_threads);
  plan.add(Kernel::raise_masses, leaves, limits.block_threads);
  plan.add(Kernel::finish_set, 1, kWarp);
  return plan;
}

inline Plan plan_sample(const SampleCall& call, const PlanLimits& limits = {}) {
  Plan plan;
  if (call.n <= limits.one_block_draws) {
    plan.add(Kernel::sample_in_one_block, 1, limits.one_block_threads);
    return plan;
  }
  const std::int64_t items = blocks_for(call.n, limits);
  plan.add(Kernel::draw_items, blocks_for(call.n * kTeam, limits), limits.block_threads);
  if (call.weights != nullptr) plan.add(Kernel::weigh_items, items, limits.block_threads);
  if (call.weights != nullptr && call.normalization == WeightNormalization::sum) {
    plan.add(Kernel::sum_weights, 1, kWarp);
    plan.add(Kernel::divide_weights, items, limits.block_threads);
  }
  plan.add(Kernel::finish_sample, 1, kWarp);
  return plan;
}

inline Plan plan_find(std::int64_t n, const PlanLimits& limits = {}) {
  Plan plan;
  plan.add(Kernel::find_items, blocks_for(n * kTeam, limits), limits.block_threads);
  plan.add(Kernel::finish_find, 1, kWarp);
  return plan;
}

inline Plan plan_get(std::int64_t n, const PlanLimits& limits = {}) {
  Plan plan;
  plan.add(Kernel::get_items, blocks_for(n, limits), limits.block_threads);
  plan.add(Kernel::finish_get, 1, kWarp);
  return plan;
}

inline Plan plan_copy(const CopyCall& call, const PlanLimits& limits = {}) {
  Plan plan;
  const std::int64_t blocks = (call.num_units + limits.block_threads - 1) / limits.block_threads;
  plan.add(Kernel::copy_rows, std::clamp<std::int64_t>(blocks, 1, limits.most_copy_blocks), limits.block_threads);
  return plan;
}

// A warp for each of these.
inline std::int64_t blocks_for_warps(std::int64_t warps, const PlanLimits& limits) {
  return blocks_for(warps * kWarp, limits);
}

// Of a part of an add, all but its copies of whole rows. A warp writes a frame; most rows need none.
inline Plan plan_rows_of(const StreamCall& call, const PlanLimits& limits = {}) {
  Plan plan;
  if (call.first == 0 && call.task_rows != nullptr) {
    plan.add(Kernel::check_tasks, blocks_for(call.n, limits), limits.block_threads);
  }
  if (call.first == 0 && call.has_stacks) {
    plan.add(Kernel::check_stacks, blocks_for_warps(call.n, limits), limits.block_threads);
  }
  plan.add(Kernel::note_rows, blocks_for_warps(call.count, limits), limits.block_threads);
  plan.add(Kernel::plan_rows, 1, limits.one_block_threads);
  if (call.streams.rules.share_next) {
    plan.add(Kernel::write_frames, blocks_for_warps(call.count, limits), limits.block_threads);
  }
  return plan;
}

inline Plan plan_returns(const ReturnCall& call, const PlanLimits& limits = {}) {
  Plan plan;
  plan.add(Kernel::follow_returns, blocks_for(call.n * call.reward_items, limits), limits.block_threads);
  return plan;
}

inline Plan plan_sequences(const SequenceCall& call, const PlanLimits& limits = {}) {
  Plan plan;
  plan.add(Kernel::follow_sequences, blocks_for(call.n, limits), limits.block_threads);
  return plan;
}

inline Plan plan_assembly(const AssembleCall& call, const PlanLimits& limits = {}) {
  Plan plan;
  const std::int64_t blocks = (call.num_units + limits.block_threads - 1) / limits.block_threads;
  plan.add(Kernel::assemble_rows, std::clamp<std::int64_t>(blocks, 1, limits.most_copy_blocks), limits.block_threads);
  return plan;
}

inline Plan plan_weights(const WeightCall& call, const PlanLimits& limits = {}) {
  Plan plan;
  const bool one = call.normalization == WeightNormalization::sum;
  const std::int64_t blocks = (call.n + limits.one_block_threads - 1) / limits.one_block_threads;
  plan.add(Kernel::weigh_probabilities, one ? 1 : std::clamp<std::int64_t>(blocks, 1, limits.most_weight_blocks),
           limits.one_block_threads);
  return plan;
}

inline Plan plan_order(const TaskOrderCall&, const PlanLimits& limits = {}) {
  Plan plan;
  plan.add(Kernel::order_tasks, 1, std::max(limits.one_block_threads, kTaskChunk));
  return plan;
}

inline Plan plan_refresh(const TaskRefreshCall& call, const PlanLimits& limits = {}) {
  Plan plan;
  const DeviceTasks& tasks = call.tasks;
  if (call.n <= limits.one_block_items && tasks.num_places <= limits.one_block_places) {
    plan.add(Kernel::refresh_in_one_block, 1, limits.one_block_threads);
    return plan;
  }
  if (call.slots == nullptr) {
    plan.add(Kernel::clear_places, blocks_for(tasks.num_places, limits), limits.block_threads);
    plan.add(Kernel::fill_places, blocks_for(tasks.capacity, limits), limits.block_threads);
  }
  if (!tasks.weighted) return plan;
  plan.add(Kernel::refresh_masses, blocks_for(tasks.num_places / 4, limits), limits.block_threads);
  plan.add(Kernel::settle_masses, blocks_for_warps(tasks.masses.num_blocks, limits), limits.block_threads);
  return plan;
}

inline Plan plan_task_sample(const TaskSampleCall& call, const PlanLimits& limits = {}) {
  Plan plan;
  if (call.n <= limits.one_block_draws) {
    plan.add(Kernel::draw_in_one_block, 1, limits.one_block_threads);
    return plan;
  }
  const std::int64_t items = blocks_for(call.n, limits);
  const bool weighted = call.tasks.weighted;
  plan.add(Kernel::share_draws, 1, limits.one_block_threads);
  if (weighted) {
    const std::int64_t shares = call.mix == TaskMixKind::balanced ? call.tasks.num_ids : call.num_listed;
    plan.add(Kernel::measure_shares, blocks_for_warps(shares, limits), limits.block_threads);
  }
  plan.add(Kernel::draw_from_tasks, blocks_for(call.n * kTeam, limits), limits.block_threads);
  if (weighted && call.normalization == WeightNormalization::batch_max) {
    plan.add(Kernel::weigh_drawn, items, limits.block_threads);
  }
  if (weighted && call.normalization == WeightNormalization::sum) {
    plan.add(Kernel::sum_drawn, 1, limits.one_block_threads);
    plan.add(Kernel::divide_drawn, items, limits.block_threads);
  }
  plan.add(Kernel::finish_drawn, 1, kWarp);
  return plan;
}

// run(kernel): the body of each kernel, for who launches them. Every context and shared memory goes through here, so
// the emulator and the GPU run the same text.
template <typename Context, typename Call>
METARL_KERNEL void run_set(Kernel kernel, Context& ctx, const Call& call, SetShared* shared) {
  switch (kernel) {
    case Kernel::set_in_one_block:
      return set_in_one_block(ctx, call, shared);
    case Kernel::check_items:
      return check_items(ctx, call);
    case Kernel::fit_masses:
      return fit_masses(ctx, call);
    case Kernel::apply_items:
      return apply_items(ctx, call, shared);
    case Kernel::settle_extremes:
      return settle_extremes(ctx, call);
    case Kernel::raise_masses:
      return raise_masses(ctx, call);
    default:
      return finish_set(ctx, call);
  }
}

template <typename Context>
METARL_KERNEL void run_sample(Kernel kernel, Context& ctx, const SampleCall& call, SampleShared* shared) {
  switch (kernel) {
    case Kernel::sample_in_one_block:
      return sample_in_one_block(ctx, call, shared);
    case Kernel::draw_items:
      return draw_items(ctx, call, shared);
    case Kernel::weigh_items:
      return weigh_items(ctx, call);
    case Kernel::sum_weights:
      return sum_weights(ctx, call);
    case Kernel::divide_weights:
      return divide_weights(ctx, call);
    default:
      return finish_sample(ctx, call);
  }
}

template <typename Context>
METARL_KERNEL void run_rows(Kernel kernel, Context& ctx, const StreamCall& call, RowsShared* shared) {
  switch (kernel) {
    case Kernel::check_tasks:
      return check_tasks(ctx, call.tasks, call.tree.state, call.task_rows, call.n);
    case Kernel::check_stacks:
      return check_stacks(ctx, call);
    case Kernel::note_rows:
      return note_rows(ctx, call);
    case Kernel::plan_rows:
      return plan_rows(ctx, call, shared);
    default:
      return write_frames(ctx, call);
  }
}

template <typename Context>
METARL_KERNEL void run_refresh(Kernel kernel, Context& ctx, const TaskRefreshCall& call, SetShared* shared) {
  switch (kernel) {
    case Kernel::refresh_in_one_block:
      return refresh_in_one_block(ctx, call, shared);
    case Kernel::clear_places:
      return clear_places(ctx, call.tasks);
    case Kernel::fill_places:
      return fill_places(ctx, call.tasks);
    case Kernel::refresh_masses:
      return refresh_masses(ctx, call, shared);
    default:
      return settle_masses(ctx, call);
  }
}

template <typename Context>
METARL_KERNEL void run_task_sample(Kernel kernel, Context& ctx, const TaskSampleCall& call, TaskSampleShared* shared) {
  switch (kernel) {
    case Kernel::draw_in_one_block:
      return draw_in_one_block(ctx, call, shared);
    case Kernel::share_draws:
      return share_draws(ctx, call, shared);
    case Kernel::measure_shares:
      return measure_shares(ctx, call);
    case Kernel::draw_from_tasks:
      return draw_from_tasks(ctx, call);
    case Kernel::weigh_drawn:
      return weigh_drawn(ctx, call);
    case Kernel::sum_drawn:
      return sum_drawn(ctx, call, shared);
    case Kernel::divide_drawn:
      return divide_drawn(ctx, call);
    default:
      return finish_drawn(ctx, call);
  }
}

template <typename Context>
METARL_KERNEL void run_find(Kernel kernel, Context& ctx, const FindCall& call) {
  return kernel == Kernel::find_items ? find_items(ctx, call) : finish_find(ctx, call);
}

template <typename Context>
METARL_KERNEL void run_get(Kernel kernel, Context& ctx, const GetCall& call) {
  return kernel == Kernel::get_items ? get_items(ctx, call) : finish_get(ctx, call);
}

}  // namespace metarl::cuda
