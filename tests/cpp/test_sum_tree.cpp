#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
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
void check_against_scan(SumTree& tree) {
  const std::uint32_t* leaves = tree.leaves();
  std::uint64_t sum = 0;
  std::uint32_t smallest = 0;
  std::uint32_t largest = 0;
  std::vector<double> at;
  std::vector<std::int64_t> expected;
  const double unit = std::ldexp(1.0, -tree.state().scale_exponent);
  for (std::int64_t i = 0; i < tree.capacity(); ++i) {
    if (leaves[i] == 0) continue;
    smallest = smallest == 0 ? leaves[i] : std::min(smallest, leaves[i]);
    largest = std::max(largest, leaves[i]);
    at.push_back(static_cast<double>(sum) * unit);
    at.push_back(static_cast<double>(sum + leaves[i] - 1) * unit);
    expected.insert(expected.end(), {i, i});
    sum += leaves[i];
  }
  CHECK(tree.total_mass() == sum);
  CHECK(tree.min_mass() == smallest);
  CHECK(tree.max() == std::min(largest * unit, std::numeric_limits<double>::max()));
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
  decltype(&metarl::baseline::tree_settle) settle;
  decltype(&metarl::baseline::tree_draws) draws;
  decltype(&metarl::baseline::tree_descend) descend;
};

#define METARL_TEST_KERNELS(level)                                                                                    \
  Kernels {                                                                                                           \
    &metarl::level::quantize, &metarl::level::tree_set, &metarl::level::tree_fill, &metarl::level::tree_shift_leaves, \
        &metarl::level::tree_rebuild, &metarl::level::tree_settle, &metarl::level::tree_draws,                        \
        &metarl::level::tree_descend                                                                                  \
  }

std::vector<Kernels> all_levels() {
  std::vector<Kernels> levels{METARL_TEST_KERNELS(baseline)};
#if defined(METARL_HAVE_X86_LEVELS)
  if (metarl::active_isa() >= metarl::Isa::avx2) levels.push_back(METARL_TEST_KERNELS(avx2));
  if (metarl::active_isa() >= metarl::Isa::avx512) levels.push_back(METARL_TEST_KERNELS(avx512));
#endif
  return levels;
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
    of_blocks.resize(static_cast<std::size_t>(4 * blocks()));
    std::uint32_t* next = of_blocks.data();
    for (metarl::TreeExtreme& extreme : view.extremes) {
      extreme = {next, next + blocks(), 0, false};
      next += 2 * blocks();
    }
  }
  std::int64_t blocks() const { return metarl::tree_blocks(view.num_groups); }
  // Leaves, nodes and total.
  std::vector<std::uint64_t> content() const {
    std::vector<std::uint64_t> all(leaves.as<std::uint32_t>(), leaves.as<std::uint32_t>() + leaves.size() / 4);
    for (const auto& level : levels) {
      all.insert(all.end(), level.as<std::uint32_t>(), level.as<std::uint32_t>() + level.size() / 4);
    }
    all.push_back(view.total);
    return all;
  }
  // What is known of the extremes.
  std::vector<std::uint64_t> bounds() const {
    std::vector<std::uint64_t> all(of_blocks.begin(), of_blocks.end());
    for (const auto& extreme : view.extremes) all.insert(all.end(), {extreme.top, extreme.loose ? 1u : 0u});
    return all;
  }
  std::uint32_t top(const Kernels& kernels, int which) {
    if (view.extremes[which].loose) kernels.settle(&view, which);
    return view.extremes[which].top;
  }
  metarl::TreeView view{};
  metarl::AlignedMemory leaves;
  std::vector<metarl::AlignedMemory> levels;
  std::vector<std::uint32_t> of_blocks;
};

