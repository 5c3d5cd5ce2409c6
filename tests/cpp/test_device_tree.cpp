// The CUDA kernels of the sum tree, run by the emulator, against the CPU's tree: the same bits, in any order of threads
// and with any launch plan.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <vector>

#include "check.h"
#include "emulated_tree.h"
#include "metarl/importance_weights.h"

using metarl::SamplingMode;
using metarl::SumTree;
using metarl::WeightNormalization;
using metarl_test::check_equal;
using metarl_test::EmulatedTree;
namespace cuda = metarl::cuda;

namespace {

constexpr std::uint64_t kSeed = 0x9E3779B97F4A7C15ull;
constexpr WeightNormalization kNormalizations[] = {WeightNormalization::max, WeightNormalization::batch_max,
                                                   WeightNormalization::sum, WeightNormalization::none};
constexpr SamplingMode kModes[] = {SamplingMode::stratified, SamplingMode::independent, SamplingMode::uniform};
const double kInfinity = std::numeric_limits<double>::infinity();
const double kNan = std::numeric_limits<double>::quiet_NaN();

// One block for everything, one launch a phase, and so few threads that each takes many items.
cuda::PlanLimits one_block(int threads) {
  cuda::PlanLimits limits;
  limits.one_block_items = limits.one_block_draws = limits.one_block_tree_blocks = 1 << 30;
  limits.one_block_threads = threads;
  return limits;
}
cuda::PlanLimits launch_a_phase(int threads, std::int64_t most_blocks) {
  cuda::PlanLimits limits;
  limits.one_block_items = limits.one_block_draws = 0;
  limits.block_threads = threads;
  limits.most_blocks = most_blocks;
  return limits;
}
std::vector<cuda::PlanLimits> all_limits() {
  return {one_block(32), one_block(256), launch_a_phase(64, 1024), launch_a_phase(32, 3)};
}

// Both trees, which get the same calls.
struct Pair {
  Pair(std::int64_t capacity, std::uint64_t order, const cuda::PlanLimits& limits)
      : cpu(capacity, kSeed), emulated(capacity, kSeed, order, limits) {}

  template <typename T>
  void set(const std::vector<std::int64_t>& indices, const std::vector<T>& priorities) {
    cpu.set(indices.data(), priorities.data(), static_cast<std::int64_t>(indices.size()));
    emulated.set(indices, priorities);
  }
  void invalidate(const std::vector<std::int64_t>& indices) {
    cpu.invalidate(indices.data(), static_cast<std::int64_t>(indices.size()));
    emulated.set(indices, std::vector<float>(1), cuda::SetKind::invalidate);
  }
  void sample(std::int64_t n, SamplingMode mode, WeightNormalization normalization, double beta,
              bool beta_in_memory = false) {
    const auto count = static_cast<std::size_t>(n);
    std::vector<std::int64_t> indices(count);
    std::vector<std::uint32_t> masses(count);
    std::vector<float> weights(count);
    const bool by_mass = cpu.sample(n, mode, indices.data(), masses.data());
    metarl::mass_importance_weights(masses.data(), n, by_mass ? cpu.total_mass() : 0, cpu.min_mass(), cpu.num_valid(),
                                    beta, normalization, weights.data());
    const EmulatedTree::Batch batch = emulated.sample(n, mode, normalization, beta, beta_in_memory);
    CHECK(batch.indices == indices);
    CHECK(batch.masses == masses);
    CHECK(batch.weights == weights);
    of_cpu.add(indices);
    of_cpu.add(weights);
    of_emulated.add(batch.indices);
    of_emulated.add(batch.weights);
  }
  void find(const std::vector<double>& at) {
    std::vector<std::int64_t> expected(at.size());
    cpu.find(at.data(), static_cast<std::int64_t>(at.size()), expected.data());
    CHECK(emulated.find(at) == expected);
  }
  void check() { check_equal(cpu, emulated); }

  SumTree cpu;
  EmulatedTree emulated;
  metarl_test::Hash of_cpu, of_emulated;
};

using Random = std::mt19937_64;

std::int64_t below(Random& random, std::int64_t n) {
  return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n));
}

