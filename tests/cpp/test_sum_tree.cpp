#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

#include "check.h"
#include "core/tree_kernels.h"
#include "metarl/detail/fixed_point.h"
#include "metarl/errors.h"
#include "metarl/sum_tree.h"

using metarl::SamplingMode;
using metarl::SumTree;

namespace {

std::vector<std::int64_t> range(std::int64_t n) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(n));
  std::iota(all.begin(), all.end(), std::int64_t{0});
  return all;
}

// Total, extremes and every boundary between leaves agree with a plain scan.
void check_against_scan(const SumTree& tree) {
  const std::uint32_t* leaves = tree.leaves();
  std::uint64_t sum = 0;
  std::uint32_t smallest = 0;
  std::vector<double> at;
  std::vector<std::int64_t> expected;
  const double unit = std::ldexp(1.0, -tree.state().scale_exponent);
  for (std::int64_t i = 0; i < tree.capacity(); ++i) {
    if (leaves[i] == 0) continue;
    smallest = smallest == 0 ? leaves[i] : std::min(smallest, leaves[i]);
    at.push_back(static_cast<double>(sum) * unit);
    at.push_back(static_cast<double>(sum + leaves[i] - 1) * unit);
    expected.insert(expected.end(), {i, i});
    sum += leaves[i];
  }
  CHECK(tree.total_mass() == sum);
  CHECK(tree.min_mass() == smallest);
  std::vector<std::int64_t> found(at.size());
  if (!at.empty()) tree.find(at.data(), static_cast<std::int64_t>(at.size()), found.data());
  CHECK(found == expected);
}

// The kernels of one instruction-set level.
struct Kernels {
  decltype(&metarl::baseline::quantize) quantize;
  decltype(&metarl::baseline::tree_set) set;
  decltype(&metarl::baseline::tree_fill) fill;
  decltype(&metarl::baseline::tree_shift_leaves) shift_leaves;
  decltype(&metarl::baseline::tree_rebuild) rebuild;
  decltype(&metarl::baseline::tree_draws) draws;
  decltype(&metarl::baseline::tree_descend) descend;
};

#define METARL_TEST_KERNELS(level)                                                                                    \
  Kernels {                                                                                                           \
    &metarl::level::quantize, &metarl::level::tree_set, &metarl::level::tree_fill, &metarl::level::tree_shift_leaves, \
        &metarl::level::tree_rebuild, &metarl::level::tree_draws, &metarl::level::tree_descend                        \
  }

// A tree for kernels, without the class around it.
struct BareTree {
  explicit BareTree(std::int64_t capacity) {
    view.num_groups = (capacity - 1) / metarl::kTreeFanout + 1;
    leaves = metarl::AlignedMemory(static_cast<std::size_t>(view.num_groups * metarl::kTreeFanout) * 4);
    view.leaves = leaves.as<std::uint32_t>();
    std::int64_t children = view.num_groups;
    do {
      children = (children + metarl::kTreeFanout - 1) / metarl::kTreeFanout;
      levels.emplace_back(static_cast<std::size_t>(children) * sizeof(metarl::TreeNode));
      view.levels[view.num_levels++] = levels.back().as<metarl::TreeNode>();
    } while (children > 1);
  }
  // Leaves, nodes, total and extremes.
  std::vector<std::uint64_t> content() const {
    std::vector<std::uint64_t> all(leaves.as<std::uint32_t>(), leaves.as<std::uint32_t>() + leaves.size() / 4);
    for (const auto& level : levels) {
      all.insert(all.end(), level.as<std::uint32_t>(), level.as<std::uint32_t>() + level.size() / 4);
    }
    all.insert(all.end(), {view.total, view.root_extreme[0], view.root_extreme[1]});
    return all;
  }
  metarl::TreeView view{};
  metarl::AlignedMemory leaves;
  std::vector<metarl::AlignedMemory> levels;
};