// Both extremes agree with a scan, and so does what is kept of each block.
void check_extremes(BareTree& tree, const Kernels& kernels) {
  const std::int64_t n = tree.view.num_groups * metarl::kTreeFanout;
  const std::int64_t block = metarl::kTreeBlockLeaves;
  for (int which = 0; which < 2; ++which) {
    const metarl::TreeExtreme& extreme = tree.view.extremes[which];
    const auto key = [&](std::int64_t i) { return which == 0 ? tree.view.leaves[i] : 0u - tree.view.leaves[i]; };
    std::uint32_t top = 0;
    for (std::int64_t b = 0; b < tree.blocks(); ++b) {
      std::uint32_t largest = 0, holders = 0;
      for (std::int64_t i = b * block; i < std::min(n, (b + 1) * block); ++i) {
        largest = std::max(largest, key(i));
        holders += key(i) == extreme.keys[b] && key(i) != 0 ? 1 : 0;
      }
      CHECK(largest <= extreme.keys[b] && extreme.keys[b] <= extreme.top);
      CHECK(holders == extreme.holders[b]);
      top = std::max(top, largest);
    }
    CHECK(tree.top(kernels, which) == top);
  }
}

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
    const std::vector<std::uint64_t> bounds = bare.bounds();
    written.insert(written.end(), bounds.begin(), bounds.end());
    for (int which = 0; which < 2; ++which) written.push_back(bare.top(kernels, which));
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
    kernels.set(&tree, indices.data(), masses.data(), n, 0);
    const std::int64_t begin = below(capacity);
    kernels.fill(&tree, begin, begin + 1 + below(capacity - begin), static_cast<std::uint32_t>(random() >> 40));
    keep_tree();
    kernels.shift_leaves(&tree, round % 2 == 0 ? -3 : 1);
    kernels.rebuild(&tree, sums.data());
    keep_tree();
    for (const bool stratified : {false, true}) {
      std::vector<std::uint64_t> at(indices.size());
      kernels.draws(12345678901234567ull, 1ull << 33, 1, tree.total, n, stratified, 0, n, at.data());
      std::vector<std::uint64_t> in_parts(at.size());
      for (std::int64_t begin = 0; begin < n; begin += 96) {
        kernels.draws(12345678901234567ull, 1ull << 33, 1, tree.total, n, stratified, begin, std::min(n, begin + 96),
                      in_parts.data());
      }
      CHECK(in_parts == at);
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
    for (const Kernels& kernels : all_levels()) CHECK(exercise(kernels, capacity) == expected);
  }
}

TEST(updated_nodes_equal_rebuilt_ones) {
  std::mt19937_64 random(3);
  for (const Kernels& kernels : all_levels()) {
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
          kernels.set(&tree.view, indices.data(), masses.data(), n, 0);
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

TEST(extremes_agree_with_a_scan_whatever_changes) {
  for (const Kernels& kernels : all_levels()) {
    for (const std::int64_t capacity : {1, 15, 16, 17, 255, 256, 257, 1023, 1024, 1025, 4095, 4096, 4097, 100000}) {
      std::mt19937_64 random(static_cast<std::uint64_t>(capacity));
      const auto below = [&random](std::int64_t n) {
        return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n));
      };
      BareTree tree(capacity);
      check_extremes(tree, kernels);
      std::vector<std::uint64_t> sums(static_cast<std::size_t>(tree.view.num_groups));
      const int rounds = capacity > 10000 ? 120 : 400;
      for (int round = 0; round < rounds; ++round) {
        std::vector<std::int64_t> indices(static_cast<std::size_t>(1 + below(round % 3 == 0 ? 700 : 40)));
        std::vector<std::uint32_t> masses(indices.size());
        const auto n = static_cast<std::int64_t>(indices.size());
        const std::int64_t range = round % 4 == 0 ? std::min<std::int64_t>(capacity, 7) : capacity;
        for (auto& i : indices) i = below(range);
        switch (below(9)) {
          case 0:  // any mass
            for (auto& m : masses) m = static_cast<std::uint32_t>(random() >> (32 + below(32)));
            break;
          case 1:  // ties at both ends, and zeros
            for (auto& m : masses) m = static_cast<std::uint32_t>(below(4)) * 0x55555555u;
            break;
          case 2:
            std::fill(masses.begin(), masses.end(), static_cast<std::uint32_t>(below(3)));
            break;
          case 3:  // what is on top moves away, twice in a row
          case 4: {
            const std::uint32_t away = round % 2 == 0 ? tree.top(kernels, 0) : 0u - tree.top(kernels, 1);
            for (int again = 0; again < 2; ++again) {
              const auto* found = std::find(tree.view.leaves, tree.view.leaves + capacity, away);
              if (found == tree.view.leaves + capacity) break;
              indices.assign(1, found - tree.view.leaves);
              masses.assign(1, round % 2 == 0 ? away / 2 : away + away / 4 + 1);
              kernels.set(&tree.view, indices.data(), masses.data(), 1, 0);
            }
            break;
          }
          case 5:
          case 6: {
            const std::int64_t begin = below(capacity);
            kernels.fill(&tree.view, begin, begin + 1 + below(capacity - begin),
                         static_cast<std::uint32_t>(below(1000)));
            check_extremes(tree, kernels);
            continue;
          }
          case 7:
            kernels.shift_leaves(&tree.view, round % 2 == 0 ? -1 : -4);
            kernels.rebuild(&tree.view, sums.data());
            check_extremes(tree, kernels);
            continue;
          default:  // one after the other, nobody asking in between
            for (std::int64_t i = 0; i < n; ++i) {
              const auto mass = static_cast<std::uint32_t>(below(50));
              kernels.set(&tree.view, &indices[static_cast<std::size_t>(i)], &mass, 1, 0);
            }
            check_extremes(tree, kernels);
            continue;
        }
        kernels.set(&tree.view, indices.data(), masses.data(), static_cast<std::int64_t>(indices.size()),
                    below(2) * 30);
        if (round % 3 != 1) check_extremes(tree, kernels);
      }
      check_extremes(tree, kernels);
    }
  }
}