// Most leaves near the start, so that batches hold many duplicates.
std::vector<std::int64_t> skewed_indices(Random& random, std::int64_t capacity, std::int64_t n) {
  std::vector<std::int64_t> indices;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t part = below(random, 3) == 0 ? std::max<std::int64_t>(capacity / 16, 1) : capacity;
    indices.push_back(below(random, part));
  }
  return indices;
}

// p ~ u^-2, a tail without a mean; some are 0.
template <typename T>
std::vector<T> skewed_priorities(Random& random, std::int64_t n, double scale) {
  std::uniform_real_distribution<double> uniform(1e-3, 1.0);
  std::vector<T> priorities;
  for (std::int64_t i = 0; i < n; ++i) {
    const double u = uniform(random);
    priorities.push_back(static_cast<T>(below(random, 8) == 0 ? 0.0 : scale / (u * u)));
  }
  return priorities;
}

// Boundaries between leaves, and what lies just before the end.
std::vector<double> boundaries(const SumTree& tree) {
  std::vector<double> at{0.0, std::nextafter(tree.total(), 0.0)};
  const double unit = tree.unit();
  std::uint64_t sum = 0;
  for (std::int64_t i = 0; i < tree.capacity() && at.size() < 200; i += 1 + tree.capacity() / 100) {
    sum = 0;
    for (std::int64_t j = 0; j < i; ++j) sum += tree.leaves()[j];
    if (sum < tree.total_mass()) at.push_back(static_cast<double>(sum) * unit);
    if (sum > 0) at.push_back(static_cast<double>(sum - 1) * unit);
  }
  return at;
}

}  // namespace

TEST(equal_at_every_capacity_plan_and_order) {
  std::uint64_t order = 0;
  for (const std::int64_t capacity : {1, 2, 15, 31, 32, 33, 511, 512, 513, 1000, 1024, 1025, 8193, 32769, 70001}) {
    for (const cuda::PlanLimits& limits : all_limits()) {
      Random random(static_cast<std::uint64_t>(capacity));
      Pair pair(capacity, ++order, limits);
      for (int round = 0; round < 3; ++round) {
        const std::int64_t n = 1 + below(random, std::min<std::int64_t>(2 * capacity, 300));
        pair.set(skewed_indices(random, capacity, n), skewed_priorities<double>(random, n, 1.0));
        pair.set(skewed_indices(random, capacity, n), skewed_priorities<float>(random, n, 1.0));
        pair.check();
        if (pair.cpu.total_mass() > 0) pair.find(boundaries(pair.cpu));
        for (const SamplingMode mode : kModes) {
          const WeightNormalization normalization = kNormalizations[order++ % 4];
          pair.sample(1 + below(random, 70), mode, normalization, 0.1 * static_cast<double>(below(random, 11)));
        }
      }
      pair.check();
      CHECK(pair.emulated.state().error == 0);
    }
  }
}

TEST(weights_of_every_normalization_and_beta) {
  for (const cuda::PlanLimits& limits : all_limits()) {
    Random random(3);
    Pair pair(1000, 17, limits);
    pair.set(skewed_indices(random, 1000, 400), skewed_priorities<float>(random, 400, 3.0));
    for (const WeightNormalization normalization : kNormalizations) {
      for (const double beta : {0.0, 0.4, 1.0, 2.5}) {
        pair.sample(37, SamplingMode::stratified, normalization, beta, beta == 0.4);
      }
    }
    CHECK(pair.emulated.state().error == 0);
  }
}

TEST(the_last_of_equal_indices_wins) {
  for (std::uint64_t order = 0; order < 6; ++order) {
    for (const cuda::PlanLimits& limits : all_limits()) {
      Pair pair(40, order, limits);
      std::vector<std::int64_t> indices;
      std::vector<float> priorities;
      for (int i = 0; i < 300; ++i) {
        indices.push_back(i % 7 * 5);
        priorities.push_back(static_cast<float>(i + 1));
      }
      pair.set(indices, priorities);
      pair.set(std::vector<std::int64_t>(65, 39), std::vector<float>(65, 1.0f));
      pair.check();
    }
  }
}

