// Update and rebuild of the sum tree; see tree_kernels.h. No std:: templates here: see
// cmake/MetarlTargets.cmake.
#include "core/tree_kernels.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // gcc 12's own AVX-512 header
#endif

#include "core/tree_wide.h"
#include "metarl/detail/fixed_point.h"

namespace metarl::METARL_ISA_NS {
namespace {

// Updates ahead of which lines are fetched.
constexpr int kUpdateAhead = 24;
// Most sums of changes kept at once, and most groups whose extremes may have changed.
constexpr std::int64_t kMaxSums = 4096;
constexpr int kMaxEdges = 32;

#if !defined(__AVX512F__)
// All bits set from element 16 on: 15 - c of its elements before those after child c.
alignas(64) const std::uint64_t kAfter[2 * kTreeFanout] = {
    0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,
    ~0ull, ~0ull, ~0ull, ~0ull, ~0ull, ~0ull, ~0ull, ~0ull, ~0ull, ~0ull, ~0ull, ~0ull, ~0ull, ~0ull, ~0ull, ~0ull};
#endif

// Adds delta (modulo 2^64) to the prefix sums after child c.
METARL_HD void add_after(TreeNode* node, int c, std::uint64_t delta) {
#if defined(__AVX512F__)
  const unsigned after = 0xFFFEu << c;
  const __m512i d = _mm512_set1_epi64(static_cast<long long>(delta));
  __m512i low = _mm512_load_si512(node->before);
  __m512i high = _mm512_load_si512(node->before + 8);
  low = _mm512_mask_add_epi64(low, static_cast<__mmask8>(after), low, d);
  high = _mm512_mask_add_epi64(high, static_cast<__mmask8>(after >> 8), high, d);
  _mm512_store_si512(node->before, low);
  _mm512_store_si512(node->before + 8, high);
#else
  const std::uint64_t* after = kAfter + (kTreeFanout - 1 - c);
  for (int j = 0; j < kTreeFanout; ++j) node->before[j] += after[j] & delta;
#endif
}

// Fetches what an update of a leaf needs, apart from what is in the caches anyway.
METARL_HD void prefetch_leaf(const TreeView* tree, std::int64_t index) {
  const TreeNode* node = &tree->levels[0][index >> 8];
  prefetch(tree->leaves + index);
  prefetch(node->before);
  prefetch(node->before + 8);
}

METARL_HD void add_to_ancestors(TreeView* tree, std::int64_t group, std::uint64_t delta) {
  std::int64_t child = group;
  for (int level = 0; level < tree->num_levels; ++level) {
    add_after(&tree->levels[level][child >> 4], static_cast<int>(child & 15), delta);
    child >>= 4;
  }
  tree->total += delta;
}

METARL_HD std::uint32_t extreme_key(int which, std::uint32_t mass) { return which == 0 ? mass : 0u - mass; }

METARL_HD std::uint32_t group_extreme(int which, const std::uint32_t* leaves) {
#if defined(__AVX512F__)
  const __m512i group = _mm512_load_si512(leaves);
  return _mm512_reduce_max_epu32(which == 0 ? group : _mm512_sub_epi32(_mm512_setzero_si512(), group));
#else
  std::uint32_t best = 0;
  for (int j = 0; j < kTreeFanout; ++j) {
    const std::uint32_t key = extreme_key(which, leaves[j]);
    best = key > best ? key : best;
  }
  return best;
#endif
}

METARL_HD std::uint32_t node_extreme(const std::uint32_t* keys) { return group_extreme(0, keys); }

// The group's extreme changed from `old` to `now`: climb while an ancestor's changes too.
METARL_HD void climb_extreme(TreeView* tree, int which, std::int64_t group, std::uint32_t old, std::uint32_t now) {
  std::int64_t child = group;
  for (int level = 0; level < tree->num_levels; ++level) {
    if (old == now) return;
    std::uint32_t* keys = tree->levels[level][child >> 4].extreme[which];
    keys[child & 15] = now;
    child >>= 4;
    std::uint32_t* stored =
        level + 1 < tree->num_levels ? &tree->levels[level + 1][child >> 4].extreme[which][child & 15] : nullptr;
    const std::uint32_t before = stored != nullptr ? *stored : tree->root_extreme[which];
    std::uint32_t after = before;
    if (now > before) {
      after = now;
    } else if (old == before) {
      after = node_extreme(keys);
    }
    old = before;
    now = after;
  }
  tree->root_extreme[which] = now;
}

// Sets values[j] and returns what it was. *largest: whether the old or the new value may be the largest of the group,
// *smallest: the smallest positive one.
METARL_HD std::uint32_t replace(std::uint32_t* values, int j, std::uint32_t now, bool* largest, bool* smallest) {
  const std::uint32_t old = values[j];
  // Nothing above the larger of the two: one of them is the largest, before or after. Likewise below, where minus one
  // makes zero, which does not count, the largest.
  const std::uint32_t most = old > now ? old : now;
  const std::uint32_t least = old - 1 < now - 1 ? old - 1 : now - 1;
#if defined(__AVX512F__)
  const __m512i group = _mm512_load_si512(values);
  const unsigned above = _mm512_cmpgt_epu32_mask(group, _mm512_set1_epi32(static_cast<int>(most)));
  const unsigned below = _mm512_cmplt_epu32_mask(_mm512_add_epi32(group, _mm512_set1_epi32(-1)),
                                                 _mm512_set1_epi32(static_cast<int>(least)));
  // The whole line is written: a later read of it need not wait for a store of four bytes.
  _mm512_store_si512(values, _mm512_mask_set1_epi32(group, static_cast<__mmask16>(1u << j), static_cast<int>(now)));
  *largest = above == 0;
  *smallest = below == 0;
#elif defined(__AVX2__)
  const __m256i low = _mm256_load_si256(reinterpret_cast<const __m256i*>(values));
  const __m256i high = _mm256_load_si256(reinterpret_cast<const __m256i*>(values + 8));
  const __m256i one = _mm256_set1_epi32(1);
  const __m256i most8 = _mm256_set1_epi32(static_cast<int>(most));
  const __m256i least8 = _mm256_set1_epi32(static_cast<int>(least));
  const __m256i top = _mm256_max_epu32(_mm256_max_epu32(low, high), most8);
  const __m256i bottom =
      _mm256_min_epu32(_mm256_min_epu32(_mm256_sub_epi32(low, one), _mm256_sub_epi32(high, one)), least8);
  values[j] = now;
  *largest = _mm256_movemask_epi8(_mm256_cmpeq_epi32(top, most8)) == -1;
  *smallest = _mm256_movemask_epi8(_mm256_cmpeq_epi32(bottom, least8)) == -1;
#else
  std::uint32_t above = 0, below = 0;
  for (int k = 0; k < kTreeFanout; ++k) {
    above |= values[k] > most ? 1u : 0u;
    below |= values[k] - 1 < least ? 1u : 0u;
  }
  values[j] = now;
  *largest = above == 0;
  *smallest = below == 0;
#endif
  return old;
}

// Groups whose extreme [which] may have changed: n[which] of them.
struct Edges {
  std::int64_t groups[2][kMaxEdges];
  int n[2];
};

// Brings the nodes' extremes up to date with the leaves of these groups, level by level: what decides whether the next
// level changes is hard to predict, so nothing branches on it.
METARL_HD void refresh_extremes(TreeView* tree, Edges* edges) {
  for (int which = 0; which < 2; ++which) {
    std::int64_t* children = edges->groups[which];
    int n = edges->n[which];
    edges->n[which] = 0;
    for (int k = 0; k < n; ++k) prefetch(tree->levels[0][children[k] >> 4].extreme[which]);
    for (int level = 0; level < tree->num_levels && n > 0; ++level) {
      int next = 0;
      for (int k = 0; k < n; ++k) {
        const std::int64_t child = children[k];
        const std::uint32_t now = level == 0 ? group_extreme(which, tree->leaves + child * kTreeFanout)
                                             : node_extreme(tree->levels[level - 1][child].extreme[which]);
        bool largest, smallest;
        replace(tree->levels[level][child >> 4].extreme[which], static_cast<int>(child & 15), now, &largest, &smallest);
        children[next] = child >> 4;
        next += largest ? 1 : 0;
      }
      n = next;
    }
    if (n > 0) tree->root_extreme[which] = node_extreme(tree->levels[tree->num_levels - 1]->extreme[which]);
  }
}

// Adds what accumulated below each child of the nodes of `level` to these nodes and to those above. The sums of the
// nodes take the place of those of the children.
METARL_HD void add_sums(TreeView* tree, int level, std::int64_t children, std::uint64_t* sums) {
  for (; level < tree->num_levels; ++level) {
    const std::int64_t nodes = (children + kTreeFanout - 1) / kTreeFanout;
    for (std::int64_t c = children; c < nodes * kTreeFanout; ++c) sums[c] = 0;
    for (std::int64_t m = 0; m < nodes; ++m) {
      std::uint64_t* before = tree->levels[level][m].before;
      const std::uint64_t* changes = sums + m * kTreeFanout;
#if defined(__AVX512F__)
      const __m512i low = _mm512_loadu_si512(changes);
      const __m512i high = _mm512_loadu_si512(changes + 8);
      __m512i low_sums = low, high_sums = high;
      prefix_sums(&low_sums, &high_sums);
      const __m512i low_before = _mm512_load_si512(before);
      const __m512i high_before = _mm512_load_si512(before + 8);
      _mm512_store_si512(before, _mm512_add_epi64(low_before, _mm512_sub_epi64(low_sums, low)));
      _mm512_store_si512(before + 8, _mm512_add_epi64(high_before, _mm512_sub_epi64(high_sums, high)));
      _mm512_mask_compressstoreu_epi64(sums + m, 0x80, high_sums);
    }
#else
      std::uint64_t sum = 0;
      for (int j = 0; j < kTreeFanout; ++j) {
        before[j] += sum;
        sum += changes[j];
      }
      sums[m] = sum;
    }
#endif
    children = nodes;
  }
  tree->total += sums[0];
}

}  // namespace

