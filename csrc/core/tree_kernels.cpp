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
// Most sums of changes, and most old masses, kept at once.
constexpr std::int64_t kMaxSums = 4096;
constexpr std::int64_t kMaxOlds = 256;

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

// `removed` holders of block b's key are gone, and `added` leaves have `key` now.
METARL_HD void exchange(TreeExtreme* extreme, std::int64_t b, std::uint32_t removed, std::uint32_t key,
                        std::uint32_t added) {
  std::uint32_t largest = extreme->keys[b];
  std::uint32_t holders = extreme->holders[b] - removed;
  // Where many leaves are equal, what is the case is not predictable: no branches.
  holders = (key > largest ? 0 : holders) + (key >= largest ? added : 0);
  largest = key > largest ? key : largest;
  extreme->keys[b] = largest;
  extreme->holders[b] = holders;
  if (largest >= extreme->top) {
    extreme->top = largest;
    extreme->loose = holders == 0 && largest != 0;
  }
}

METARL_HD void note_change(TreeView* tree, std::int64_t index, std::uint32_t old, std::uint32_t now) {
  const std::int64_t b = index >> kTreeBlockBits;
  for (int which = 0; which < 2; ++which) {
    TreeExtreme* extreme = &tree->extremes[which];
    exchange(extreme, b, extreme_key(which, old) == extreme->keys[b] ? 1 : 0, extreme_key(which, now), 1);
  }
}

// n leaves changed, one after the other. Seldom is an old or new key as large as that of its block; the others say
// nothing. Keys of blocks only grow here, so comparing many changes with them at once finds all that matter.
METARL_HD void note_changes(TreeView* tree, const std::int64_t* indices, const std::uint32_t* olds,
                            const std::uint32_t* masses, std::int64_t n) {
  const std::uint32_t* largest = tree->extremes[0].keys;
  const std::uint32_t* smallest = tree->extremes[1].keys;
#if defined(__AVX512F__)
  const __m512i zero = _mm512_setzero_si512();
  for (std::int64_t i = 0; i < n; i += 16) {
    const auto lanes = static_cast<__mmask16>(n - i >= 16 ? 0xFFFF : (1 << (n - i)) - 1);
    const __m512i low = _mm512_maskz_loadu_epi64(static_cast<__mmask8>(lanes), indices + i);
    const __m512i high = _mm512_maskz_loadu_epi64(static_cast<__mmask8>(lanes >> 8), indices + i + 8);
    const __m512i b =
        _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi64_epi32(_mm512_srli_epi64(low, kTreeBlockBits))),
                           _mm512_cvtepi64_epi32(_mm512_srli_epi64(high, kTreeBlockBits)), 1);
    const __m512i old = _mm512_maskz_loadu_epi32(lanes, olds + i);
    const __m512i now = _mm512_maskz_loadu_epi32(lanes, masses + i);
    const __m512i most = _mm512_max_epu32(old, now);
    const __m512i least = _mm512_max_epu32(_mm512_sub_epi32(zero, old), _mm512_sub_epi32(zero, now));
    unsigned noted =
        _mm512_mask_cmpge_epu32_mask(lanes, most, _mm512_mask_i32gather_epi32(zero, lanes, b, largest, 4)) |
        _mm512_mask_cmpge_epu32_mask(lanes, least, _mm512_mask_i32gather_epi32(zero, lanes, b, smallest, 4));
    for (; noted != 0; noted &= noted - 1) {
      const int j = __builtin_ctz(noted);
      note_change(tree, indices[i + j], olds[i + j], masses[i + j]);
    }
  }
#else
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t b = indices[i] >> kTreeBlockBits;
    const std::uint32_t most = olds[i] > masses[i] ? olds[i] : masses[i];
    const std::uint32_t least = 0u - olds[i] > 0u - masses[i] ? 0u - olds[i] : 0u - masses[i];
    if ((most >= largest[b]) | (least >= smallest[b])) note_change(tree, indices[i], olds[i], masses[i]);
  }
#endif
}

METARL_HD void look_through(TreeView* tree, int which, std::int64_t b) {
  const std::int64_t begin = b * kTreeBlockLeaves;
  const std::int64_t rest = tree->num_groups * kTreeFanout - begin;
  const std::int64_t n = rest < kTreeBlockLeaves ? rest : kTreeBlockLeaves;
  const std::uint32_t* leaves = tree->leaves + begin;
  std::uint32_t largest = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint32_t key = extreme_key(which, leaves[i]);
    largest = key > largest ? key : largest;
  }
  const std::uint32_t mass = extreme_key(which, largest);
  std::uint32_t holders = 0;
  for (std::int64_t i = 0; i < n; ++i) holders += leaves[i] == mass ? 1 : 0;
  tree->extremes[which].keys[b] = largest;
  tree->extremes[which].holders[b] = largest != 0 ? holders : 0;
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