TEST(the_scale_follows_up_and_down) {
  for (const cuda::PlanLimits& limits : all_limits()) {
    for (const std::int64_t capacity : {5, 1500, 5000}) {
      Random random(11);
      Pair pair(capacity, 23, limits);
      for (const double scale : {1.0, 1e-9, 1e12, 1e30, 1e-30, 1e290, 5e-324, 1e-300, 1.0}) {
        const std::int64_t n = std::min<std::int64_t>(capacity, 400);
        // Often enough that the small ones take over every leaf, and the scale may rise.
        for (std::int64_t first = 0; first < capacity; first += n) {
          std::vector<std::int64_t> indices;
          for (std::int64_t i = first; i < std::min(first + n, capacity); ++i) indices.push_back(i);
          pair.set(indices, skewed_priorities<double>(random, static_cast<std::int64_t>(indices.size()), scale));
        }
        pair.check();
        pair.sample(20, SamplingMode::independent, WeightNormalization::max, 0.6);
      }
      CHECK(pair.cpu.rescales() > 4);
    }
  }
}

TEST(extremes_survive_the_loss_of_their_holders) {
  for (const cuda::PlanLimits& limits : all_limits()) {
    Pair pair(3000, 5, limits);
    std::vector<std::int64_t> indices;
    std::vector<double> priorities;
    for (std::int64_t i = 0; i < 3000; i += 9) {
      indices.push_back(i);
      priorities.push_back(static_cast<double>(i + 1));
    }
    pair.set(indices, priorities);
    for (int round = 0; round < 12; ++round) {
      // Smallest and largest leaf go, and one that takes the largest one's place comes.
      pair.set(std::vector<std::int64_t>{9 * round, 2997 - 9 * round, 1500},
               std::vector<double>{1500.0, round % 2 == 0 ? 0.0 : 1400.0, 2999.0 - round});
      pair.check();
    }
  }
}

TEST(all_masses_zero_and_leaves_that_are_not_valid) {
  for (const cuda::PlanLimits& limits : all_limits()) {
    for (const std::int64_t capacity : {3, 70, 2500}) {
      Random random(1);
      Pair pair(capacity, 9, limits);
      std::vector<std::int64_t> first;
      for (std::int64_t i = 0; i < std::min<std::int64_t>(capacity, 60); ++i) first.push_back(i);
      pair.set(first, std::vector<float>(first.size(), -0.0f));
      for (const WeightNormalization normalization : kNormalizations) {
        pair.sample(33, SamplingMode::stratified, normalization, 0.5);
        pair.sample(33, SamplingMode::uniform, normalization, 1.0);
      }
      pair.invalidate({0, 1, 0});
      pair.invalidate({0});
      pair.check();
      pair.sample(33, SamplingMode::independent, WeightNormalization::max, 0.5);
      const auto scattered = skewed_indices(random, capacity, 90);
      pair.set(scattered, std::vector<double>(scattered.size(), 0.0));
      pair.sample(50, SamplingMode::stratified, WeightNormalization::sum, 0.5);
      pair.set(scattered, skewed_priorities<double>(random, 90, 2.0));
      pair.invalidate(skewed_indices(random, capacity, capacity > 3 ? 60 : 1));
      pair.check();
      pair.sample(50, SamplingMode::uniform, WeightNormalization::none, 0.5);
      pair.sample(50, SamplingMode::stratified, WeightNormalization::none, 0.5);
    }
  }
}

