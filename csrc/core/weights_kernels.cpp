// Powers over arrays: priorities and importance weights; see tree_kernels.h. The loops are left to the compiler's
// vectoriser; every operation is exact or correctly rounded, so the bits do not depend on the vector width.
#include "core/tree_kernels.h"
#include "metarl/detail/fixed_point.h"
#include "metarl/detail/pow.h"

namespace metarl::METARL_ISA_NS {

double prepare_priorities(const float* td_errors, std::int64_t n, float eps, float max_priority, double alpha,
                          float* raw, double* scaled) {
  std::uint32_t largest = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    std::uint32_t bits;
    std::memcpy(&bits, td_errors + i, sizeof bits);
    bits &= 0x7FFFFFFFu;
    largest = bits > largest ? bits : largest;  // non-negative floats are ordered as their bits; inf and NaN last
    float p;
    std::memcpy(&p, &bits, sizeof p);
    p = p < eps ? eps : p;
    raw[i] = p > max_priority ? max_priority : p;
  }
  if (largest >= 0x7F800000u) return -1.0;
  if (alpha == 1.0) {
    for (std::int64_t i = 0; i < n; ++i) scaled[i] = static_cast<double>(raw[i]);
  } else if (alpha == 0.0) {
    for (std::int64_t i = 0; i < n; ++i) scaled[i] = 1.0;
  } else {
    for (std::int64_t i = 0; i < n; ++i) scaled[i] = pow_general(static_cast<double>(raw[i]), alpha);
  }
  // A power is monotone up to its rounding, which the margin covers.
  float top;
  std::memcpy(&top, &largest, sizeof top);
  top = top < eps ? eps : top;
  top = top > max_priority ? max_priority : top;
  return pow_positive(static_cast<double>(top), alpha) * (1.0 + 0x1p-40);
}

void quantize(const double* priorities, std::int64_t n, double factor, std::uint32_t* masses) {
  for (std::int64_t i = 0; i < n; ++i) masses[i] = to_mass(priorities[i], factor);
}

void mass_weights(const std::uint32_t* masses, std::int64_t n, double numerator, double beta, float* weights) {
  if (beta == 1.0) {
    for (std::int64_t i = 0; i < n; ++i) weights[i] = static_cast<float>(numerator / static_cast<double>(masses[i]));
  } else if (beta == 0.0) {
    for (std::int64_t i = 0; i < n; ++i) weights[i] = 1.0f;
  } else {
    for (std::int64_t i = 0; i < n; ++i) {
      weights[i] = static_cast<float>(pow_general(numerator / static_cast<double>(masses[i]), beta));
    }
  }
}

void probability_weights(const double* probabilities, std::int64_t n, double factor, double divisor, double beta,
                         double* weights) {
  if (beta == 1.0) {
    for (std::int64_t i = 0; i < n; ++i) weights[i] = divisor / (probabilities[i] * factor);
  } else if (beta == 0.0) {
    for (std::int64_t i = 0; i < n; ++i) weights[i] = 1.0;
  } else {
    for (std::int64_t i = 0; i < n; ++i) weights[i] = pow_general(probabilities[i] * factor / divisor, -beta);
  }
}

bool check_probabilities(const double* probabilities, std::int64_t n, double* smallest) {
  const std::uint64_t one = 0x3FF0000000000000ull;
  // Positive doubles are ordered as their bits; what is <= 0 (or NaN) leaves a bit in `outside`.
  std::uint64_t outside = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint64_t bits = double_bits(probabilities[i]);
    outside |= (bits - 1) | (one - bits);
  }
  std::uint64_t least = one;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint64_t bits = double_bits(probabilities[i]);
    least = bits < least ? bits : least;
  }
  *smallest = bits_double(least);
  return outside >> 63 == 0;
}

bool all_finite(const double* x, std::int64_t n) {
  std::uint64_t outside = 0;
  for (std::int64_t i = 0; i < n; ++i) outside |= 0x7FEFFFFFFFFFFFFFull - (double_bits(x[i]) & ~(1ull << 63));
  return outside >> 63 == 0;
}

void pow_array(const double* x, std::int64_t n, double y, double* out) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = pow_general(x[i], y);
}

}  // namespace metarl::METARL_ISA_NS
