// The device tree on the emulator, and its comparison with the CPU's tree.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "check.h"
#include "cuda/plans.h"
#include "metarl/sum_tree.h"
#include "simt/emulator.h"

namespace metarl_test {

namespace cuda = metarl::cuda;

class EmulatedTree {
 public:
  EmulatedTree(std::int64_t capacity, std::uint64_t key, std::uint64_t order, cuda::PlanLimits limits)
      : device_(order), key_(key), limits_(limits) {
    tree_ = cuda::make_device_tree(
        capacity, [&](std::size_t bytes, const char* name) { return device_.allocate_zeroed(bytes, name); });
  }

  const cuda::DeviceTree& tree() const { return tree_; }
  const cuda::TreeState& state() const { return *tree_.state; }
  cuda::TreeState* mutable_state() { return tree_.state; }
  std::uint64_t num_switches() const { return device_.num_switches(); }

  template <typename Priority>
  void set(const std::vector<std::int64_t>& indices, const std::vector<Priority>& priorities,
           cuda::SetKind kind = cuda::SetKind::set) {
    const std::int64_t* given = device_.upload(indices, "indices");
    const Priority* values = device_.upload(priorities, "priorities");
    const cuda::SetCall<Priority> call{tree_, given, values, static_cast<std::int64_t>(indices.size()), kind};
    run(cuda::plan_set(tree_, call.n, limits_), [&](const cuda::Launch& launch) {
      device_.launch<cuda::SetShared>("set", launch.num_blocks, launch.block_threads, [&](auto& ctx, auto* shared) {
        cuda::run_set(launch.kernel, ctx, call, shared);
      });
    });
    device_.release(given);
    device_.release(values);
  }

  struct Batch {
    std::vector<std::int64_t> indices;
    std::vector<std::uint32_t> masses;
    std::vector<float> weights;
  };
  Batch sample(std::int64_t n, metarl::SamplingMode mode, metarl::WeightNormalization normalization, double beta,
               bool beta_in_memory = false) {
    const auto count = static_cast<std::size_t>(n);
    // What a kernel leaves out is read below as the pattern of fresh memory, and differs.
    auto* indices = device_.allocate<std::int64_t>(count, "indices");
    auto* masses = device_.allocate<std::uint32_t>(count, "masses");
    auto* weights = device_.allocate<float>(count, "weights");
    const double* beta_memory = device_.upload(std::vector<double>{beta}, "beta");
    const cuda::SampleCall call{tree_,
                                key_,
                                metarl::kTagTreeSample,
                                n,
                                mode,
                                normalization,
                                beta_in_memory ? -1.0 : beta,
                                beta_in_memory ? beta_memory : nullptr,
                                indices,
                                masses,
                                weights,
                                nullptr};
    run(cuda::plan_sample(call, limits_), [&](const cuda::Launch& launch) {
      device_.launch<cuda::SampleShared>(
          "sample", launch.num_blocks, launch.block_threads,
          [&](auto& ctx, auto* shared) { cuda::run_sample(launch.kernel, ctx, call, shared); });
    });
    Batch batch{{indices, indices + n}, {masses, masses + n}, {weights, weights + n}};
    device_.release(indices);
    device_.release(masses);
    device_.release(weights);
    device_.release(beta_memory);
    return batch;
  }

  std::vector<std::int64_t> find(const std::vector<double>& at) {
    const double* given = device_.upload(at, "at");
    auto* indices = device_.allocate<std::int64_t>(at.size(), "indices");
    const cuda::FindCall call{tree_, given, static_cast<std::int64_t>(at.size()), indices};
    run(cuda::plan_find(call.n, limits_), [&](const cuda::Launch& launch) {
      device_.launch<char>("find", launch.num_blocks, launch.block_threads,
                           [&](auto& ctx, char*) { cuda::run_find(launch.kernel, ctx, call); });
    });
    std::vector<std::int64_t> found(indices, indices + at.size());
    device_.release(given);
    device_.release(indices);
    return found;
  }

