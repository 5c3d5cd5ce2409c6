// Descent of the sum tree; see tree_kernels.h. No std:: templates here: see cmake/MetarlTargets.cmake.
#include "core/tree_kernels.h"
#include "core/tree_wide.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // gcc 12's own AVX-512 header
#endif

namespace metarl::METARL_ISA_NS {
namespace {

// Descents worked on at once: enough to cover the latency of memory, few enough that their lines stay in L1.
constexpr int kInFlight = 64;
// So many nodes (32 KiB of prefix sums) stay in the nearest caches and are not fetched ahead.
constexpr std::int64_t kNearNodes = 256;

// Child of a node in whose range `at` lies: the last one whose prefix sum is <= at. An empty child is never returned,
// because its successor has the same prefix sum (or the node's sum, which exceeds `at`).
METARL_HD int find_child(const TreeNode* node, std::uint64_t at) {
#if defined(__AVX512F__)
  const __m512i v = _mm512_set1_epi64(static_cast<long long>(at));
  const unsigned low = _mm512_cmple_epu64_mask(_mm512_load_si512(node->before), v);
  const unsigned high = _mm512_cmple_epu64_mask(_mm512_load_si512(node->before + 8), v);
  return __builtin_popcount(low | high << 8) - 1;
#elif defined(__AVX2__)
  const __m256i v = _mm256_set1_epi64x(static_cast<long long>(at));
  unsigned greater = 0;
  for (int part = 0; part < 4; ++part) {  // sums are below 2^63: the signed comparison is right
    const __m256i s = _mm256_load_si256(reinterpret_cast<const __m256i*>(node->before + 4 * part));
    greater |= static_cast<unsigned>(_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(s, v)))) << (4 * part);
  }
  return 15 - __builtin_popcount(greater);
#else
  int c = node->before[8] <= at ? 8 : 0;
  c += node->before[c + 4] <= at ? 4 : 0;
  c += node->before[c + 2] <= at ? 2 : 0;
  c += node->before[c + 1] <= at ? 1 : 0;
  return c;
#endif
}

#if defined(__AVX2__) && !defined(__AVX512F__)
METARL_HD __m256i prefix_sums_of_eight(__m256i x) {
  x = _mm256_add_epi32(x, _mm256_slli_si256(x, 4));
  x = _mm256_add_epi32(x, _mm256_slli_si256(x, 8));  // of each half
  return _mm256_add_epi32(x, _mm256_shuffle_epi32(_mm256_permute2x128_si256(x, x, 0x08), 0xFF));
}
#endif

// Position in a group of leaves: the number of inclusive prefix sums <= at.
METARL_HD int find_leaf(const std::uint32_t* leaves, std::uint64_t at) {
#if defined(__AVX512F__)
  // Unless a leaf is so large that 16 of them may not fit, 32 bits do, with half the work.
  const __m512i group = _mm512_load_si512(leaves);
  if (_mm512_test_epi32_mask(group, _mm512_set1_epi32(static_cast<int>(0xF0000000u))) == 0) {
    const __m512i zero = _mm512_setzero_si512();
    __m512i sums = _mm512_add_epi32(group, _mm512_alignr_epi32(group, zero, 15));
    sums = _mm512_add_epi32(sums, _mm512_alignr_epi32(sums, zero, 14));
    sums = _mm512_add_epi32(sums, _mm512_alignr_epi32(sums, zero, 12));
    sums = _mm512_add_epi32(sums, _mm512_alignr_epi32(sums, zero, 8));
    return __builtin_popcount(_mm512_cmple_epu32_mask(sums, _mm512_set1_epi32(static_cast<int>(at))));
  }
  __m512i low = _mm512_cvtepu32_epi64(_mm256_load_si256(reinterpret_cast<const __m256i*>(leaves)));
  __m512i high = _mm512_cvtepu32_epi64(_mm256_load_si256(reinterpret_cast<const __m256i*>(leaves + 8)));
  prefix_sums(&low, &high);
  const __m512i v = _mm512_set1_epi64(static_cast<long long>(at));
  const unsigned below = _mm512_cmple_epu64_mask(low, v);
  const unsigned above = _mm512_cmple_epu64_mask(high, v);
  return __builtin_popcount(below | above << 8);
#else
#if defined(__AVX2__)
  const __m256i low = _mm256_load_si256(reinterpret_cast<const __m256i*>(leaves));
  const __m256i high = _mm256_load_si256(reinterpret_cast<const __m256i*>(leaves + 8));
  if (_mm256_testz_si256(_mm256_or_si256(low, high), _mm256_set1_epi32(static_cast<int>(0xF0000000u)))) {
    const __m256i low_sums = prefix_sums_of_eight(low);
    const __m256i carry = _mm256_permutevar8x32_epi32(low_sums, _mm256_set1_epi32(7));
    const __m256i high_sums = _mm256_add_epi32(prefix_sums_of_eight(high), carry);
    const __m256i v = _mm256_set1_epi32(static_cast<int>(at));
    // A sum is <= v where v is the larger one of the two, as unsigned numbers.
    const __m256i below = _mm256_cmpeq_epi32(_mm256_max_epu32(low_sums, v), v);
    const __m256i above = _mm256_cmpeq_epi32(_mm256_max_epu32(high_sums, v), v);
    return __builtin_popcount(static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(below))) |
                              static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(above))) << 8);
  }
