// Random integers for the sum tree and for uniform sampling; see tree_kernels.h.
#include "core/tree_kernels.h"
#include "metarl/detail/fixed_point.h"
#include "metarl/detail/philox.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // gcc 12's own AVX-512 header
#endif

namespace metarl::METARL_ISA_NS {
namespace {

// Draws made at once, two a Philox block.
constexpr int kChunk = 64;

METARL_HD void store_block(const PhiloxBlock& b, std::uint64_t* out) {
  out[0] = std::uint64_t{b.v[0]} << 32 | b.v[1];
  out[1] = std::uint64_t{b.v[2]} << 32 | b.v[3];
}

// The bits of draws 2 * block ... of kChunk draws.
METARL_HD void random_bits(std::uint64_t seed, std::uint64_t call, std::uint32_t tag, std::uint32_t block, int draws,
                           std::uint64_t* out) {
#if defined(__AVX512F__)
  const __m512i m0 = _mm512_set1_epi64(0xD2511F53);
  const __m512i m1 = _mm512_set1_epi64(0xCD9E8D57);
  const __m512i low = _mm512_set1_epi64(0xFFFFFFFF);
  const __m512i order_low = _mm512_set_epi64(11, 3, 10, 2, 9, 1, 8, 0);
  const __m512i order_high = _mm512_set_epi64(15, 7, 14, 6, 13, 5, 12, 4);
  for (int first = 0; first < draws; first += 16) {
    // One 32-bit word in each 64-bit lane. The high halves of c1 and c3 may hold rubbish until the end, because
    // vpmuludq reads the low halves only.
    __m512i c0 = _mm512_add_epi64(_mm512_set1_epi64(block + static_cast<std::uint32_t>(first / 2)),
                                  _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0));
    __m512i c1 = _mm512_set1_epi64(static_cast<long long>(call & 0xFFFFFFFFu));
    __m512i c2 = _mm512_set1_epi64(static_cast<long long>(call >> 32));
    __m512i c3 = _mm512_set1_epi64(tag);
    std::uint32_t k0 = static_cast<std::uint32_t>(seed);
    std::uint32_t k1 = static_cast<std::uint32_t>(seed >> 32);
    for (int round = 0; round < 10; ++round) {
      const __m512i p0 = _mm512_mul_epu32(m0, c0);
      const __m512i p1 = _mm512_mul_epu32(m1, c2);
      c0 = _mm512_xor_si512(_mm512_xor_si512(_mm512_srli_epi64(p1, 32), c1), _mm512_set1_epi64(k0));
      c2 = _mm512_xor_si512(_mm512_xor_si512(_mm512_srli_epi64(p0, 32), c3), _mm512_set1_epi64(k1));
      c1 = p1;
      c3 = p0;
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    const __m512i even = _mm512_or_si512(_mm512_slli_epi64(c0, 32), _mm512_and_si512(c1, low));
    const __m512i odd = _mm512_or_si512(_mm512_slli_epi64(c2, 32), _mm512_and_si512(c3, low));
    _mm512_storeu_si512(out + first, _mm512_permutex2var_epi64(even, order_low, odd));
    _mm512_storeu_si512(out + first + 8, _mm512_permutex2var_epi64(even, order_high, odd));
  }
#elif defined(__AVX2__)
  const __m256i m0 = _mm256_set1_epi64x(0xD2511F53);
  const __m256i m1 = _mm256_set1_epi64x(0xCD9E8D57);
  const __m256i low = _mm256_set1_epi64x(0xFFFFFFFF);
  for (int first = 0; first < draws; first += 8) {
    __m256i c0 = _mm256_add_epi64(_mm256_set1_epi64x(block + static_cast<std::uint32_t>(first / 2)),
                                  _mm256_set_epi64x(3, 2, 1, 0));
    __m256i c1 = _mm256_set1_epi64x(static_cast<long long>(call & 0xFFFFFFFFu));
    __m256i c2 = _mm256_set1_epi64x(static_cast<long long>(call >> 32));
    __m256i c3 = _mm256_set1_epi64x(tag);
    std::uint32_t k0 = static_cast<std::uint32_t>(seed);
    std::uint32_t k1 = static_cast<std::uint32_t>(seed >> 32);
    for (int round = 0; round < 10; ++round) {
      const __m256i p0 = _mm256_mul_epu32(m0, c0);
      const __m256i p1 = _mm256_mul_epu32(m1, c2);
      c0 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(p1, 32), c1), _mm256_set1_epi64x(k0));
      c2 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(p0, 32), c3), _mm256_set1_epi64x(k1));
      c1 = p1;
      c3 = p0;
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    const __m256i even = _mm256_or_si256(_mm256_slli_epi64(c0, 32), _mm256_and_si256(c1, low));
    const __m256i odd = _mm256_or_si256(_mm256_slli_epi64(c2, 32), _mm256_and_si256(c3, low));
    const __m256i a = _mm256_unpacklo_epi64(even, odd);
    const __m256i b = _mm256_unpackhi_epi64(even, odd);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + first), _mm256_permute2x128_si256(a, b, 0x20));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + first + 4), _mm256_permute2x128_si256(a, b, 0x31));
  }
#else
  for (int first = 0; first < draws; first += 2) {
    store_block(philox(seed, block + static_cast<std::uint32_t>(first / 2), call, tag), out + first);
  }
#endif
}

}  // namespace

void tree_draws(std::uint64_t seed, std::uint64_t call, std::uint32_t tag, std::uint64_t total, std::int64_t n,
                bool stratified, std::int64_t begin, std::int64_t end, std::uint64_t* out) {
  StratifiedDraws strata = make_stratified(total, static_cast<std::uint64_t>(n), static_cast<std::uint64_t>(begin));
  std::uint64_t bits[kChunk];
  for (std::int64_t first = begin; first < end; first += kChunk) {
    const int count = end - first < kChunk ? static_cast<int>(end - first) : kChunk;
    random_bits(seed, call, tag, static_cast<std::uint32_t>(first / 2), count, bits);
    if (stratified) {
      for (int k = 0; k < count; ++k) out[first + k] = next_stratified(strata, bits[k], total);
    } else {
      for (int k = 0; k < count; ++k) out[first + k] = draw_uniform(bits[k], total);
    }
  }
}

}  // namespace metarl::METARL_ISA_NS
