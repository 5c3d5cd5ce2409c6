// Hot loops of the sum tree and of the weights, compiled once per instruction-set level. Internal to the core.
#pragma once

#include <cstdint>

#include "metarl/detail/tree_layout.h"
#include "metarl/isa.h"

namespace metarl {

// Leaf that contains each of n integer masses in [0, total), and that leaf's mass. Needs total > 0.
METARL_DECLARE_KERNEL(void tree_descend, (const TreeView* tree, const std::uint64_t* at, std::int64_t n,
                                          std::int64_t* indices, std::uint32_t* masses))

// Sets leaves one after the other: the last of equal indices wins. The first `fetched` ones are near already.
METARL_DECLARE_KERNEL(void tree_set, (TreeView * tree, const std::int64_t* indices, const std::uint32_t* masses,
                                      std::int64_t n, std::int64_t fetched))

// Sets the leaves [begin, end) to one mass.
METARL_DECLARE_KERNEL(void tree_fill, (TreeView * tree, std::int64_t begin, std::int64_t end, std::uint32_t mass))

// Computes all nodes from the leaves; `sums` is scratch of num_groups elements.
METARL_DECLARE_KERNEL(void tree_rebuild, (TreeView * tree, std::uint64_t* sums))

// Makes the top of an extreme one that a leaf has.
METARL_DECLARE_KERNEL(void tree_settle, (TreeView * tree, int which))

// Multiplies all leaves by 2^shift (shift < 0: rounded, positive ones stay positive); the nodes must be rebuilt.
METARL_DECLARE_KERNEL(void tree_shift_leaves, (TreeView * tree, int shift))

// Of n random integers in [0, total), numbers begin ... end - 1, to out[begin] and so on: Philox blocks (key seed,
// counter (block, call, tag)), two draws a block. Independent, or stratified: ascending. `begin` is even.
METARL_DECLARE_KERNEL(void tree_draws,
                      (std::uint64_t seed, std::uint64_t call, std::uint32_t tag, std::uint64_t total, std::int64_t n,
                       bool stratified, std::int64_t begin, std::int64_t end, std::uint64_t* out))

// raw = clip(|td_error|, eps, max_priority); scaled = raw^alpha. Returns a bound of the scaled values that is at most
// 2^-39 (relative) too large, or -1 if an error is not finite.
METARL_DECLARE_KERNEL(double prepare_priorities, (const float* td_errors, std::int64_t n, float eps, float max_priority,
                                                  double alpha, float* raw, double* scaled))

// Fixed-point masses of priorities; factor is a power of two.
METARL_DECLARE_KERNEL(void quantize, (const double* priorities, std::int64_t n, double factor, std::uint32_t* masses))
METARL_DECLARE_KERNEL(void quantize_floats,
                      (const float* priorities, std::int64_t n, double factor, std::uint32_t* masses))

// The largest of n priorities, or -1 if one is negative (or negative zero), infinite or NaN.
METARL_DECLARE_KERNEL(double largest_priority, (const double* priorities, std::int64_t n))
METARL_DECLARE_KERNEL(double largest_priority_float, (const float* priorities, std::int64_t n))

// Smallest of n masses.
METARL_DECLARE_KERNEL(std::uint32_t smallest_mass, (const std::uint32_t* masses, std::int64_t n))

// (numerator / mass)^beta.
METARL_DECLARE_KERNEL(void mass_weights,
                      (const std::uint32_t* masses, std::int64_t n, double numerator, double beta, float* weights))

// The same in single precision from probabilities in (2^-1000, 1]: 2^(beta * (log2_ratio - log2(probability))); false
// if one is not finite.
METARL_DECLARE_KERNEL(bool probability_weights_short,
                      (const double* probabilities, std::int64_t n, double log2_ratio, double beta, float* weights))
METARL_DECLARE_KERNEL(bool probability_weights_float,
                      (const float* probabilities, std::int64_t n, double log2_ratio, double beta, float* weights))

// (factor * probability / divisor)^-beta for probabilities in (0, 1]; false if one is not finite.
METARL_DECLARE_KERNEL(bool probability_weights, (const double* probabilities, std::int64_t n, double factor,
                                                 double divisor, double beta, double* weights))

// Smallest of n probabilities; false if one is not in (0, 1].
METARL_DECLARE_KERNEL(bool check_probabilities, (const double* probabilities, std::int64_t n, double* smallest))

METARL_DECLARE_KERNEL(bool check_probabilities_float, (const float* probabilities, std::int64_t n, double* smallest))

// Whether n numbers >= 0 are all finite.
METARL_DECLARE_KERNEL(bool all_finite, (const double* x, std::int64_t n))

// out = x^y for x >= 0 and y other than 0 and 1.
METARL_DECLARE_KERNEL(void pow_array, (const double* x, std::int64_t n, double y, double* out))

}  // namespace metarl
