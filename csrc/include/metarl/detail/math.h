// Sine, cosine and logarithm from + - * / and integer operations only, so that every instruction-set level, compiler
// and device gives the same bits. Branch-free: loops over them vectorise.
//
// The coefficients come from tools/fit_polynomials.py. Accuracy, measured in tests/cpp/test_math.cpp: sine and cosine
// within 1 ulp for |x| <= 1.6e6 (double) and 1.5 ulp for |x| <= 1600 (float); natural_log within 2 ulp on [2^-64, 1].
// Beyond these ranges the error grows with |x|; NaN and infinities give NaN.
#pragma once

#include <bit>
#include <cstdint>

#include "metarl/detail/hd.h"

namespace metarl {

template <class Real>
struct SinCos {
  Real sin;
  Real cos;
};

namespace detail {

// Nearest integer (ties to even) of |x| < 2^51: adding 1.5 * 2^52 leaves no fraction bits. The low bits of the sum hold
// the integer in two's complement.
METARL_HD double round_magic(double x, std::uint64_t* low_bits) {
  const double shifted = x + 0x1.8p52;
  *low_bits = std::bit_cast<std::uint64_t>(shifted);
  return shifted - 0x1.8p52;
}

METARL_HD float round_magic(float x, std::uint32_t* low_bits) {
  const float shifted = x + 0x1.8p23f;
  *low_bits = std::bit_cast<std::uint32_t>(shifted);
  return shifted - 0x1.8p23f;
}

// r + tail = x - n pi/2, as accurate as twice the precision: pi/2 is split so that the first two products are exact.
METARL_HD void reduce_half_pi(double x, double n, double* r, double* tail) {
  const double a = x - n * 0x1.921fb544p+0;
  const double b = n * 0x1.0b4611a6p-34;
  const double s = a - b;
  const double bb = a - s;
  const double error = (a - (s + bb)) + (bb - b);
  const double low = error - n * 0x1.3198a2e037073p-69;
  *r = s + low;
  *tail = (s - *r) + low;
}

METARL_HD void reduce_half_pi(float x, float n, float* r, float* tail) {
  // Four parts: beside a multiple of pi/2 most bits of the first three cancel.
  const float a = x - n * 0x1.921p+0f;
  const float b = n * 0x1.f6ap-13f;
  const float s = a - b;
  const float bb = a - s;
  const float s_error = (a - (s + bb)) + (bb - b);
  const float c = n * 0x1.11p-26f;
  const float t = s - c;
  const float cc = s - t;
  const float t_error = (s - (t + cc)) + (cc - c);
  const float low = s_error + (t_error - n * 0x1.68c234p-39f);
  *r = t + low;
  *tail = (t - *r) + low;
}

// sin(r + tail) = r + (r z S(z) + tail (1 - z/2)) on |r| <= pi/4, z = r^2.
METARL_HD double sine_polynomial(double r, double tail) {
  const double z = r * r;
  const double s =
      -0.166666666666666646223 +
      z * (0.0083333333333309472945 +
           z * (-0.000198412698367567725281 +
                z * (0.0000027557316101617874437 + z * (-2.50511316502351814697e-8 + z * 1.59181152632659751938e-10))));
  return r + (r * z * s + tail * (1.0 - 0.5 * z));
}

METARL_HD float sine_polynomial(float r, float tail) {
  const float z = r * r;
  const float s = -0.166666646617f + z * (0.00833274815409f + z * -0.000195878657021f);
  return r + (r * z * s + tail * (1.0f - 0.5f * z));
}

// cos(r + tail) = 1 - z/2 + (z^2 C(z) - r tail); the rounding error of 1 - z/2 is put back.
METARL_HD double cosine_polynomial(double r, double tail) {
  const double z = r * r;
  const double c =
      0.041666666666666665388 +
      z * (-0.00138888888888873964916 +
           z * (0.0000248015872987645607706 +
                z * (-2.75573172711451459621e-7 + z * (2.08761461465586115821e-9 + z * -1.13826236474746046286e-11))));
  const double half = 0.5 * z;
  const double w = 1.0 - half;
  return w + (((1.0 - w) - half) + (z * z * c - r * tail));
}

METARL_HD float cosine_polynomial(float r, float tail) {
  const float z = r * r;
  const float c = 0.0416666646589f + z * (-0.00138883029191f + z * 2.45479168537e-5f);
  const float half = 0.5f * z;
  const float w = 1.0f - half;
  return w + (((1.0f - w) - half) + (z * z * c - r * tail));
}

METARL_HD double with_sign(double x, std::uint64_t quadrant) {  // negated when bit 1 of quadrant is set
  return std::bit_cast<double>(std::bit_cast<std::uint64_t>(x) ^ ((quadrant & 2) << 62));
}

METARL_HD float with_sign(float x, std::uint32_t quadrant) {
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) ^ ((quadrant & 2) << 30));
}

