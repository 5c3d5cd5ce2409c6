// CRC-32C per instruction-set level: the CPU's own instruction (SSE4.2, part of the avx2 level) over three lanes at
// once, whose latency of three cycles it hides; tables of 16 bytes a step elsewhere.
#include <cstring>

#include "core/crc32c.h"

#if defined(__SSE4_2__)
#include <nmmintrin.h>
#endif

namespace metarl::METARL_ISA_NS {
namespace {

constexpr std::uint32_t kPolynomial = 0x82F63B78u;  // reflected: bit 31 is x^0

// The register after another zero bit: a multiplication by x.
constexpr std::uint32_t times_x(std::uint32_t a) { return (a & 1u) != 0 ? (a >> 1) ^ kPolynomial : a >> 1; }

#if defined(__SSE4_2__)

constexpr std::size_t kLane = 4096;

constexpr std::uint32_t multiply(std::uint32_t a, std::uint32_t b) {
  std::uint32_t product = 0;
  for (std::uint32_t bit = 0x80000000u; bit != 0; bit >>= 1) {
    product ^= b & (0u - static_cast<std::uint32_t>((a & bit) != 0));
    b = times_x(b);
  }
  return product;
}

// x^(8 * bytes), for a power of two.
constexpr std::uint32_t power_of_bytes(std::size_t bytes) {
  std::uint32_t power = 0x80000000u;
  for (int i = 0; i < 8; ++i) power = times_x(power);
  for (; bytes > 1; bytes /= 2) power = multiply(power, power);
  return power;
}

constexpr std::uint32_t kLanePower = power_of_bytes(kLane);

std::uint64_t word(const std::byte* p) {
  std::uint64_t value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

#else

struct Tables {
  std::uint32_t at[16][256];  // [k][v]: the register of byte v after k more zero bytes
};

constexpr Tables make_tables() {
  Tables tables{};
  for (std::uint32_t v = 0; v < 256; ++v) {
    std::uint32_t state = v;
    for (int bit = 0; bit < 8; ++bit) state = times_x(state);
    tables.at[0][v] = state;
  }
  for (int k = 1; k < 16; ++k) {
    for (std::uint32_t v = 0; v < 256; ++v) {
      const std::uint32_t before = tables.at[k - 1][v];
      tables.at[k][v] = (before >> 8) ^ tables.at[0][before & 0xFF];
    }
  }
  return tables;
}

constexpr Tables kTables = make_tables();

#endif

}  // namespace

std::uint32_t crc32c_register(std::uint32_t state, const std::byte* data, std::size_t n) {
#if defined(__SSE4_2__)
  for (; n >= 3 * kLane; data += 3 * kLane, n -= 3 * kLane) {
    std::uint64_t a = state;
    std::uint64_t b = 0;
    std::uint64_t c = 0;
    for (std::size_t i = 0; i < kLane; i += 8) {
      a = _mm_crc32_u64(a, word(data + i));
      b = _mm_crc32_u64(b, word(data + kLane + i));
      c = _mm_crc32_u64(c, word(data + 2 * kLane + i));
    }
    const std::uint32_t first_two = multiply(static_cast<std::uint32_t>(a), kLanePower) ^ static_cast<std::uint32_t>(b);
    state = multiply(first_two, kLanePower) ^ static_cast<std::uint32_t>(c);
  }
  for (; n >= 8; data += 8, n -= 8) state = static_cast<std::uint32_t>(_mm_crc32_u64(state, word(data)));
  for (; n > 0; ++data, --n) state = _mm_crc32_u8(state, static_cast<std::uint8_t>(*data));
#else
  for (; n >= 16; data += 16, n -= 16) {
    std::uint32_t next = 0;
    for (std::uint32_t i = 0; i < 16; ++i) {
      std::uint32_t v = static_cast<std::uint32_t>(data[i]);
      if (i < 4) v ^= (state >> (8 * i)) & 0xFF;
      next ^= kTables.at[15 - i][v];
    }
    state = next;
  }
  for (; n > 0; ++data, --n) {
    state = (state >> 8) ^ kTables.at[0][(state ^ static_cast<std::uint32_t>(*data)) & 0xFF];
  }
#endif
  return state;
}

}  // namespace metarl::METARL_ISA_NS