// Runs every kernel on a tree of its own and returns all that they wrote.
std::vector<std::uint64_t> exercise(const Kernels& kernels, std::int64_t capacity) {
  BareTree bare(capacity);
  metarl::TreeView& tree = bare.view;
  std::vector<std::uint64_t> written;
  const auto keep = [&written](const auto* data, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) written.push_back(static_cast<std::uint64_t>(data[i]));
  };
  const auto keep_tree = [&] {
    const std::vector<std::uint64_t> content = bare.content();
    written.insert(written.end(), content.begin(), content.end());
  };
  std::mt19937_64 random(static_cast<std::uint64_t>(capacity));
  const auto below = [&random](std::int64_t n) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n));
  };
  std::vector<std::uint64_t> sums(static_cast<std::size_t>(tree.num_groups));
  for (int round = 0; round < 6; ++round) {
    const std::int64_t n = 1 + below(700);
    std::vector<std::int64_t> indices(static_cast<std::size_t>(n));
    std::vector<double> priorities(indices.size());
    std::vector<std::uint32_t> masses(indices.size());
    for (auto& i : indices) i = below(capacity);
    // Up to 2^31 in one round: groups of leaves whose sums need more than 32 bits.
    const int exponent = round == 2 ? -34 : -40 - round;
    for (auto& p : priorities) p = random() % 5 == 0 ? 0.0 : std::ldexp(static_cast<double>(random()), exponent);
    kernels.quantize(priorities.data(), n, 2.0, masses.data());
    keep(masses.data(), masses.size());
    kernels.set(&tree, indices.data(), masses.data(), n);
    const std::int64_t begin = below(capacity);
    kernels.fill(&tree, begin, begin + 1 + below(capacity - begin), static_cast<std::uint32_t>(random() >> 40));
    keep_tree();
    kernels.shift_leaves(&tree, round % 2 == 0 ? -3 : 1);
    kernels.rebuild(&tree, sums.data());
    keep_tree();
    for (const bool stratified : {false, true}) {
      std::vector<std::uint64_t> at(indices.size());
      kernels.draws(12345678901234567ull, 1ull << 33, 1, tree.total, n, stratified, at.data());
      keep(at.data(), at.size());
      CHECK(*std::max_element(at.begin(), at.end()) < tree.total);
      kernels.descend(&tree, at.data(), n, indices.data(), masses.data());
      keep(indices.data(), indices.size());
      keep(masses.data(), masses.size());
    }
  }
  return written;
}

}  // namespace

TEST(random_updates_agree_with_a_scan_at_awkward_sizes) {
  std::mt19937_64 random(1);
  for (const std::int64_t capacity : {1, 2, 15, 16, 17, 255, 256, 257, 4095, 4096, 4097, 5000}) {
    SumTree tree(capacity, 0);
    for (int round = 0; round < 20; ++round) {
      std::vector<std::int64_t> indices(100);
      std::vector<double> priorities(100);
      for (auto& i : indices) i = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(capacity));
      for (auto& p : priorities) p = random() % 3 == 0 ? 0.0 : std::ldexp(1.0, static_cast<int>(random() % 30) - 15);
      tree.set(indices.data(), priorities.data(), 100);
      const std::int64_t begin = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(capacity));
      const std::int64_t end = std::min(capacity, begin + static_cast<std::int64_t>(random() % 70));
      tree.fill(begin, end, round % 4 == 0 ? 0.0 : 0.75);
      check_against_scan(tree);
    }
  }
}

TEST(draws_cover_the_total_and_nothing_else) {
  const std::uint64_t largest = (std::uint64_t{1} << 63) - 1;
  for (const std::uint64_t total : {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{1000}, largest}) {
    CHECK(metarl::draw_uniform(0, total) == 0);
    CHECK(metarl::draw_uniform(~std::uint64_t{0}, total) == total - 1);
    for (const int count : {1, 2, 3, 7, 256, 100000}) {
      const auto n = static_cast<std::uint64_t>(count);
      for (const std::uint64_t bits : {std::uint64_t{0}, ~std::uint64_t{0}}) {
        metarl::StratifiedDraws strata = metarl::make_stratified(total, n);
        for (std::uint64_t i = 0; i < n; ++i) {
          __extension__ using Wide = unsigned __int128;
          const Wide r = bits == 0 ? Wide{0} : Wide{total - 1};
          const auto exact = static_cast<std::uint64_t>((Wide{i} * total + r) / n);
          const bool same = metarl::next_stratified(strata, bits, total) == exact;
          if (same) continue;
          CHECK(same);  // the first one is enough
          break;
        }
      }
    }
  }
}