METARL_HD std::uint64_t as_bits(double x) { return std::bit_cast<std::uint64_t>(x); }
METARL_HD std::uint32_t as_bits(float x) { return std::bit_cast<std::uint32_t>(x); }
METARL_HD double from_bits(std::uint64_t x) { return std::bit_cast<double>(x); }
METARL_HD float from_bits(std::uint32_t x) { return std::bit_cast<float>(x); }

template <class Real, class Bits>
METARL_HD SinCos<Real> sincos_impl(Real x, Real two_over_pi) {
  Bits quadrant;
  const Real n = round_magic(x * two_over_pi, &quadrant);
  Real r, tail;
  reduce_half_pi(x, n, &r, &tail);
  const Bits s = as_bits(sine_polynomial(r, tail));
  const Bits c = as_bits(cosine_polynomial(r, tail));
  const Bits swap = Bits{0} - (quadrant & 1);  // all ones in odd quadrants
  const Bits difference = (s ^ c) & swap;
  return {with_sign(from_bits(s ^ difference), quadrant), with_sign(from_bits(c ^ difference), quadrant + 1)};
}

}  // namespace detail

METARL_HD SinCos<double> sincos(double x) {
  return detail::sincos_impl<double, std::uint64_t>(x, 0x1.45f306dc9c883p-1);
}
METARL_HD SinCos<float> sincos(float x) { return detail::sincos_impl<float, std::uint32_t>(x, 0x1.45f306p-1f); }

// Natural logarithm of a positive, normal x: log(m 2^e) = e ln 2 + 2 atanh(f), f = (m - 1)/(m + 1), m in [0.71, 1.42).
METARL_HD double natural_log(double x) {
  // Subtracting the bits of sqrt(1/2) makes the exponent field count from there; the arithmetic shift floors.
  const std::int64_t bits = std::bit_cast<std::int64_t>(x);
  const std::int64_t exponent = (bits - std::bit_cast<std::int64_t>(0x1.6a09e667f3bcdp-1)) >> 52;
  const double m = std::bit_cast<double>(bits - exponent * (std::int64_t{1} << 52));
  const double f = (m - 1.0) / (m + 1.0);
  const double z = f * f;
  const double series =
      z *
      (1.0 / 3 +
       z * (1.0 / 5 +
            z * (1.0 / 7 +
                 z * (1.0 / 9 + z * (1.0 / 11 + z * (1.0 / 13 + z * (1.0 / 15 + z * (1.0 / 17 + z * (1.0 / 19)))))))));
  const double e = static_cast<double>(exponent);
  return e * 0x1.62e42fefa38p-1 + (2.0 * f + (2.0 * f * series + e * 0x1.ef35793c7673p-45));
}

// x rounded to the nearest multiple of 1 (ties to even), for |x| < 2^51 (double) or 2^22 (float).
METARL_HD double round_nearest(double x) {
  std::uint64_t unused;
  return detail::round_magic(x, &unused);
}
METARL_HD float round_nearest(float x) {
  std::uint32_t unused;
  return detail::round_magic(x, &unused);
}

template <class Real>
METARL_HD Real clamp(Real x, Real low, Real high) {
  const Real at_least = x < low ? low : x;
  return at_least > high ? high : at_least;
}

}  // namespace metarl
