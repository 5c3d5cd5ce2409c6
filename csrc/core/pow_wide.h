// pow_general of metarl/detail/pow.h on several vectors of eight doubles at once, operation by operation, so with the
// same bits. AVX-512 splits and scales a number in one instruction each, where the portable code needs a dozen, and
// vectors that take turns hide the latency of the long polynomials. Internal to the kernels.
#pragma once

#if defined(__AVX512F__)
#include <immintrin.h>

#include "metarl/detail/pow.h"

namespace metarl::METARL_ISA_NS {
namespace {

// kCount vectors, with the arithmetic of one.
template <int kCount>
struct WideDoubles {
  __m512d v[kCount];

  WideDoubles() = default;
  explicit WideDoubles(double x) {
    for (__m512d& each : v) each = _mm512_set1_pd(x);
  }
  template <class F>
  static WideDoubles each(const F& f) {
    WideDoubles result;
#pragma GCC unroll 8
    for (int j = 0; j < kCount; ++j) result.v[j] = f(j);
    return result;
  }
  // Keeps the compiler from computing one vector's chain of operations before the next one's.
  void keep_together() {
    if constexpr (kCount == 4) asm("" : "+v"(v[0]), "+v"(v[1]), "+v"(v[2]), "+v"(v[3]));
  }
  friend WideDoubles operator+(const WideDoubles& a, const WideDoubles& b) {
    return each([&](int j) { return _mm512_add_pd(a.v[j], b.v[j]); });
  }
  friend WideDoubles operator-(const WideDoubles& a, const WideDoubles& b) {
    return each([&](int j) { return _mm512_sub_pd(a.v[j], b.v[j]); });
  }
  friend WideDoubles operator*(const WideDoubles& a, const WideDoubles& b) {
    return each([&](int j) { return _mm512_mul_pd(a.v[j], b.v[j]); });
  }
  friend WideDoubles operator/(const WideDoubles& a, const WideDoubles& b) {
    return each([&](int j) { return _mm512_div_pd(a.v[j], b.v[j]); });
  }
};

// x = 2^k * m with m in [sqrt(1/2), sqrt(2)), for positive normal x (0: any m).
template <int kCount>
void wide_split(const WideDoubles<kCount>& x, WideDoubles<kCount>* k, WideDoubles<kCount>* m) {
  using Wide = WideDoubles<kCount>;
  const Wide one(1.0), half(0.5), root(0x1.6a09e667f3bcdp0);  // sqrt(2)
  const Wide mantissa =
      Wide::each([&](int j) { return _mm512_getmant_pd(x.v[j], _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src); });
  *k = Wide::each([&](int j) {
    const __m512d exponent = _mm512_getexp_pd(x.v[j]);
    return _mm512_mask_add_pd(exponent, _mm512_cmp_pd_mask(mantissa.v[j], root.v[j], _CMP_GE_OQ), exponent, one.v[j]);
  });
  *m = Wide::each([&](int j) {
    return _mm512_mask_mul_pd(mantissa.v[j], _mm512_cmp_pd_mask(mantissa.v[j], root.v[j], _CMP_GE_OQ), mantissa.v[j],
                              half.v[j]);
  });
}

// x^y for finite x >= 0; see pow_general.
template <int kCount>
WideDoubles<kCount> wide_power(const WideDoubles<kCount>& x, double y) {
  using Wide = WideDoubles<kCount>;
  const auto step = [](const Wide& sum, const Wide& x_power, double c) {
    Wide next = sum * x_power + Wide(c);
    next.keep_together();
    return next;
  };
  const double y_high = bits_double(double_bits(y) & 0xFFFFFFFFF8000000ull);
  const Wide one(1.0), half(0.5);

  Wide k, m;
  wide_split(x, &k, &m);
  const Wide denominator = m + one;
  const Wide s = (m - one) / denominator;
  const Wide correction = s * (m - (denominator - one)) * (half * s - half);
  const Wide z = s * s;
  Wide series(1.0 / 21.0);
  series = step(series, z, 1.0 / 19.0);
  series = step(series, z, 1.0 / 17.0);
  series = step(series, z, 1.0 / 15.0);
  series = step(series, z, 1.0 / 13.0);
  series = step(series, z, 1.0 / 11.0);
  series = step(series, z, 1.0 / 9.0);
  series = step(series, z, 1.0 / 7.0);
  series = step(series, z, 1.0 / 5.0);
  series = step(series, z, 1.0 / 3.0);
  const Wide log2e2(0x1.71547652b82fep1);
  const Wide f = s * log2e2 + ((s * z) * series + correction) * log2e2;
  const Wide b = Wide(y - y_high) * k + Wide(y) * f;
  const Wide product = Wide(y_high) * k;
  const Wide a = Wide::each([&](int j) {
    return _mm512_min_pd(_mm512_max_pd(product.v[j], _mm512_set1_pd(-1900.0)), _mm512_set1_pd(1900.0));
  });

  const Wide magic(0x1.8p52);
  const Wide n = ((a + b) + magic) - magic;
  const Wide u = ((a - n) + b) * Wide(0x1.62e42fefa39efp-1);
  Wide e(1.0 / 6227020800.0);
  e = step(e, u, 1.0 / 479001600.0);
  e = step(e, u, 1.0 / 39916800.0);
  e = step(e, u, 1.0 / 3628800.0);
  e = step(e, u, 1.0 / 362880.0);
  e = step(e, u, 1.0 / 40320.0);
  e = step(e, u, 1.0 / 5040.0);
  e = step(e, u, 1.0 / 720.0);
  e = step(e, u, 1.0 / 120.0);
  e = step(e, u, 1.0 / 24.0);
  e = step(e, u, 1.0 / 6.0);
  e = step(e, u, 0.5);
  const Wide power = one + (u + (u * u) * e);
  return Wide::each([&](int j) {
    const __mmask8 positive = _mm512_cmp_pd_mask(x.v[j], _mm512_setzero_pd(), _CMP_NEQ_OQ);
    return _mm512_maskz_scalef_pd(positive, power.v[j], n.v[j]);  // rounded once, like the two factors of exp2_sum
  });
}

// exp2_short(y * (log2_ratio - log2_short(x))).
template <int kCount>
WideDoubles<kCount> wide_short_power(const WideDoubles<kCount>& x, double log2_ratio, double y) {
  using Wide = WideDoubles<kCount>;
  const auto step = [](const Wide& sum, const Wide& x_power, double c) {
    Wide next = sum * x_power + Wide(c);
    next.keep_together();
    return next;
  };
  const Wide one(1.0);
  Wide k, m;
  wide_split(x, &k, &m);
  const Wide s = (m - one) / (m + one);
  const Wide z = s * s;
  Wide series(0x1.5ce39e0f2acaap-2);
  series = step(series, z, 0x1.a58dceca775eep-2);
  series = step(series, z, 0x1.27777f4619875p-1);
  series = step(series, z, 0x1.ec709d13c0822p-1);
  series = step(series, z, 0x1.71547652bed13p+1);
  const Wide exponent = Wide(y) * (Wide(log2_ratio) - (k + s * series));
  const Wide t = Wide::each([&](int j) {
    return _mm512_min_pd(_mm512_max_pd(exponent.v[j], _mm512_set1_pd(-200.0)), _mm512_set1_pd(200.0));
  });
  const Wide magic(0x1.8p52);
  const Wide n = (t + magic) - magic;
  const Wide u = t - n;
  Wide e(0x1.443fffc90dd57p-13);
  e = step(e, u, 0x1.5f48c04f62e61p-10);
  e = step(e, u, 0x1.3b2a1b7152bedp-7);
  e = step(e, u, 0x1.c6aecc669b6ddp-5);
  e = step(e, u, 0x1.ebfbe045f4d3cp-3);
  e = step(e, u, 0x1.62e430d034702p-1);
  const Wide power = one + e * u;
  return Wide::each([&](int j) { return _mm512_scalef_pd(power.v[j], n.v[j]); });
}

// out(i, lanes, power(x)) with x = in(i, lanes) for all n: i is the first of eight indices, lanes a mask of those below
// n. `power` takes and returns WideDoubles of any count.
template <class In, class Power, class Out>
void for_wide(std::int64_t n, const In& in, const Power& power, const Out& out) {
  constexpr int kGroup = 4;
  constexpr __mmask8 kAll = 0xFF;
  std::int64_t i = 0;
  for (; i + 8 * kGroup <= n; i += 8 * kGroup) {
    const auto x = WideDoubles<kGroup>::each([&](int j) { return in(i + 8 * j, kAll); });
    const auto result = power(x);
    for (int j = 0; j < kGroup; ++j) out(i + 8 * j, kAll, result.v[j]);
  }
  for (; i < n; i += 8) {
    const auto lanes = n - i >= 8 ? kAll : static_cast<__mmask8>((1u << (n - i)) - 1u);
    const auto x = WideDoubles<1>::each([&](int) { return in(i, lanes); });
    out(i, lanes, power(x).v[0]);
  }
}

template <class In, class Out>
void for_powers(std::int64_t n, double y, const In& in, const Out& out) {
  for_wide(n, in, [y](const auto& x) { return wide_power(x, y); }, out);
}

template <class In, class Out>
void for_short_powers(std::int64_t n, double log2_ratio, double y, const In& in, const Out& out) {
  for_wide(n, in, [=](const auto& x) { return wide_short_power(x, log2_ratio, y); }, out);
}

}  // namespace
}  // namespace metarl::METARL_ISA_NS
#endif