TEST(masses_round_to_nearest_and_stay_positive) {
  CHECK(metarl::to_mass(0.0, 1024.0) == 0);
  CHECK(metarl::to_mass(5e-324, 1.0) == 1);
  CHECK(metarl::to_mass(2.5, 1.0) == 2);
  CHECK(metarl::to_mass(3.5, 1.0) == 4);
  CHECK(metarl::to_mass(4294967040.0, 1.0) == 4294967040u);
  CHECK(metarl::shift_mass_down(0, 4) == 0);
  CHECK(metarl::shift_mass_down(1, 63) == 1);
  CHECK(metarl::shift_mass_down(24, 4) == 2);
  CHECK(metarl::shift_mass_down(0xFFFFFFFFu, 1) == 0x80000000u);
}

TEST(largest_masses_do_not_overflow) {
  const std::int64_t n = 70000;
  SumTree tree(n, 0);
  tree.fill(0, 1, 1.0);
  // As large as the scale allows before it is lowered.
  tree.fill(0, n, 4294967039.0 / std::ldexp(1.0, 27));
  CHECK(tree.total_mass() == static_cast<std::uint64_t>(n) * 4294967039u);
  check_against_scan(tree);
  tree.fill(5, 6, 1e200);
  CHECK(tree.min_mass() == 1);
  check_against_scan(tree);
}

TEST(every_level_gives_the_same_bits) {
  for (const std::int64_t capacity : {1, 16, 17, 255, 257, 3001, 70001}) {
    const std::vector<std::uint64_t> expected = exercise(METARL_TEST_KERNELS(baseline), capacity);
#if defined(METARL_HAVE_X86_LEVELS)
    if (metarl::active_isa() >= metarl::Isa::avx2) CHECK(exercise(METARL_TEST_KERNELS(avx2), capacity) == expected);
    if (metarl::active_isa() >= metarl::Isa::avx512) CHECK(exercise(METARL_TEST_KERNELS(avx512), capacity) == expected);
#endif
  }
}

TEST(updated_nodes_equal_rebuilt_ones) {
  std::vector<Kernels> levels{METARL_TEST_KERNELS(baseline)};
#if defined(METARL_HAVE_X86_LEVELS)
  if (metarl::active_isa() >= metarl::Isa::avx2) levels.push_back(METARL_TEST_KERNELS(avx2));
  if (metarl::active_isa() >= metarl::Isa::avx512) levels.push_back(METARL_TEST_KERNELS(avx512));
#endif
  std::mt19937_64 random(3);
  for (const Kernels& kernels : levels) {
    for (const std::int64_t capacity : {1, 17, 300, 5000, 70001, 300000}) {
      BareTree tree(capacity);
      std::vector<std::uint64_t> sums(static_cast<std::size_t>(tree.view.num_groups));
      // From single updates, with every sum brought to the root, to batches that collect sums over several levels.
      for (const std::int64_t n : {1, 2, 5, 33, 300, 1100, 20000}) {
        for (const bool crowded : {false, true}) {
          std::vector<std::int64_t> indices(static_cast<std::size_t>(n));
          std::vector<std::uint32_t> masses(indices.size());
          const auto range = static_cast<std::uint64_t>(crowded ? std::min<std::int64_t>(capacity, 40) : capacity);
          for (auto& i : indices) i = static_cast<std::int64_t>(random() % range);
          for (auto& m : masses)
            m = random() % 4 == 0 ? 0u : static_cast<std::uint32_t>(random() >> (32 + random() % 32));
          std::vector<std::uint32_t> last(tree.view.leaves, tree.view.leaves + capacity);
          kernels.set(&tree.view, indices.data(), masses.data(), n);
          for (std::size_t k = 0; k < indices.size(); ++k) last[static_cast<std::size_t>(indices[k])] = masses[k];
          CHECK(std::equal(last.begin(), last.end(), tree.view.leaves));
          const std::vector<std::uint64_t> updated = tree.content();
          kernels.rebuild(&tree.view, sums.data());
          CHECK(tree.content() == updated);
        }
      }
    }
  }
}

