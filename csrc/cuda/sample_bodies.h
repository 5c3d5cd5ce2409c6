// Kernel bodies that read the tree: draws with importance weights, and search by prefix mass. As in set_bodies.h, a
// call is phases over the whole grid:
//
//   draw     leaves, their masses, and the weights that depend on one item alone
//   weigh    weights that need the smallest mass of the batch
//   sum      their sum, added up in order by one thread, as on the CPU
//   divide   by it
//   finish   the draw counter, by one thread
//
// Eight lanes make one descent, so that each level is one cache line read in one instruction. A warp's four descents
// share every shuffle: lanes without an item of their own repeat the last one, and no lane leaves early.
#pragma once

#include "cuda/set_bodies.h"
#include "metarl/detail/philox.h"
#include "metarl/importance_weights.h"
#include "metarl/sampling_mode.h"

namespace metarl::cuda {

constexpr int kTeam = 8;
constexpr int kTeams = kWarp / kTeam;

struct SampleCall {
  DeviceTree tree;
  std::uint64_t key;                   // of the random numbers
  std::uint32_t tag = kTagTreeSample;  // and of which of them
  std::int64_t n;                      // >= 1
  SamplingMode mode;                   // all but without_replacement
  WeightNormalization normalization;
  double beta;
  const double* beta_memory;  // not null: read in place of beta, so that a captured graph follows a schedule
  std::int64_t* indices;
  std::uint32_t* masses;  // these three: null where not wanted
  float* weights;
  double* probabilities;
};

struct FindCall {
  DeviceTree tree;
  const double* at;
  std::int64_t n;
  std::int64_t* indices;
};

struct SampleShared {
  StratifiedDraws strata;  // from draw 0 on
};

struct Leaf {
  std::int64_t index;
  std::uint32_t mass;
};

// Which of a team's 8 * N values contains `rest`, given N of them in each lane in order; subtracts those before it. The
// values' sum exceeds `rest`.
template <int N, typename Context, typename Values>
METARL_KERNEL int find_in_line(Context& ctx, const Values& values, std::uint64_t* rest, std::uint64_t* found) {
  std::uint64_t sum = 0;
  for (int j = 0; j < N; ++j) sum += values[j];
  std::uint64_t end = sum;
  for (int step = 1; step < kTeam; step *= 2) {
    const std::uint64_t before = ctx.shuffle_up(kAllLanes, end, step, kTeam);
    end += ctx.lane() % kTeam >= step ? before : 0;
  }
  const int team = ctx.lane() / kTeam * kTeam;
  const std::uint32_t passed = ctx.ballot(kAllLanes, end <= *rest) >> team & ((1u << kTeam) - 1);
  int holder = 0;
  for (int lane = 0; lane < kTeam - 1; ++lane) holder += static_cast<int>(passed >> lane & 1);
  // Right in the holder alone.
  std::uint64_t inside = *rest - (end - sum);
  int child = 0;
  std::uint64_t value = values[0];
  for (int j = 1; j < N; ++j) {
    const bool beyond = child == j - 1 && inside >= value;
    inside -= beyond ? value : 0;
    child += beyond ? 1 : 0;
    value = beyond ? values[j] : value;
  }
  *rest = ctx.shuffle(kAllLanes, inside, team + holder);
  *found = ctx.shuffle(kAllLanes, value, team + holder);
  return holder * N + ctx.shuffle(kAllLanes, child, team + holder);
}

// The leaf that contains a prefix mass in [0, total), in all lanes of the team.
template <typename Context>
METARL_KERNEL Leaf descend(Context& ctx, const DeviceTree& tree, std::uint64_t rest) {
  const int part = ctx.lane() % kTeam;
  std::int64_t node = 0;
  std::uint64_t found = 0;
  for (int level = tree.num_levels - 2; level >= 0; --level) {
    const std::uint64_t* line = tree.sums[level] + node * kSumFanout + part * 2;
    const auto sums = ctx.template load_vector<2>(line);
    node = node * kSumFanout + find_in_line<2>(ctx, sums, &rest, &found);
  }
  const std::uint32_t* line = tree.leaves + node * kGroupLeaves + part * 4;
  const auto masses = ctx.template load_vector<4>(line);
  const int leaf = find_in_line<4>(ctx, masses, &rest, &found);
  return Leaf{node * kGroupLeaves + leaf, static_cast<std::uint32_t>(found)};
}

// The k-th valid leaf. O(1) while the valid leaves are the first ones, else O(capacity / 1024).
template <typename Context>
METARL_KERNEL std::int64_t valid_at_rank(Context& ctx, const DeviceTree& tree, std::uint64_t rank) {
  if (ctx.load(&tree.state->num_valid) == ctx.load(&tree.state->valid_end)) return static_cast<std::int64_t>(rank);
  std::int64_t b = 0;
  for (; b + 1 < tree.num_blocks; ++b) {
    const std::uint32_t count = ctx.load(tree.valid_counts + b);
    if (rank < count) break;
    rank -= count;
  }
  for (std::int64_t w = b << (kTreeBlockBits - 5); w < (b + 1) << (kTreeBlockBits - 5); ++w) {
    for (std::uint32_t bits = ctx.load(tree.valid + w); bits != 0; bits &= bits - 1) {
      if (rank-- == 0) return w * 32 + highest_bit(bits & (0u - bits));
    }
  }
  return 0;
}

template <typename Context>
METARL_KERNEL double beta_of(Context& ctx, const SampleCall& call) {
  return call.beta_memory != nullptr ? ctx.load(call.beta_memory) : call.beta;
}

METARL_HD bool is_good_beta(double beta) { return beta >= 0.0 && beta <= 0x1.fffffffffffffp1023; }

// (numerator / mass)^beta; see csrc/core/weights_kernels.cpp.
METARL_HD float mass_weight(std::uint32_t mass, double numerator, double beta) {
  if (beta == 1.0) return static_cast<float>(numerator / static_cast<double>(mass));
  if (beta == 0.0) return 1.0f;
  return static_cast<float>(exp2_short(beta * (log2_short(numerator) - log2_short(static_cast<double>(mass)))));
}

METARL_HD bool needs_batch(WeightNormalization normalization) {
  return normalization == WeightNormalization::batch_max || normalization == WeightNormalization::sum;
}

// Without valid leaves, or with a bad beta, all outputs are 0 and the error is set.
template <typename Context>
METARL_KERNEL std::uint32_t sample_error(Context& ctx, const SampleCall& call) {
  if (ctx.load(&call.tree.state->num_valid) == 0) return kErrorEmpty;
  return call.weights != nullptr && !is_good_beta(beta_of(ctx, call)) ? kErrorBeta : 0u;
}

template <typename Context>
METARL_KERNEL void draw_items(Context& ctx, const SampleCall& call, SampleShared* shared) {
  const DeviceTree& tree = call.tree;
  const std::uint64_t total = ctx.load(&tree.state->total);
  const std::uint64_t num_valid = ctx.load(&tree.state->num_valid);
  const bool by_mass = call.mode != SamplingMode::uniform && total != 0;
  const std::uint64_t population = by_mass ? total : num_valid;
  if (sample_error(ctx, call) != 0) {
    for (std::int64_t i = grid_thread(ctx); i < call.n; i += grid_threads(ctx)) {
      ctx.store(call.indices + i, 0);
      if (call.masses != nullptr) ctx.store(call.masses + i, 0u);
      if (call.probabilities != nullptr) ctx.store(call.probabilities + i, 0.0);
      if (call.weights != nullptr) ctx.store(call.weights + i, 0.0f);
    }
    return;
  }
  if (ctx.thread() == 0) ctx.store(&shared->strata, make_stratified(population, static_cast<std::uint64_t>(call.n)));
  ctx.sync();
  const StratifiedDraws strata = ctx.load(&shared->strata);
  const std::uint64_t number = ctx.load(&tree.state->draws);
  const double beta = beta_of(ctx, call);
  const std::uint32_t min_mass = extreme_key(1, ctx.load(&tree.state->extremes[1]));
  const double numerator = call.normalization == WeightNormalization::max
                               ? static_cast<double>(min_mass)
                               : static_cast<double>(total) / static_cast<double>(num_valid);
  const bool weigh = call.weights != nullptr && by_mass && !needs_batch(call.normalization);
  std::uint32_t least = 0;
  const int team = ctx.lane() / kTeam;
  for (std::int64_t first = grid_thread(ctx) / kWarp * kTeams; first < call.n;
       first += grid_threads(ctx) / kWarp * kTeams) {
    const bool mine = first + team < call.n;
    const std::int64_t item = mine ? first + team : call.n - 1;
    const PhiloxBlock block = philox(call.key, static_cast<std::uint32_t>(item / 2), number, call.tag);
    const std::uint64_t bits =
        item % 2 == 0 ? std::uint64_t{block.v[0]} << 32 | block.v[1] : std::uint64_t{block.v[2]} << 32 | block.v[3];
    StratifiedDraws draws = restart_stratified(strata, static_cast<std::uint64_t>(item));
    const std::uint64_t at = call.mode == SamplingMode::stratified ? next_stratified(draws, bits, population)
                                                                   : draw_uniform(bits, population);
    Leaf leaf{0, 0};
    if (by_mass) {
      leaf = descend(ctx, tree, at);
    } else {
      leaf.index = valid_at_rank(ctx, tree, at);
    }
    if (mine && ctx.lane() % kTeam == 0) {
      ctx.store(call.indices + item, leaf.index);
      if (call.masses != nullptr) ctx.store(call.masses + item, leaf.mass);
      if (call.probabilities != nullptr) {
        const double share = by_mass ? static_cast<double>(leaf.mass) : 1.0;
        ctx.store(call.probabilities + item, share / static_cast<double>(population));
      }
      if (weigh) {
        const float weight = mass_weight(leaf.mass, numerator, beta);
        ctx.store(call.weights + item, weight);
        if (!(weight <= 0x1.fffffep127f)) ctx.atomic_or(&tree.state->bad, kErrorWeight);
      }
      const std::uint32_t key = extreme_key(1, leaf.mass);
      least = key > least ? key : least;
    }
  }
  if (call.weights != nullptr && needs_batch(call.normalization)) {
    least = warp_max(ctx, least);
    if (ctx.lane() == 0 && least != 0) ctx.atomic_max(&tree.state->batch_least, least);
  }
}

// Where all masses are 0, or every leaf was equally likely, so are the weights.
template <typename Context>
METARL_KERNEL void weigh_items(Context& ctx, const SampleCall& call) {
  TreeState* state = call.tree.state;
  if (call.weights == nullptr || sample_error(ctx, call) != 0) return;
  const bool by_mass = call.mode != SamplingMode::uniform && ctx.load(&state->total) != 0;
  if (by_mass && !needs_batch(call.normalization)) return;
  const double beta = beta_of(ctx, call);
  const double numerator = extreme_key(1, ctx.load(&state->batch_least));
  const float equal =
      call.normalization == WeightNormalization::sum ? static_cast<float>(1.0 / static_cast<double>(call.n)) : 1.0f;
  for (std::int64_t i = grid_thread(ctx); i < call.n; i += grid_threads(ctx)) {
    float weight = equal;
    if (by_mass) {
      const std::uint32_t mass = ctx.load(call.tree.leaves + ctx.load(call.indices + i));
      weight = mass_weight(mass, numerator, beta);
    }
    ctx.store(call.weights + i, weight);
  }
}

template <typename Context>
METARL_KERNEL bool divides_by_sum(Context& ctx, const SampleCall& call) {
  return call.weights != nullptr && call.normalization == WeightNormalization::sum &&
         call.mode != SamplingMode::uniform && ctx.load(&call.tree.state->total) != 0 && sample_error(ctx, call) == 0;
}

template <typename Context>
METARL_KERNEL void sum_weights(Context& ctx, const SampleCall& call) {
  if (grid_thread(ctx) != 0 || !divides_by_sum(ctx, call)) return;
  double sum = 0.0;
  for (std::int64_t i = 0; i < call.n; ++i) sum += static_cast<double>(ctx.load(call.weights + i));
  ctx.store(&call.tree.state->weight_sum, sum);
}

template <typename Context>
METARL_KERNEL void divide_weights(Context& ctx, const SampleCall& call) {
  if (!divides_by_sum(ctx, call)) return;
  const double sum = ctx.load(&call.tree.state->weight_sum);
  for (std::int64_t i = grid_thread(ctx); i < call.n; i += grid_threads(ctx)) {
    ctx.store(call.weights + i, static_cast<float>(static_cast<double>(ctx.load(call.weights + i)) / sum));
  }
}

template <typename Context>
METARL_KERNEL void finish_sample(Context& ctx, const SampleCall& call) {
  if (grid_thread(ctx) != 0) return;
  TreeState* state = call.tree.state;
  const std::uint32_t bad = sample_error(ctx, call) | ctx.load(&state->bad);
  if (bad != 0) {
    record_error(ctx, state, bad, 0, 0, call.weights != nullptr ? beta_of(ctx, call) : 0.0);
  } else {
    ctx.store(&state->draws, ctx.load(&state->draws) + 1);
  }
  ctx.store(&state->calls, ctx.load(&state->calls) + 1);
  ctx.store(&state->bad, 0u);
  ctx.store(&state->batch_least, 0u);
  ctx.store(&state->weight_sum, 0.0);
}

template <typename Context>
METARL_KERNEL void sample_in_one_block(Context& ctx, const SampleCall& call, SampleShared* shared) {
  draw_items(ctx, call, shared);
  ctx.sync();
  weigh_items(ctx, call);
  ctx.sync();
  sum_weights(ctx, call);
  ctx.sync();
  divide_weights(ctx, call);
  ctx.sync();
  finish_sample(ctx, call);
}

// A bad prefix mass finds leaf 0 and sets the error.
template <typename Context>
METARL_KERNEL void find_items(Context& ctx, const FindCall& call) {
  const DeviceTree& tree = call.tree;
  const std::uint64_t total = ctx.load(&tree.state->total);
  const int exponent = ctx.load(&tree.state->scale_exponent);
  const double end = static_cast<double>(total) * power_of_two(-exponent);
  const int team = ctx.lane() / kTeam;
  for (std::int64_t first = grid_thread(ctx) / kWarp * kTeams; first < call.n;
       first += grid_threads(ctx) / kWarp * kTeams) {
    const bool mine = first + team < call.n;
    const std::int64_t item = mine ? first + team : call.n - 1;
    const double given = ctx.load(call.at + item);
    const bool fine = given >= 0.0 && given < end;
    // Above 2^53 the product may round up to the total itself.
    std::uint64_t at = fine ? static_cast<std::uint64_t>(given * power_of_two(exponent)) : 0;
    at = at < total ? at : total - 1;
    const Leaf leaf = total != 0 ? descend(ctx, tree, at) : Leaf{0, 0};
    if (!mine || ctx.lane() % kTeam != 0) continue;
    ctx.store(call.indices + item, fine ? leaf.index : 0);
    if (fine) continue;
    ctx.atomic_or(&tree.state->bad, kErrorPrefix);
    ctx.atomic_max(&tree.state->first_bad, ~static_cast<std::uint64_t>(item));
  }
}

template <typename Context>
METARL_KERNEL void finish_find(Context& ctx, const FindCall& call) {
  if (grid_thread(ctx) != 0) return;
  TreeState* state = call.tree.state;
  const std::uint32_t bad = ctx.load(&state->bad);
  if (bad != 0) {
    const auto item = static_cast<std::int64_t>(~ctx.load(&state->first_bad));
    record_error(ctx, state, bad, static_cast<std::uint64_t>(item), 0, ctx.load(call.at + item));
  }
  ctx.store(&state->calls, ctx.load(&state->calls) + 1);
  ctx.store(&state->first_bad, 0u);
  ctx.store(&state->bad, 0u);
}

}  // namespace metarl::cuda