void tree_set(TreeView* tree, const std::int64_t* indices, const std::uint32_t* masses, std::int64_t n,
              std::int64_t fetched) {
  // Levels with few nodes for this many updates: the changes are added up per child, and each node is changed once.
  std::int64_t children = tree->num_groups;
  int direct = 0;
  while (direct < tree->num_levels && children > (4 * n < kMaxSums ? 4 * n : kMaxSums)) {
    children = (children + kTreeFanout - 1) / kTreeFanout;
    ++direct;
  }
  std::uint64_t sums[kMaxSums + kTreeFanout];
  for (std::int64_t c = 0; c < children; ++c) sums[c] = 0;
  std::uint32_t olds[kMaxOlds];
  for (; fetched < n && fetched < kUpdateAhead; ++fetched) prefetch_leaf(tree, indices[fetched]);
  for (std::int64_t first = 0; first < n; first += kMaxOlds) {
    const std::int64_t end = n - first < kMaxOlds ? n : first + kMaxOlds;
    for (std::int64_t i = first; i < end; ++i) {
      if (i + kUpdateAhead >= fetched && i + kUpdateAhead < n) prefetch_leaf(tree, indices[i + kUpdateAhead]);
      const std::uint32_t old = tree->leaves[indices[i]];
      tree->leaves[indices[i]] = masses[i];
      olds[i - first] = old;
      const std::uint64_t delta = std::uint64_t{masses[i]} - std::uint64_t{old};
      std::int64_t child = indices[i] >> 4;
      for (int level = 0; level < direct; ++level) {
        add_after(&tree->levels[level][child >> 4], static_cast<int>(child & 15), delta);
        child >>= 4;
      }
      sums[child] += delta;
    }
    note_changes(tree, indices + first, olds, masses + first, end - first);
  }
  add_sums(tree, direct, children, sums);
}

void tree_fill(TreeView* tree, std::int64_t begin, std::int64_t end, std::uint32_t mass) {
  if (end - begin == 1) {
    tree_set(tree, &begin, &mass, 1, 0);
    return;
  }
  while (begin < end) {
    const std::int64_t group = begin >> 4;
    const std::int64_t group_end = (group + 1) * kTreeFanout;
    const std::int64_t stop = end < group_end ? end : group_end;
    const std::int64_t b = begin >> kTreeBlockBits;
    std::uint64_t delta = 0;
    std::uint32_t removed[2] = {0, 0};
    for (std::int64_t i = begin; i < stop; ++i) {
      const std::uint32_t old = tree->leaves[i];
      delta += std::uint64_t{mass} - std::uint64_t{old};
      for (int which = 0; which < 2; ++which) {
        removed[which] += extreme_key(which, old) == tree->extremes[which].keys[b] ? 1 : 0;
      }
      tree->leaves[i] = mass;
    }
    if (delta != 0) add_to_ancestors(tree, group, delta);
    for (int which = 0; which < 2; ++which) {
      exchange(&tree->extremes[which], b, removed[which], extreme_key(which, mass),
               static_cast<std::uint32_t>(stop - begin));
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
    }
    children = nodes;
  }
  tree->total = sums[0];
  for (int which = 0; which < 2; ++which) {
    TreeExtreme* extreme = &tree->extremes[which];
    extreme->top = 0;
    extreme->loose = false;
    for (std::int64_t b = 0; b < tree_blocks(tree->num_groups); ++b) {
      look_through(tree, which, b);
      extreme->top = extreme->keys[b] > extreme->top ? extreme->keys[b] : extreme->top;
    }
  }
}

void tree_settle(TreeView* tree, int which) {
  TreeExtreme* extreme = &tree->extremes[which];
  const std::int64_t n = tree_blocks(tree->num_groups);
  std::uint32_t top = 0;
  std::uint32_t bound = 0;
  for (std::int64_t b = 0; b < n; ++b) {
    const std::uint32_t key = extreme->keys[b];
    const std::uint32_t held = extreme->holders[b] != 0 ? key : 0;
    top = held > top ? held : top;
    bound = key > bound ? key : bound;
  }
  constexpr int kTogether = 16;
  for (std::int64_t b = 0; bound > top && b < n;) {
    if (b + kTogether <= n) {
      std::uint32_t most = 0;
      for (int j = 0; j < kTogether; ++j) most = extreme->keys[b + j] > most ? extreme->keys[b + j] : most;
      if (most <= top) {
        b += kTogether;
        continue;
      }
    }
    if (extreme->keys[b] > top) {
      look_through(tree, which, b);
      top = extreme->keys[b] > top ? extreme->keys[b] : top;
    }
    ++b;
  }
  extreme->top = top;
  extreme->loose = false;
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
