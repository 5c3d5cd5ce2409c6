// The integer arithmetic of the sum tree, shared by every driver: fixed-point masses and draws in [0, total).
#pragma once

#include <cstdint>

#include "metarl/detail/hd.h"
#include "metarl/detail/pow.h"

#if defined(_MSC_VER) && !defined(__CUDACC__)
#include <intrin.h>
#endif

namespace metarl {

// High 64 bits of a 128-bit product.
METARL_HD std::uint64_t mul_high(std::uint64_t a, std::uint64_t b) {
#if defined(__CUDA_ARCH__)
  return __umul64hi(a, b);
#elif defined(_MSC_VER)
  return __umulh(a, b);
#else
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>((static_cast<Wide>(a) * b) >> 64);
#endif
}

// priority * factor to the nearest integer (ties to even), at least 1 when positive. `factor` is a power of two, so the
// product is exact before it is rounded. Precondition: the result is below 2^32.
METARL_HD std::uint32_t to_mass(double priority, double factor) {
  const std::uint64_t scaled = double_bits(priority * factor);
  const std::uint64_t one = 0x3FF0000000000000ull;
  const std::uint64_t small = below_mask(scaled, one);
  const std::uint64_t kept = (one & small) | (scaled & ~small);
  // In [2^52, 2^53) a double's last bit is worth one: adding 2^52 rounds, and leaves the integer in the low bits.
  const std::uint64_t mass = double_bits(bits_double(kept) + 0x1.0p52) & below_mask(0, double_bits(priority));
  return static_cast<std::uint32_t>(mass);
}

// leaf / 2^shift rounded half up, at least 1 when positive; shift in [1, 63].
METARL_HD std::uint32_t shift_mass_down(std::uint32_t mass, int shift) {
  const std::uint64_t rounded = (std::uint64_t{mass} + (1ull << (shift - 1))) >> shift;
  return mass == 0 ? 0u : (rounded == 0 ? 1u : static_cast<std::uint32_t>(rounded));
}

// 64 random bits to an integer in [0, total). Each item's probability is off by at most 2^-64.
METARL_HD std::uint64_t draw_uniform(std::uint64_t bits, std::uint64_t total) { return mul_high(bits, total); }

// Stratified draws: number i of n is floor((i * total + r) / n) with r uniform in [0, total). It lies in the i-th of n
// equal slices, the sequence ascends, and nothing is lost when total is no multiple of n or smaller than n.
struct StratifiedDraws {
  std::uint64_t n, total_quotient, total_remainder, reciprocal;
  std::uint64_t quotient, remainder;  // of i * total / n
};

// From draw number `first` <= n on. Needs total < 2^63 and 0 < n < 2^32.
METARL_HD StratifiedDraws make_stratified(std::uint64_t total, std::uint64_t n, std::uint64_t first = 0) {
  const std::uint64_t quotient = total / n, remainder = total % n;
  return StratifiedDraws{
      n, quotient, remainder, ~0ull / n, first * quotient + first * remainder / n, first * remainder % n};
}

// The same from any draws of that total and n, without a division.
METARL_HD StratifiedDraws restart_stratified(StratifiedDraws s, std::uint64_t first) {
  const std::uint64_t x = first * s.total_remainder;
  std::uint64_t q = mul_high(x, s.reciprocal);  // at most 2 below x / n
  std::uint64_t rest = x - q * s.n;
  while (rest >= s.n) {
    rest -= s.n;
    ++q;
  }
  s.quotient = first * s.total_quotient + q;
  s.remainder = rest;
  return s;
}

METARL_HD std::uint64_t next_stratified(StratifiedDraws& s, std::uint64_t bits, std::uint64_t total) {
  const std::uint64_t x = s.remainder + mul_high(bits, total);
  std::uint64_t q = mul_high(x, s.reciprocal);  // at most 2 below x / n
  std::uint64_t rest = x - q * s.n;
  while (rest >= s.n) {
    rest -= s.n;
    ++q;
  }
  const std::uint64_t drawn = s.quotient + q;
  s.quotient += s.total_quotient;
  s.remainder += s.total_remainder;
  if (s.remainder >= s.n) {
    s.remainder -= s.n;
    ++s.quotient;
  }
  return drawn;
}

}  // namespace metarl
