// What the kernels of the sum tree share. Internal to them.
#pragma once

#include "metarl/detail/hd.h"
#include "metarl/detail/prefetch.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace metarl::METARL_ISA_NS {
namespace {

#if defined(__AVX512F__)
// Inclusive prefix sums of 16 numbers in two vectors.
METARL_HD void prefix_sums(__m512i* low, __m512i* high) {
  const __m512i zero = _mm512_setzero_si512();
  *low = _mm512_add_epi64(*low, _mm512_alignr_epi64(*low, zero, 7));
  *high = _mm512_add_epi64(*high, _mm512_alignr_epi64(*high, zero, 7));
  *low = _mm512_add_epi64(*low, _mm512_alignr_epi64(*low, zero, 6));
  *high = _mm512_add_epi64(*high, _mm512_alignr_epi64(*high, zero, 6));
  *low = _mm512_add_epi64(*low, _mm512_alignr_epi64(*low, zero, 4));
  *high = _mm512_add_epi64(*high, _mm512_alignr_epi64(*high, zero, 4));
  *high = _mm512_add_epi64(*high, _mm512_permutexvar_epi64(_mm512_set1_epi64(7), *low));
}
#endif

}  // namespace
}  // namespace metarl::METARL_ISA_NS
