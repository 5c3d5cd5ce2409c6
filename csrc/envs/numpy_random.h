// NumPy's random numbers, for what a seed names there too: maps and mappings of the reference packages. Only as much
// of it as they draw. For definitions, not for kernels.
#pragma once

#include <array>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

namespace metarl::numpy {

// numpy.random.RandomState(seed), seed in [0, 2^32).
class RandomState {
 public:
  explicit RandomState(std::uint32_t seed) : words_(seed) {}

  // binomial(1, 0.5), by inversion as for all small means.
  bool coin() { return uniform() > 0.5; }

  // permutation(n).
  std::vector<std::uint32_t> permutation(std::uint32_t n) {
    std::vector<std::uint32_t> order(n);
    for (std::uint32_t i = 0; i < n; ++i) order[i] = i;
    for (std::uint32_t i = n; i-- > 1;) std::swap(order[i], order[below_or_at(i)]);
    return order;
  }

 private:
  std::uint32_t word() { return static_cast<std::uint32_t>(words_()); }
  double uniform() {
    const double high = word() >> 5;
    const double low = word() >> 6;
    return (high * 0x1.0p26 + low) * 0x1.0p-53;
  }
  // Uniform in [0, most]: words of as many bits, until one fits.
  std::uint32_t below_or_at(std::uint32_t most) {
    std::uint32_t mask = most;
    for (unsigned shift = 1; shift < 32; shift *= 2) mask |= mask >> shift;
    for (;;) {
      const std::uint32_t value = word() & mask;
      if (value <= most) return value;
    }
  }

  std::mt19937 words_;  // the same generator and seeding
};

// numpy.random.default_rng(seed), seed in [0, 2^32): PCG64 (O'Neill, 2014; XSL-RR) seeded by SeedSequence.
class Generator {
 public:
  explicit Generator(std::uint32_t seed) {
    const std::array<std::uint64_t, 4> words = seed_sequence(seed);
    increment_ = (wide(words[2], words[3]) << 1) | 1;
    step();
    state_ += wide(words[0], words[1]);
    step();
  }

  // random(): uniform in [0, 1).
  double uniform() {
    step();
    const auto high = static_cast<std::uint64_t>(state_ >> 64);
    const std::uint64_t mixed = high ^ static_cast<std::uint64_t>(state_);
    const auto turn = static_cast<unsigned>(high >> 58);
    const std::uint64_t word = turn == 0 ? mixed : mixed >> turn | mixed << (64 - turn);
    return static_cast<double>(word >> 11) * 0x1.0p-53;
  }

 private:
  __extension__ using Wide = unsigned __int128;

  static Wide wide(std::uint64_t high, std::uint64_t low) { return static_cast<Wide>(high) << 64 | low; }
  void step() { state_ = state_ * wide(0x2360ED051FC65DA4u, 0x4385DF649FCCF645u) + increment_; }

  // SeedSequence(seed).generate_state(4, uint64).
  static std::array<std::uint64_t, 4> seed_sequence(std::uint32_t seed) {
    std::uint32_t constant = 0x43B0D7E5u;
    const auto hash = [&constant](std::uint32_t value, std::uint32_t multiplier) {
      value ^= constant;
      constant *= multiplier;
      value *= constant;
      return value ^ value >> 16;
    };
    constexpr std::size_t kPool = 4;
    std::array<std::uint32_t, kPool> pool{};
    for (std::size_t i = 0; i < kPool; ++i) pool[i] = hash(i == 0 ? seed : 0, 0x931E8875u);
    for (std::size_t from = 0; from < kPool; ++from) {
      for (std::size_t to = 0; to < kPool; ++to) {
        if (from == to) continue;
        const std::uint32_t mixed = 0xCA01F9DDu * pool[to] - 0x4973F715u * hash(pool[from], 0x931E8875u);
        pool[to] = mixed ^ mixed >> 16;
      }
    }
    constant = 0x8B51F9DDu;
    std::array<std::uint64_t, 4> words{};
    for (std::size_t i = 0; i < 2 * words.size(); ++i) {
      words[i / 2] |= std::uint64_t{hash(pool[i % kPool], 0x58F38DEDu)} << (32 * (i % 2));
    }
    return words;
  }

  Wide state_ = 0;
  Wide increment_ = 0;
};

}  // namespace metarl::numpy