#endif
  int c = 0;
  std::uint64_t sum = 0;
  for (int j = 0; j < kTreeFanout - 1; ++j) {
    sum += leaves[j];
    c += sum <= at ? 1 : 0;
  }
  return c;
#endif
}

// Fetches what a descent reads next: of a node, or (below is null) of a group of leaves.
METARL_HD void prefetch_child(const TreeView* tree, const TreeNode* below, std::int64_t child) {
  if (below == nullptr) {
    prefetch(tree->leaves + child * kTreeFanout);
  } else {
    prefetch(below[child].before);
    prefetch(below[child].before + 8);
  }
}

METARL_HD void descend_one(const TreeNode* nodes, std::uint64_t* rest, std::int64_t* child) {
  const TreeNode* node = nodes + *child;
  const int c = find_child(node, *rest);
  *rest -= node->before[c];
  *child = *child * kTreeFanout + c;
}

#if defined(__AVX512F__)
// Eight descents by one level if all are at the same node, which ascending draws mostly are in the upper levels: a
// binary search with the node in registers.
METARL_HD bool descend_together(const TreeNode* nodes, std::uint64_t* rest, std::int64_t* child) {
  const __m512i at_node = _mm512_set1_epi64(child[0]);
  if (_mm512_cmpneq_epi64_mask(_mm512_load_si512(child), at_node) != 0) return false;
  const TreeNode* node = nodes + child[0];
  const __m512i low = _mm512_load_si512(node->before);
  const __m512i high = _mm512_load_si512(node->before + 8);
  const __m512i at = _mm512_load_si512(rest);
  __m512i c = _mm512_setzero_si512();
#pragma GCC unroll 4
  for (int step = 8; step > 0; step /= 2) {
    const __m512i next = _mm512_add_epi64(c, _mm512_set1_epi64(step));
    c = _mm512_mask_mov_epi64(c, _mm512_cmple_epu64_mask(_mm512_permutex2var_epi64(low, next, high), at), next);
  }
  _mm512_store_si512(rest, _mm512_sub_epi64(at, _mm512_permutex2var_epi64(low, c, high)));
  _mm512_store_si512(child, _mm512_add_epi64(_mm512_slli_epi64(at_node, 4), c));
  return true;
}
#endif

}  // namespace

void tree_descend(const TreeView* tree, const std::uint64_t* at, std::int64_t n, std::int64_t* indices,
                  std::uint32_t* masses) {
  alignas(64) std::uint64_t rest[kInFlight];
  alignas(64) std::int64_t child[kInFlight];
  for (std::int64_t first = 0; first < n; first += kInFlight) {
    const int count = n - first < kInFlight ? static_cast<int>(n - first) : kInFlight;
    for (int k = 0; k < count; ++k) {
      rest[k] = at[first + k];
      child[k] = 0;
    }
    for (int level = tree->num_levels - 1; level >= 0; --level) {
      const TreeNode* nodes = tree->levels[level];
      const TreeNode* below = level > 0 ? tree->levels[level - 1] : nullptr;
      const bool fetch = (tree->num_groups >> (4 * level)) > kNearNodes;
      int k = 0;
#if defined(__AVX512F__)
      for (; k + 8 <= count; k += 8) {
        if (!descend_together(nodes, rest + k, child + k)) {
          for (int j = k; j < k + 8; ++j) descend_one(nodes, rest + j, child + j);
        }
        if (fetch) {
          for (int j = k; j < k + 8; ++j) prefetch_child(tree, below, child[j]);
        }
      }
#endif
      for (; k < count; ++k) {
        descend_one(nodes, rest + k, child + k);
        if (fetch) prefetch_child(tree, below, child[k]);
      }
    }
    for (int k = 0; k < count; ++k) {
      const std::uint32_t* leaves = tree->leaves + child[k] * kTreeFanout;
      const int c = find_leaf(leaves, rest[k]);
      indices[first + k] = child[k] * kTreeFanout + c;
      masses[first + k] = leaves[c];
    }
  }
}

}  // namespace metarl::METARL_ISA_NS