void tree_set(TreeView* tree, const std::int64_t* indices, const std::uint32_t* masses, std::int64_t n) {
  // Levels with few nodes for this many updates: the changes are added up per child, and each node is changed once.
  std::int64_t children = tree->num_groups;
  int direct = 0;
  while (direct < tree->num_levels && children > (4 * n < kMaxSums ? 4 * n : kMaxSums)) {
    children = (children + kTreeFanout - 1) / kTreeFanout;
    ++direct;
  }
  std::uint64_t sums[kMaxSums + kTreeFanout];
  for (std::int64_t c = 0; c < children; ++c) sums[c] = 0;
  Edges edges;
  edges.n[0] = edges.n[1] = 0;
  for (std::int64_t i = 0; i < n && i < kUpdateAhead; ++i) prefetch_leaf(tree, indices[i]);
  for (std::int64_t i = 0; i < n; ++i) {
    if (i + kUpdateAhead < n) prefetch_leaf(tree, indices[i + kUpdateAhead]);
    const std::int64_t group = indices[i] >> 4;
    bool largest, smallest;
    const std::uint32_t old =
        replace(tree->leaves + group * kTreeFanout, static_cast<int>(indices[i] & 15), masses[i], &largest, &smallest);
    const std::uint64_t delta = std::uint64_t{masses[i]} - std::uint64_t{old};
    std::int64_t child = group;
    for (int level = 0; level < direct; ++level) {
      add_after(&tree->levels[level][child >> 4], static_cast<int>(child & 15), delta);
      child >>= 4;
    }
    sums[child] += delta;
    edges.groups[0][edges.n[0]] = group;
    edges.groups[1][edges.n[1]] = group;
    edges.n[0] += largest ? 1 : 0;
    edges.n[1] += smallest ? 1 : 0;
    if (edges.n[0] == kMaxEdges || edges.n[1] == kMaxEdges) refresh_extremes(tree, &edges);
  }
  refresh_extremes(tree, &edges);
  add_sums(tree, direct, children, sums);
}