TEST(bad_batches_change_nothing_and_are_kept) {
  for (const cuda::PlanLimits& limits : all_limits()) {
    Pair pair(100, 31, limits);
    std::vector<std::int64_t> indices(90);
    for (std::size_t i = 0; i < 90; ++i) indices[i] = static_cast<std::int64_t>(i % 50);
    pair.set(indices, std::vector<double>(90, 1.5));
    const auto refused = [&](std::int64_t item, std::int64_t index, double value, std::uint32_t error) {
      auto bad_indices = indices;
      std::vector<double> values(90, 1e30);  // would change the scale
      bad_indices[static_cast<std::size_t>(item)] = index;
      values[static_cast<std::size_t>(item)] = value;
      values[89] = -1.0;  // a later one is not what is reported
      cuda::TreeState* state = pair.emulated.mutable_state();
      state->error = 0;
      const std::uint64_t calls = state->calls;
      pair.emulated.set(bad_indices, values);
      CHECK(state->error == (error | cuda::kErrorPriority));
      CHECK(state->error_item == static_cast<std::uint64_t>(item));
      CHECK(state->error_index == index);
      CHECK(state->error_value == value || (std::isnan(value) && std::isnan(state->error_value)));
      CHECK(state->error_call == calls && state->calls == calls + 1);
      // The first one stays.
      pair.emulated.set(std::vector<std::int64_t>{-7}, std::vector<float>{1.0f});
      CHECK(state->error == (error | cuda::kErrorPriority | cuda::kErrorIndex));
      CHECK(state->error_index == index && state->error_call == calls);
      pair.check();
    };
    refused(0, -1, 1.0, cuda::kErrorIndex);
    refused(41, 100, 1.0, cuda::kErrorIndex);
    refused(64, std::numeric_limits<std::int64_t>::min(), 1.0, cuda::kErrorIndex);
    refused(3, std::numeric_limits<std::int64_t>::max(), kNan, cuda::kErrorIndex);
    refused(70, 20, kNan, cuda::kErrorPriority);
    refused(70, 20, -kNan, cuda::kErrorPriority);
    refused(33, 20, kInfinity, cuda::kErrorPriority);
    refused(33, 20, -kInfinity, cuda::kErrorPriority);
    refused(5, 20, -1e-300, cuda::kErrorPriority);
    // And the tree works on.
    pair.set(indices, std::vector<double>(90, 2.5));
    pair.check();
    pair.sample(20, SamplingMode::stratified, WeightNormalization::max, 0.5);
  }
}

TEST(bad_reads_give_zeros_and_are_kept) {
  for (const cuda::PlanLimits& limits : all_limits()) {
    Pair pair(100, 37, limits);
    cuda::TreeState* state = pair.emulated.mutable_state();
    EmulatedTree::Batch batch = pair.emulated.sample(9, SamplingMode::stratified, WeightNormalization::sum, 0.5);
    CHECK(state->error == cuda::kErrorEmpty && state->draws == 0);
    CHECK(batch.indices == std::vector<std::int64_t>(9, 0) && batch.weights == std::vector<float>(9, 0.0f));
    CHECK(pair.emulated.find({0.0, 1.0}) == (std::vector<std::int64_t>{0, 0}));
    CHECK(state->error == (cuda::kErrorEmpty | cuda::kErrorPrefix));
    pair.set(std::vector<std::int64_t>{5, 9}, std::vector<double>{1.0, 2.0});
    state->error = 0;
    for (const double bad : {-1e-300, 3.0, kNan, kInfinity}) {
      CHECK(pair.emulated.find({0.5, 2.5, bad, 7.0}) == (std::vector<std::int64_t>{5, 9, 0, 0}));
      CHECK(state->error == cuda::kErrorPrefix && state->error_item == 2);
      state->error = 0;
    }
    for (const double bad : {-0.5, kNan, kInfinity}) {
      for (const bool in_memory : {false, true}) {
        batch = pair.emulated.sample(9, SamplingMode::stratified, WeightNormalization::max, bad, in_memory);
        CHECK(state->error == cuda::kErrorBeta && batch.weights == std::vector<float>(9, 0.0f));
        state->error = 0;
      }
    }
    pair.check();
    pair.sample(9, SamplingMode::stratified, WeightNormalization::sum, 0.5);
  }
}

// The plans as they are shipped: blocks of 1024 threads, and both sides of every threshold.
TEST(plans_as_shipped) {
  const cuda::PlanLimits shipped;
  Random random(8);
  Pair pair(40000, 3, shipped);
  for (const std::int64_t n : {1, 2048, 2049, 6000}) {
    CHECK(cuda::plan_set(pair.emulated.tree(), n).count == (n <= 2048 ? 1 : 6));
    pair.set(skewed_indices(random, 40000, n), skewed_priorities<float>(random, n, 1.0));
    pair.check();
  }
  for (const std::int64_t n : {1, 512, 513}) {
    for (const WeightNormalization normalization : {WeightNormalization::max, WeightNormalization::sum}) {
      pair.sample(n, SamplingMode::stratified, normalization, 0.4);
    }
  }
  // Beyond 16 million leaves one block would read too many keys; grids stop growing.
  cuda::DeviceTree large{};
  large.num_blocks = 16 * 1024 + 1;
  CHECK(cuda::plan_set(large, 1).count == 6);
  const cuda::Plan plan = cuda::plan_set(large, std::int64_t{1} << 30);
  for (int i = 0; i < plan.count; ++i) CHECK(plan.launches[i].num_blocks <= shipped.most_blocks);
  // No launch exceeds what its kernel is compiled for.
  cuda::SampleCall call{};
  call.weights = reinterpret_cast<float*>(&call);
  call.normalization = WeightNormalization::sum;
  for (const std::int64_t n : {std::int64_t{1}, std::int64_t{1} << 20}) {
    call.n = n;
    for (const cuda::Plan& each :
         {cuda::plan_set(pair.emulated.tree(), n), cuda::plan_sample(call), cuda::plan_find(n)}) {
      for (int i = 0; i < each.count; ++i) {
        CHECK(each.launches[i].block_threads <= cuda::most_threads(each.launches[i].kernel));
      }
    }
  }
}