// Through the class: changes of scale, cleared, hidden and restored leaves too.
TEST(smallest_and_largest_priority_agree_with_a_scan) {
  std::uint64_t rescales = 0;
  for (const std::int64_t capacity : {1, 15, 16, 17, 255, 256, 257, 4095, 4096, 4097, 100000}) {
    std::mt19937_64 random(static_cast<std::uint64_t>(capacity));
    const auto below = [&random](std::int64_t n) {
      return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n));
    };
    SumTree tree(capacity, 0);
    const auto check = [&random](SumTree& one) {
      const std::vector<std::uint32_t> leaves(one.leaves(), one.leaves() + one.capacity());
      std::uint32_t smallest = 0, largest = 0;
      for (const std::uint32_t mass : leaves) {
        if (mass != 0) smallest = smallest == 0 ? mass : std::min(smallest, mass);
        largest = std::max(largest, mass);
      }
      // Whichever is asked for first.
      if (random() % 2 == 0) CHECK(one.min_mass() == smallest);
      CHECK(one.max() == std::min(largest * one.unit(), std::numeric_limits<double>::max()));
      CHECK(one.min_mass() == smallest);
    };
    for (int round = 0; round < (capacity > 10000 ? 60 : 300); ++round) {
      std::vector<std::int64_t> indices(static_cast<std::size_t>(1 + below(300)));
      const auto n = static_cast<std::int64_t>(indices.size());
      for (auto& i : indices) i = below(capacity);
      const double scale = std::ldexp(1.0, static_cast<int>(below(60)) - 30);
      switch (below(8)) {
        case 0:
          tree.invalidate(indices.data(), n);
          break;
        case 1:
          if (below(10) == 0) tree.clear();
          break;
        case 2: {
          const std::int64_t begin = below(capacity);
          tree.fill(begin, begin + 1 + below(capacity - begin), below(3) == 0 ? 0.0 : scale);
          break;
        }
        case 3:
          tree.fill_at(indices.data(), n, scale);
          break;
        case 4: {
          SumTree copy(capacity, 0);
          copy.restore(tree.state(), tree.leaves(), capacity, tree.valid().words());
          check(copy);
          copy.set(indices.data(), std::vector<double>(indices.size(), scale).data(), n);
          check(copy);
          break;
        }
        default: {
          std::vector<double> priorities(indices.size());
          for (auto& p : priorities)
            p = below(5) == 0 ? 0.0 : static_cast<double>(below(20)) * (round % 2 == 0 ? scale : 1.0);
          tree.set(indices.data(), priorities.data(), n);
        }
      }
      if (below(3) != 0) check(tree);
    }
    check(tree);
    rescales += tree.rescales();
  }
  CHECK(rescales > 200);
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