void tree_fill(TreeView* tree, std::int64_t begin, std::int64_t end, std::uint32_t mass) {
  if (end - begin == 1) {
    tree_set(tree, &begin, &mass, 1);
    return;
  }
  while (begin < end) {
    const std::int64_t group = begin >> 4;
    const std::int64_t group_end = (group + 1) * kTreeFanout;
    const std::int64_t stop = end < group_end ? end : group_end;
    std::uint64_t delta = 0;
    for (std::int64_t i = begin; i < stop; ++i) {
      delta += std::uint64_t{mass} - std::uint64_t{tree->leaves[i]};
      tree->leaves[i] = mass;
    }
    if (delta != 0) add_to_ancestors(tree, group, delta);
    // Even with an unchanged sum the extremes may differ.
    for (int which = 0; which < 2; ++which) {
      climb_extreme(tree, which, group, tree->levels[0][group >> 4].extreme[which][group & 15],
                    group_extreme(which, tree->leaves + group * kTreeFanout));
    }
    begin = stop;
  }
}

void tree_rebuild(TreeView* tree, std::uint64_t* sums) {
  for (std::int64_t g = 0; g < tree->num_groups; ++g) {
    const std::uint32_t* leaves = tree->leaves + g * kTreeFanout;
    std::uint64_t sum = 0;
    for (int j = 0; j < kTreeFanout; ++j) sum += leaves[j];
    sums[g] = sum;
    for (int which = 0; which < 2; ++which) {
      tree->levels[0][g >> 4].extreme[which][g & 15] = group_extreme(which, leaves);
    }
  }
  std::int64_t children = tree->num_groups;
  for (int level = 0; level < tree->num_levels; ++level) {
    const std::int64_t nodes = (children + kTreeFanout - 1) / kTreeFanout;
    for (std::int64_t m = 0; m < nodes; ++m) {
      TreeNode* node = &tree->levels[level][m];
      std::uint64_t sum = 0;
      for (int j = 0; j < kTreeFanout; ++j) {
        node->before[j] = sum;
        const std::int64_t child = m * kTreeFanout + j;
        if (child < children) sum += sums[child];
      }
      sums[m] = sum;  // the sums read so far are behind m * 16 >= m
      for (int which = 0; which < 2; ++which) {
        const std::uint32_t extreme = node_extreme(node->extreme[which]);
        if (level + 1 < tree->num_levels) {
          tree->levels[level + 1][m >> 4].extreme[which][m & 15] = extreme;
        } else {
          tree->root_extreme[which] = extreme;
        }
      }
    }
    children = nodes;
  }
  tree->total = sums[0];
}

void tree_shift_leaves(TreeView* tree, int shift) {
  const std::int64_t n = tree->num_groups * kTreeFanout;
  if (shift > 0) {
    for (std::int64_t i = 0; i < n; ++i) tree->leaves[i] <<= shift;
  } else {
    for (std::int64_t i = 0; i < n; ++i) tree->leaves[i] = shift_mass_down(tree->leaves[i], -shift);
  }
}

}  // namespace metarl::METARL_ISA_NS
