// Kernel body of importance weights of given probabilities; csrc/core/weights.cpp is the same on the CPU.
//
// What a weight depends on besides its own probability, the smallest one, every block finds for itself: one launch then
// needs no memory between its blocks. A weight normalised by the sum is a matter of one block, as the sum is added up
// in order by one thread.
#pragma once

#include <cstdint>

#include "cuda/context.h"
#include "metarl/detail/probability_weights.h"
#include "metarl/importance_weights.h"

namespace metarl::cuda {

// Probabilities and weights of one of the two types each.
struct WeightCall {
  const double* probabilities;
  const float* short_probabilities;
  std::int64_t n;
  double size;
  double beta;
  const double* beta_memory;  // not null: read in place of beta
  WeightNormalization normalization;
  double min_probability;  // 0: the smallest given one
  double* weights;
  float* short_weights;
};

struct WeightShared {
  std::uint64_t keys[kWarp];  // ~bits of the smallest probability that a warp saw; all ones if one was bad
  double sum;
};

template <typename Context>
METARL_KERNEL double probability_at(Context& ctx, const WeightCall& call, std::int64_t i) {
  return call.probabilities != nullptr ? ctx.load(call.probabilities + i)
                                       : static_cast<double>(ctx.load(call.short_probabilities + i));
}

// The smallest probability, at most 1; 0 if one is not in (0, 1].
template <typename Context>
METARL_KERNEL double smallest_probability(Context& ctx, const WeightCall& call, WeightShared* shared) {
  const std::uint64_t one = 0x3FF0000000000000ull;
  std::uint64_t key = ~one;
  for (std::int64_t i = ctx.thread(); i < call.n; i += ctx.block_threads()) {
    // Positive numbers are ordered as their bits; negative ones and NaN are above those of 1.
    const std::uint64_t bits = double_bits(probability_at(ctx, call, i));
    const std::uint64_t found = bits - 1 < one ? ~bits : ~std::uint64_t{0};
    key = found > key ? found : key;
  }
  key = warp_max(ctx, key);
  if (ctx.lane() == 0) ctx.store(&shared->keys[ctx.thread() / kWarp], key);
  ctx.sync();
  for (int warp = 0; warp < ctx.block_threads() / kWarp; ++warp) {
    const std::uint64_t other = ctx.load(&shared->keys[warp]);
    key = other > key ? other : key;
  }
  return bits_double(~key);
}

// factor: the number of items, where nothing divides weights; else 1.
METARL_HD double wide_weight(double p, double factor, double smallest, double beta) {
  if (smallest < kExtremeProbability && beta != 1.0) return extreme_probability_weight(p, smallest, beta);
  if (beta == 1.0) return inverse_probability_weight(p, factor, smallest);
  if (beta == 0.0) return 1.0;
  return general_probability_weight(p, factor, smallest, beta);
}

template <typename Context>
METARL_KERNEL void store_weight(Context& ctx, const WeightCall& call, std::int64_t i, double weight) {
  if (call.weights != nullptr) {
    ctx.store(call.weights + i, weight);
  } else {
    ctx.store(call.short_weights + i, static_cast<float>(weight));
  }
}

template <typename Context>
METARL_KERNEL void weigh_probabilities(Context& ctx, const WeightCall& call, WeightShared* shared) {
  const double beta = call.beta_memory != nullptr ? ctx.load(call.beta_memory) : call.beta;
  const double batch_smallest = smallest_probability(ctx, call, shared);
  if (batch_smallest == 0.0 || !(beta >= 0.0 && beta <= 0x1.fffffffffffffp1023)) {
    const double nan = bits_double(0x7FF8000000000000ull);
    for (std::int64_t i = grid_thread(ctx); i < call.n; i += grid_threads(ctx)) store_weight(ctx, call, i, nan);
    return;
  }
  double smallest = batch_smallest;
  if (call.normalization == WeightNormalization::none) smallest = 1.0;
  if (call.normalization == WeightNormalization::max && call.min_probability > 0.0) smallest = call.min_probability;
  const bool extreme = batch_smallest < kExtremeProbability ||
                       (call.min_probability > 0.0 && call.min_probability < kExtremeProbability);
  const bool wide = call.weights != nullptr || extreme || beta == 1.0 || beta == 0.0;
  const bool divide = call.normalization == WeightNormalization::sum;
  const double factor = call.normalization == WeightNormalization::none ? call.size : 1.0;
  double log2_ratio = 0.0;
  if (!wide) {
    log2_ratio = log2_short(smallest);
    if (call.normalization == WeightNormalization::none) log2_ratio -= log2_short(call.size);
  }
  for (std::int64_t i = grid_thread(ctx); i < call.n; i += grid_threads(ctx)) {
    const double p = probability_at(ctx, call, i);
    store_weight(ctx, call, i,
                 wide ? wide_weight(p, factor, smallest, beta)
                      : static_cast<double>(short_probability_weight(p, log2_ratio, beta)));
  }
  if (!divide) return;
  // Wide weights that are stored in single precision are computed again: they are rounded once, after the division.
  const bool again = wide && call.weights == nullptr;
  const auto weight_at = [&](std::int64_t i) {
    if (again) return wide_weight(probability_at(ctx, call, i), factor, smallest, beta);
    return call.weights != nullptr ? ctx.load(call.weights + i) : static_cast<double>(ctx.load(call.short_weights + i));
  };
  ctx.sync();
  if (ctx.thread() == 0) {
    double sum = 0.0;
    for (std::int64_t i = 0; i < call.n; ++i) sum += weight_at(i);
    ctx.store(&shared->sum, sum);
  }
  ctx.sync();
  const double sum = ctx.load(&shared->sum);
  for (std::int64_t i = ctx.thread(); i < call.n; i += ctx.block_threads()) {
    store_weight(ctx, call, i, weight_at(i) / sum);
  }
}

}  // namespace metarl::cuda
