// Powers over arrays: priorities and importance weights; see tree_kernels.h. Below AVX-512 the loops are left to the
// compiler's vectoriser; every operation is exact or correctly rounded, so the bits do not depend on the vector width.
#include "core/tree_kernels.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // gcc 12's own AVX-512 header
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#include "core/pow_wide.h"
#include "metarl/detail/fixed_point.h"
#include "metarl/detail/pow.h"
#include "metarl/detail/probability_weights.h"

namespace metarl::METARL_ISA_NS {
namespace {

#if defined(__AVX512F__)
METARL_HD __m512d load_doubles(const float* x, __mmask8 lanes) {
  return _mm512_cvtps_pd(_mm256_maskz_loadu_ps(lanes, x));
}

METARL_HD __m512d load_doubles(const double* x, __mmask8 lanes) { return _mm512_maskz_loadu_pd(lanes, x); }
#endif

// x^y over an array of float or double; y is neither 0 nor 1.
template <class T>
void power(const T* x, std::int64_t n, double y, double* out) {
#if defined(__AVX512F__)
  for_powers(
      n, y, [&](std::int64_t i, __mmask8 lanes) { return load_doubles(x + i, lanes); },
      [&](std::int64_t i, __mmask8 lanes, __m512d power) { _mm512_mask_storeu_pd(out + i, lanes, power); });
#else
  for (std::int64_t i = 0; i < n; ++i) out[i] = pow_general(static_cast<double>(x[i]), y);
#endif
}

template <class T>
bool short_weights(const T* probabilities, std::int64_t n, double log2_ratio, double beta, float* weights) {
#if defined(__AVX512F__)
  const __m256 infinity = _mm256_set1_ps(__builtin_inff());
  unsigned infinite = 0;
  for_short_powers(
      n, log2_ratio, beta, [&](std::int64_t i, __mmask8 lanes) { return load_doubles(probabilities + i, lanes); },
      [&](std::int64_t i, __mmask8 lanes, __m512d w) {
        const __m256 weight = _mm512_cvtpd_ps(w);
        infinite |= _mm256_cmp_ps_mask(weight, infinity, _CMP_NLT_UQ) & lanes;
        _mm256_mask_storeu_ps(weights + i, lanes, weight);
      });
  return infinite == 0;
#else
  std::uint32_t largest = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const float weight = short_probability_weight(static_cast<double>(probabilities[i]), log2_ratio, beta);
    std::uint32_t bits;
    std::memcpy(&bits, &weight, sizeof bits);
    largest = bits > largest ? bits : largest;
    weights[i] = weight;
  }
  return largest < 0x7F800000u;
#endif
}

}  // namespace

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
    power(raw, n, alpha, scaled);
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

void quantize_floats(const float* priorities, std::int64_t n, double factor, std::uint32_t* masses) {
  for (std::int64_t i = 0; i < n; ++i) masses[i] = to_mass(static_cast<double>(priorities[i]), factor);
}

double largest_priority(const double* priorities, std::int64_t n) {
  // Non-negative numbers are ordered as their bits, and what is not one of the finite ones comes after them.
  std::uint64_t largest = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint64_t bits = double_bits(priorities[i]);
    largest = bits > largest ? bits : largest;
  }
  return largest < 0x7FF0000000000000ull ? bits_double(largest) : -1.0;
}

double largest_priority_float(const float* priorities, std::int64_t n) {
  std::uint32_t largest = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    std::uint32_t bits;
    std::memcpy(&bits, priorities + i, sizeof bits);
    largest = bits > largest ? bits : largest;
  }
  float top;
  std::memcpy(&top, &largest, sizeof top);
  return largest < 0x7F800000u ? static_cast<double>(top) : -1.0;
}

std::uint32_t smallest_mass(const std::uint32_t* masses, std::int64_t n) {
  std::uint32_t least = ~0u;
  for (std::int64_t i = 0; i < n; ++i) least = masses[i] < least ? masses[i] : least;
  return least;
}

void mass_weights(const std::uint32_t* masses, std::int64_t n, double numerator, double beta, float* weights) {
  if (beta == 1.0) {
    for (std::int64_t i = 0; i < n; ++i) weights[i] = static_cast<float>(numerator / static_cast<double>(masses[i]));
  } else if (beta == 0.0) {
    for (std::int64_t i = 0; i < n; ++i) weights[i] = 1.0f;
  } else {
    const double top = log2_short(numerator);
#if defined(__AVX512F__)
    for_short_powers(
        n, top, beta,
        [&](std::int64_t i, __mmask8 lanes) { return _mm512_cvtepu32_pd(_mm256_maskz_loadu_epi32(lanes, masses + i)); },
        [&](std::int64_t i, __mmask8 lanes, __m512d w) {
          _mm256_mask_storeu_ps(weights + i, lanes, _mm512_cvtpd_ps(w));
        });
#else
    for (std::int64_t i = 0; i < n; ++i) {
      weights[i] = static_cast<float>(exp2_short(beta * (top - log2_short(static_cast<double>(masses[i])))));
    }
#endif
  }
}

