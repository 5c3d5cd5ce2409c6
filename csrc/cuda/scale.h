// When the device tree changes its scale: the policy of csrc/core/tree.cpp, as functions of the state that every thread
// evaluates alike. See metarl/sum_tree.h.
#pragma once

#include <cstdint>

#include "metarl/detail/fixed_point.h"
#include "metarl/detail/hd.h"

namespace metarl::cuda {

constexpr int kTargetBits = 28;                  // a new scale puts the largest mass in [2^27, 2^28)
constexpr std::uint32_t kRaiseBelow = 1u << 20;  // the scale is raised when the largest mass is smaller
constexpr double kLargestMass = 4294967040.0;    // 2^32 - 2^8
constexpr int kLargestExponent = 1000;

// Key of a mass, the largest of which names an extreme: 0 largest mass, 1 smallest positive one.
METARL_HD std::uint32_t extreme_key(int which, std::uint32_t mass) { return which == 0 ? mass : 0u - mass; }

METARL_HD double power_of_two(int exponent) { return bits_double(static_cast<std::uint64_t>(exponent + 1023) << 52); }

// Its number, -1 for 0.
METARL_HD int highest_bit(std::uint64_t x) {
#if defined(__CUDA_ARCH__)
  return 63 - __clzll(static_cast<long long>(x));
#else
  int bit = -1;
  for (; x != 0; x >>= 1) ++bit;
  return bit;
#endif
}

// Exponent of a positive finite number: 2^e <= x < 2^(e + 1).
METARL_HD int exponent_of(double x) {
  const std::uint64_t bits = double_bits(x);
  return (bits >> 52) != 0 ? static_cast<int>(bits >> 52) - 1023 : highest_bit(bits) - 1074;
}

struct ScaleChange {
  int shift;     // of all masses: < 0 right, > 0 left
  int exponent;  // the new one
  bool changed;
};

// Before a batch whose largest priority is `top`.
METARL_HD ScaleChange fit_scale(double top, std::uint64_t total, int exponent) {
  if (top <= 0.0) return ScaleChange{0, exponent, false};
  if (total != 0 && top * power_of_two(exponent) < kLargestMass) return ScaleChange{0, exponent, false};
  const int limit = kTargetBits - 1 - exponent_of(top);
  const int wanted = limit < kLargestExponent ? limit : kLargestExponent;
  if (total == 0) return ScaleChange{0, wanted, wanted != exponent};
  const int shift = wanted - exponent > -63 ? wanted - exponent : -63;
  return ScaleChange{shift, wanted, true};
}

// After one.
METARL_HD ScaleChange raise_scale(std::uint32_t largest, std::uint64_t changes, std::int64_t capacity, int exponent) {
  const ScaleChange none{0, exponent, false};
  if (changes < static_cast<std::uint64_t>(capacity) / 4 + 1) return none;
  if (largest == 0 || largest >= kRaiseBelow) return none;
  const int room = kTargetBits - (highest_bit(largest) + 1);
  const int shift = room < kLargestExponent - exponent ? room : kLargestExponent - exponent;
  return shift > 0 ? ScaleChange{shift, exponent + shift, true} : none;
}

METARL_HD std::uint32_t shift_mass(std::uint32_t mass, int shift) {
  return shift > 0 ? mass << shift : shift < 0 ? shift_mass_down(mass, -shift) : mass;
}

}  // namespace metarl::cuda
