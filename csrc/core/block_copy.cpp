// See block_copy.h. Wide stores fill a line at once: four of 16 bytes can be written apart, which costs a fifth of the
// speed.
#include "core/block_copy.h"

#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace metarl::METARL_ISA_NS {

void copy_streaming(std::byte* to, const std::byte* from, std::size_t bytes) {
  std::size_t i = 0;
#if defined(__SSE2__)
  // Up to the first line, then whole lines.
  const std::size_t head = (64 - reinterpret_cast<std::size_t>(to) % 64) % 64;
  if (bytes >= head + 64) {
    std::memcpy(to, from, head);
    for (i = head; i + 64 <= bytes; i += 64) {
#if defined(__AVX512F__)
      _mm512_stream_si512(reinterpret_cast<__m512i*>(to + i), _mm512_loadu_si512(from + i));
#elif defined(__AVX2__)
      const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i));
      const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i + 32));
      _mm256_stream_si256(reinterpret_cast<__m256i*>(to + i), low);
      _mm256_stream_si256(reinterpret_cast<__m256i*>(to + i + 32), high);
#else
      __m128i part[4];
      for (int k = 0; k < 4; ++k) part[k] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i + 16 * k));
      for (int k = 0; k < 4; ++k) _mm_stream_si128(reinterpret_cast<__m128i*>(to + i + 16 * k), part[k]);
#endif
    }
  }
#endif
  std::memcpy(to + i, from + i, bytes - i);
}

void copy_fence() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace metarl::METARL_ISA_NS