bool probability_weights_short(const double* probabilities, std::int64_t n, double log2_ratio, double beta,
                               float* weights) {
  return short_weights(probabilities, n, log2_ratio, beta, weights);
}

bool probability_weights_float(const float* probabilities, std::int64_t n, double log2_ratio, double beta,
                               float* weights) {
  return short_weights(probabilities, n, log2_ratio, beta, weights);
}

bool probability_weights(const double* probabilities, std::int64_t n, double factor, double divisor, double beta,
                         double* weights) {
  const std::uint64_t limit = 0x7FEFFFFFFFFFFFFFull;  // the largest finite number
  std::uint64_t outside = 0;
  if (beta == 1.0) {
    for (std::int64_t i = 0; i < n; ++i) {
      weights[i] = inverse_probability_weight(probabilities[i], factor, divisor);
      outside |= limit - double_bits(weights[i]);
    }
  } else if (beta == 0.0) {
    for (std::int64_t i = 0; i < n; ++i) weights[i] = 1.0;
  } else {
#if defined(__AVX512F__)
    const __m512d factors = _mm512_set1_pd(factor), divisors = _mm512_set1_pd(divisor);
    const __m512d infinity = _mm512_set1_pd(__builtin_inf());
    unsigned infinite = 0;
    for_powers(
        n, -beta,
        [&](std::int64_t i, __mmask8 lanes) {
          const __m512d p = _mm512_maskz_loadu_pd(lanes, probabilities + i);
          return _mm512_div_pd(_mm512_mul_pd(p, factors), divisors);
        },
        [&](std::int64_t i, __mmask8 lanes, __m512d w) {
          infinite |= _mm512_cmp_pd_mask(w, infinity, _CMP_NLT_UQ);
          _mm512_mask_storeu_pd(weights + i, lanes, w);
        });
    return infinite == 0;
#else
    for (std::int64_t i = 0; i < n; ++i) {
      weights[i] = general_probability_weight(probabilities[i], factor, divisor, beta);
      outside |= limit - double_bits(weights[i]);
    }
#endif
  }
  return outside >> 63 == 0;
}

bool check_probabilities(const double* probabilities, std::int64_t n, double* smallest) {
#if defined(__AVX512F__)
  const __m512d one = _mm512_set1_pd(1.0);
  __m512d least[4] = {one, one, one, one};
  unsigned outside = 0;
  for (std::int64_t first = 0; first < n; first += 32) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const std::int64_t i = first + 8 * j;
      const std::int64_t left = n - i;
      const auto lanes = static_cast<__mmask8>(left >= 8 ? 0xFF : left > 0 ? (1 << left) - 1 : 0);
      const __m512d p = _mm512_mask_loadu_pd(one, lanes, probabilities + i);
      outside |= _mm512_cmp_pd_mask(p, one, _CMP_NLE_UQ) | _mm512_cmp_pd_mask(p, _mm512_setzero_pd(), _CMP_NGT_UQ);
      least[j] = _mm512_min_pd(least[j], p);
    }
  }
  *smallest = _mm512_reduce_min_pd(_mm512_min_pd(_mm512_min_pd(least[0], least[1]), _mm512_min_pd(least[2], least[3])));
  return outside == 0;
#else
  // Positive doubles are ordered as their bits; what is <= 0 (or NaN) leaves a bit in `outside`.
  std::uint64_t outside = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint64_t bits = double_bits(probabilities[i]);
    outside |= (bits - 1) | (0x3FF0000000000000ull - bits);
  }
  // Doubles compare faster than their bits; apart from each other, the lanes need no order of operations.
  constexpr int kLanes = 8;
  double least[kLanes] = {1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int j = 0; j < kLanes; ++j) least[j] = probabilities[i + j] < least[j] ? probabilities[i + j] : least[j];
  }
  for (; i < n; ++i) least[0] = probabilities[i] < least[0] ? probabilities[i] : least[0];
  for (int j = 1; j < kLanes; ++j) least[0] = least[j] < least[0] ? least[j] : least[0];
  *smallest = least[0];
  return outside >> 63 == 0;
#endif
}

bool check_probabilities_float(const float* probabilities, std::int64_t n, double* smallest) {
  std::uint32_t outside = 0;
  std::uint32_t least = 0x3F800000u;
  for (std::int64_t i = 0; i < n; ++i) {
    std::uint32_t bits;
    std::memcpy(&bits, probabilities + i, sizeof bits);
    outside |= (bits - 1) | (0x3F800000u - bits);
    least = bits < least ? bits : least;
  }
  float found;
  std::memcpy(&found, &least, sizeof found);
  *smallest = static_cast<double>(found);
  return outside >> 31 == 0;
}

bool all_finite(const double* x, std::int64_t n) {
  std::uint64_t outside = 0;
  for (std::int64_t i = 0; i < n; ++i) outside |= 0x7FEFFFFFFFFFFFFFull - (double_bits(x[i]) & ~(1ull << 63));
  return outside >> 63 == 0;
}

void pow_array(const double* x, std::int64_t n, double y, double* out) { power(x, n, y, out); }

}  // namespace metarl::METARL_ISA_NS