// Offsets fit, every array is as long as kernels expect, and the largest tree has few enough levels.
TEST(layout_of_every_capacity) {
  for (const std::int64_t capacity :
       {std::int64_t{1}, std::int64_t{1024}, std::int64_t{1} << 24, metarl::kMaxTreeCapacity}) {
    std::size_t bytes = 0;
    const cuda::DeviceTree tree = cuda::make_device_tree(capacity, [&](std::size_t more, const char*) {
      bytes += more;
      return nullptr;
    });
    CHECK(tree.num_levels <= cuda::kMaxSumLevels && tree.num_sums[tree.num_levels - 1] == 1);
    CHECK(tree.num_blocks * metarl::kTreeBlockLeaves >= capacity);
    // Leaves, owners, a group's sum and its sums above, a bit of validity: 8.5 bytes a leaf.
    if (capacity > (1 << 20)) CHECK(bytes < static_cast<std::size_t>(capacity) * 9);
  }
}

TEST(strata_start_anywhere_without_a_division) {
  Random random(4);
  for (int i = 0; i < 100000; ++i) {
    const std::uint64_t total = (random() >> 1 >> (random() % 63)) | 1;
    const std::uint64_t n = (random() % 0xFFFFFFFFu >> (random() % 32)) + 1;
    const std::uint64_t first = i % 3 == 0 ? n - 1 : random() % n;
    const auto expected = metarl::make_stratified(total, n, first);
    const auto found = metarl::restart_stratified(metarl::make_stratified(total, n), first);
    CHECK(found.quotient == expected.quotient && found.remainder == expected.remainder);
  }
}

// So many leaf changes and draws (METARL_DEVICE_TREE_ITEMS) on either tree, batches of different sizes in turn; the
// hashes of all indices and weights agree.
TEST(mixed_calls_have_one_hash) {
  const char* given = std::getenv("METARL_DEVICE_TREE_ITEMS");
  const std::int64_t wanted = given != nullptr ? std::atoll(given) : 40000;
  Random random(99);
  Pair one(20000, 1, one_block(256)), many(20000, 2, launch_a_phase(128, 16));
  std::int64_t items = 0;
  for (std::int64_t call = 0; items < wanted; ++call) {
    const std::int64_t n = call % 9 == 8 ? 1000 : 32 + below(random, 200);
    const auto indices = skewed_indices(random, 20000, n);
    const auto priorities = skewed_priorities<float>(random, n, std::exp(below(random, 12)));
    const double beta = 0.4 + 0.6 * static_cast<double>(items) / static_cast<double>(wanted);
    for (Pair* pair : {&one, &many}) {
      pair->set(indices, priorities);
      pair->sample(n, call % 4 == 3 ? SamplingMode::independent : SamplingMode::stratified,
                   kNormalizations[call % 7 == 0 ? call % 4 : 0], beta);
    }
    items += 2 * n;
  }
  for (Pair* pair : {&one, &many}) {
    pair->check();
    CHECK(pair->of_cpu.value() == pair->of_emulated.value());
    CHECK(pair->emulated.state().error == 0);
  }
  CHECK(one.of_emulated.value() == many.of_emulated.value());
  std::printf("%lld items, hash %016llx\n", static_cast<long long>(items),
              static_cast<unsigned long long>(one.of_emulated.value()));
}

METARL_TEST_MAIN()