TEST(sampling_an_empty_tree_is_an_error) {
  SumTree tree(10, 0);
  std::int64_t index = 0;
  double probability = 0;
  CHECK_THROWS(tree.sample(1, SamplingMode::stratified, &index, &probability), metarl::BufferEmptyError);
  CHECK_THROWS(SumTree(0, 0), std::invalid_argument);
  CHECK_THROWS(SumTree(std::int64_t{1} << 31, 0), metarl::OutOfMemoryError);
  tree.fill(3, 4, 0.0);
  tree.sample(1, SamplingMode::stratified, &index, &probability);
  CHECK(index == 3 && probability == 1.0);
}

TEST(invalid_leaves_are_never_drawn) {
  std::mt19937_64 random(2);
  for (const std::int64_t capacity : {1, 63, 64, 65, 511, 512, 513, 1500, 40000}) {
    SumTree tree(capacity, 3);
    std::vector<bool> model(static_cast<std::size_t>(capacity));
    std::vector<std::int64_t> drawn(500);
    std::vector<double> probabilities(500);
    for (int round = 0; round < 30; ++round) {
      std::vector<std::int64_t> slots(1 + random() % static_cast<std::uint64_t>(capacity));
      for (auto& slot : slots) slot = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(capacity));
      const bool hide = round % 3 == 2;
      const double priority = round % 5 == 0 ? 0.0 : 1.5;
      if (hide) {
        tree.invalidate(slots.data(), static_cast<std::int64_t>(slots.size()));
      } else {
        tree.fill_at(slots.data(), static_cast<std::int64_t>(slots.size()), priority);
      }
      for (const auto slot : slots) model[static_cast<std::size_t>(slot)] = !hide;
      const auto valid = std::count(model.begin(), model.end(), true);
      CHECK(tree.num_valid() == valid);
      check_against_scan(tree);
      if (valid == 0) continue;
      tree.sample(500, static_cast<SamplingMode>(round % 3), drawn.data(), probabilities.data());
      CHECK(std::all_of(drawn.begin(), drawn.end(), [&](auto i) { return model[static_cast<std::size_t>(i)]; }));
    }
    SumTree copy(capacity, 3);
    copy.restore(tree.state(), tree.leaves(), capacity, tree.valid().words());
    CHECK(copy.num_valid() == tree.num_valid() && copy.total_mass() == tree.total_mass());
    if (tree.num_valid() == 0) continue;
    std::vector<std::int64_t> again(500);
    tree.sample(500, SamplingMode::stratified, drawn.data(), probabilities.data());
    copy.sample(500, SamplingMode::stratified, again.data(), probabilities.data());
    CHECK(drawn == again);
  }
}

TEST(state_restores_the_same_tree) {
  SumTree tree(500, 11);
  const auto indices = range(500);
  std::vector<double> priorities(500);
  for (std::size_t i = 0; i < 500; ++i) priorities[i] = 1.0 / static_cast<double>(i + 1);
  tree.set(indices.data(), priorities.data(), 500);
  std::vector<std::int64_t> first(64), second(64);
  std::vector<double> probabilities(64);
  tree.sample(64, SamplingMode::stratified, first.data(), probabilities.data());
  SumTree other(500, 11);
  other.restore(tree.state(), tree.leaves(), 500);
  tree.sample(64, SamplingMode::independent, first.data(), probabilities.data());
  other.sample(64, SamplingMode::independent, second.data(), probabilities.data());
  CHECK(first == second);
  CHECK(other.total() == tree.total() && other.min() == tree.min() && other.max() == tree.max());
}

METARL_TEST_MAIN()
