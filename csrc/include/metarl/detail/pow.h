// x^y for x > 0 in double precision, from + - * / and integer operations only: the same bits on every instruction set
// and device (compile with -ffp-contract=off). Straight-line code, so that a loop over it vectorises.
//
// Error below 1.5 ulp for |y| <= 1 and results in the normal range (tests/cpp/test_importance_weights.cpp measures it
// against long double).
#pragma once

#include <cstdint>
#include <cstring>

#include "metarl/detail/hd.h"

namespace metarl {

METARL_HD std::uint64_t double_bits(double x) {
  std::uint64_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

METARL_HD double bits_double(std::uint64_t bits) {
  double x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// All ones if a < b, else 0; for a, b < 2^63.
METARL_HD std::uint64_t below_mask(std::uint64_t a, std::uint64_t b) { return 0 - ((a - b) >> 63); }

// Nearest integer, ties to even, for |x| < 2^51.
METARL_HD double round_even(double x) {
  const double magic = 0x1.8p52;
  return (x + magic) - magic;
}

// 2^n for an integer n in [-1022, 1023].
METARL_HD double exp2_integer(double n) {
  // 2^52 + 1023 + n holds the biased exponent in its low bits.
  return bits_double(double_bits(n + (0x1.0p52 + 1023.0)) << 52);
}

// x = 2^k * m with m in [sqrt(1/2), sqrt(2)): returns k and log2(m), |log2(m)| <= 1/2.
METARL_HD double log2_parts(double x, double* k) {
  // Subnormals are brought into the normal range first. (Arithmetic masks here and below: every vectoriser takes them.)
  const std::uint64_t tiny = below_mask(double_bits(x), 0x0010000000000000ull);
  const double scaled = x * bits_double(0x3FF0000000000000ull + (tiny & 0x0360000000000000ull));  // times 1 or 2^54
  const double shift = bits_double(0x4090000000000000ull + (tiny & 0x0000D80000000000ull));       // 1024 or 1078
  const std::uint64_t bits = double_bits(scaled);
  // 0x3FE6A09E667F3BCD is sqrt(1/2); the added 2^62 keeps the difference positive: its exponent field is k + 1024.
  const std::uint64_t field = (bits - 0x3FE6A09E667F3BCDull + 0x4000000000000000ull) >> 52;
  *k = (bits_double(field | 0x4330000000000000ull) - 0x1.0p52) - shift;
  const double m = bits_double(bits - (field << 52) + 0x4000000000000000ull);
  // log(m) = 2 atanh(s), s = (m - 1) / (m + 1), |s| <= 0.1716: the Taylor series to s^21 leaves less than 2^-56.
  const double denominator = m + 1.0;
  const double s = (m - 1.0) / denominator;
  // What m + 1 lost in rounding changes s by -s * lost / (m + 1), and 1 / (m + 1) = (1 - s) / 2.
  const double lost = m - (denominator - 1.0);
  const double correction = s * lost * (0.5 * s - 0.5);
  const double z = s * s;
  double series = 1.0 / 21.0;
  series = series * z + 1.0 / 19.0;
  series = series * z + 1.0 / 17.0;
  series = series * z + 1.0 / 15.0;
  series = series * z + 1.0 / 13.0;
  series = series * z + 1.0 / 11.0;
  series = series * z + 1.0 / 9.0;
  series = series * z + 1.0 / 7.0;
  series = series * z + 1.0 / 5.0;
  series = series * z + 1.0 / 3.0;
  const double log2e2 = 0x1.71547652b82fep1;  // 2 / ln 2
  // The leading term is multiplied apart, so that its rounding is the only one that counts.
  return s * log2e2 + ((s * z) * series + correction) * log2e2;
}

// 2^(a + b) for |a + b| < 2000; a is exact, b a small correction.
METARL_HD double exp2_sum(double a, double b) {
  const double n = round_even(a + b);
  const double u = ((a - n) + b) * 0x1.62e42fefa39efp-1;  // ln 2; |u| <= 0.347
  double e = 1.0 / 6227020800.0;
  e = e * u + 1.0 / 479001600.0;
  e = e * u + 1.0 / 39916800.0;
  e = e * u + 1.0 / 3628800.0;
  e = e * u + 1.0 / 362880.0;
  e = e * u + 1.0 / 40320.0;
  e = e * u + 1.0 / 5040.0;
  e = e * u + 1.0 / 720.0;
  e = e * u + 1.0 / 120.0;
  e = e * u + 1.0 / 24.0;
  e = e * u + 1.0 / 6.0;
  e = e * u + 0.5;
  const double mantissa = 1.0 + (u + (u * u) * e);
  // Two factors reach the ends of the range: one alone could overflow, or be subnormal.
  const double half = round_even(n * 0.5);
  return (mantissa * exp2_integer(half)) * exp2_integer(n - half);
}

// x^y for finite x >= 0 and finite y other than 0 and 1, both of which pow_positive treats apart; 0^y is 0.
METARL_HD double pow_general(double x, double y) {
  double k;
  const double f = log2_parts(x, &k);
  // The high half of y times k is exact.
  const double y_high = bits_double(double_bits(y) & 0xFFFFFFFFF8000000ull);
  const double b = (y - y_high) * k + y * f;
  double a = y_high * k;
  // |a| is limited to 1900: beyond, the result is 0 or inf anyway.
  const std::uint64_t sign = double_bits(a) & 0x8000000000000000ull;
  const std::uint64_t magnitude = double_bits(a) ^ sign;
  const std::uint64_t limit = 0x409DB00000000000ull;
  const std::uint64_t within = below_mask(magnitude, limit);
  a = bits_double((magnitude & within) | (limit & ~within) | sign);
  return bits_double(double_bits(exp2_sum(a, b)) & below_mask(0, double_bits(x)));
}

// x^y for finite x >= 0 and finite y; x^0 is 1, x^1 is x, 0^y is 0 for y > 0. Overflows to inf, underflows to 0.
METARL_HD double pow_positive(double x, double y) {
  if (y == 0.0) return 1.0;
  if (y == 1.0) return x;
  return pow_general(x, y);
}

// ---- for results in single precision -------------------------------------------------------------------------------
// x^y = exp2_short(y * log2_short(x)), in double precision with polynomials that are as short as a float's 24 bits
// allow: interpolated at Chebyshev nodes. The result rounded to float is off by at most 0.55 ulp (subnormal floats
// included) for |y| <= 4; where it overflows, so does the rounding.

// log2(x) for a positive normal x, relative error below 2^-37; log2_short(1) is 0.
METARL_HD double log2_short(double x) {
  const std::uint64_t bits = double_bits(x);
  // As in log2_parts: x = 2^k * m with m in [sqrt(1/2), sqrt(2)).
  const std::uint64_t field = (bits - 0x3FE6A09E667F3BCDull + 0x4000000000000000ull) >> 52;
  const double k = bits_double(field | 0x4330000000000000ull) - (0x1.0p52 + 1024.0);
  const double m = bits_double(bits - (field << 52) + 0x4000000000000000ull);
  // 2 atanh(s) / (s ln 2) as a polynomial in s^2, s^2 <= 0.0295: relative error 2^-37.8.
  const double s = (m - 1.0) / (m + 1.0);
  const double z = s * s;
  double series = 0x1.5ce39e0f2acaap-2;
  series = series * z + 0x1.a58dceca775eep-2;
  series = series * z + 0x1.27777f4619875p-1;
  series = series * z + 0x1.ec709d13c0822p-1;
  series = series * z + 0x1.71547652bed13p+1;
  return k + s * series;
}

// 2^t, t limited to [-200, 200], beyond which a float is 0 or inf; relative error below 2^-28.5; exp2_short(0) is 1.
METARL_HD double exp2_short(double t) {
  const std::uint64_t sign = double_bits(t) & 0x8000000000000000ull;
  const std::uint64_t magnitude = double_bits(t) ^ sign;
  const std::uint64_t within = below_mask(magnitude, 0x4069000000000000ull);
  t = bits_double((magnitude & within) | (0x4069000000000000ull & ~within) | sign);
  const double n = round_even(t);
  const double u = t - n;
  double e = 0x1.443fffc90dd57p-13;
  e = e * u + 0x1.5f48c04f62e61p-10;
  e = e * u + 0x1.3b2a1b7152bedp-7;
  e = e * u + 0x1.c6aecc669b6ddp-5;
  e = e * u + 0x1.ebfbe045f4d3cp-3;
  e = e * u + 0x1.62e430d034702p-1;
  return (1.0 + e * u) * exp2_integer(n);
}

}  // namespace metarl