 private:
  template <typename Start>
  static void run(const cuda::Plan& plan, Start start) {
    for (int i = 0; i < plan.count; ++i) start(plan.launches[i]);
  }

  simt::Device device_;
  std::uint64_t key_;
  cuda::PlanLimits limits_;
  cuda::DeviceTree tree_{};
};

// Everything that the two trees hold is the same, and the device's is consistent in itself.
inline void check_equal(metarl::SumTree& cpu, const EmulatedTree& emulated) {
  const cuda::DeviceTree& tree = emulated.tree();
  const cuda::TreeState& state = emulated.state();
  const auto capacity = static_cast<std::size_t>(cpu.capacity());
  CHECK(std::memcmp(tree.leaves, cpu.leaves(), capacity * sizeof(std::uint32_t)) == 0);
  CHECK(state.total == cpu.total_mass());
  CHECK(state.scale_exponent == cpu.state().scale_exponent);
  CHECK(state.changes == cpu.state().changes);
  CHECK(state.draws == cpu.state().draws);
  CHECK(state.rescales == cpu.rescales());
  CHECK(static_cast<std::int64_t>(state.num_valid) == cpu.num_valid());
  CHECK(0u - state.extremes[1] == cpu.min_mass());
  const double unit = cuda::power_of_two(-state.scale_exponent);
  CHECK(std::min(state.extremes[0] * unit, 0x1.fffffffffffffp1023) == cpu.max());

  const auto all_zero = [](const std::uint32_t* at, std::int64_t n) {
    return std::all_of(at, at + n, [](std::uint32_t x) { return x == 0; });
  };
  CHECK(all_zero(tree.owners, tree.capacity));
  CHECK(all_zero(tree.dirty, tree.num_blocks));
  CHECK(state.top_bits == 0 && state.first_bad == 0 && state.bad == 0 && state.batch_least == 0);
  CHECK(state.next_extremes[0] == 0 && state.next_extremes[1] == 0 && state.weight_sum == 0.0);

  bool sums_fit = true;
  for (int level = 0; level < tree.num_levels; ++level) {
    for (std::int64_t s = 0; s < tree.num_sums[level]; ++s) {
      std::uint64_t sum = 0;
      if (level == 0) {
        for (int j = 0; j < cuda::kGroupLeaves; ++j) sum += tree.leaves[s * cuda::kGroupLeaves + j];
      } else {
        for (int j = 0; j < cuda::kSumFanout; ++j) sum += tree.sums[level - 1][s * cuda::kSumFanout + j];
      }
      sums_fit = sums_fit && sum == tree.sums[level][s];
    }
  }
  CHECK(sums_fit);
  bool keys_fit = true;
  bool counts_fit = true;
  for (std::int64_t b = 0; b < tree.num_blocks; ++b) {
    std::uint32_t keys[2] = {0, 0};
    std::uint32_t members = 0;
    for (std::int64_t i = b * metarl::kTreeBlockLeaves; i < (b + 1) * metarl::kTreeBlockLeaves; ++i) {
      for (int which = 0; which < 2; ++which) {
        keys[which] = std::max(keys[which], cuda::extreme_key(which, tree.leaves[i]));
      }
      const bool valid = (tree.valid[i >> 5] >> (i & 31) & 1) != 0;
      members += valid ? 1 : 0;
      counts_fit = counts_fit && valid == (i < cpu.capacity() && cpu.valid().contains(i));
    }
    keys_fit = keys_fit && keys[0] == tree.keys[0][b] && keys[1] == tree.keys[1][b];
    counts_fit = counts_fit && members == tree.valid_counts[b];
  }
  CHECK(keys_fit);
  CHECK(counts_fit);
}

// FNV-1a.
class Hash {
 public:
  template <typename T>
  void add(const std::vector<T>& values) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(values.data());
    for (std::size_t i = 0; i < values.size() * sizeof(T); ++i) value_ = (value_ ^ bytes[i]) * 0x100000001B3ull;
  }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0xCBF29CE484222325ull;
};

}  // namespace metarl_test
