#include "cuda/tree.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

namespace metarl::cuda {
namespace {

constexpr std::size_t kAlignment = 256;

}  // namespace

Tree::Tree(std::shared_ptr<Device> device, std::int64_t capacity, std::uint64_t seed)
    : device_(std::move(device)),
      timeline_(std::make_shared<Timeline>(device_)),
      pool_(std::make_shared<MemoryPool>(device_)),
      key_(seed) {
  // One allocation for all arrays: first their sizes, then their places.
  const auto place = [this](std::size_t bytes, const char*) -> void* {
    void* at = memory_ == nullptr ? nullptr : static_cast<std::byte*>(memory_) + num_bytes_;
    num_bytes_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    return at;
  };
  make_device_tree(capacity, place);
  const std::size_t needed = num_bytes_;
  memory_ = device_->allocate(needed, "a sum tree of " + std::to_string(capacity) + " leaves");
  try {
    device_->fill_with_zeros(memory_, needed);
  } catch (...) {
    device_->release(memory_);
    throw;
  }
  num_bytes_ = 0;
  tree_ = make_device_tree(capacity, place);
}

Tree::~Tree() { device_->release(memory_); }

void Tree::sample(SampleCall call, Stream stream) {
  call.tree = tree_;
  call.key = key_;
  run(call, stream);
}

void Tree::find(const double* at, std::int64_t n, std::int64_t* indices, Stream stream) {
  if (n > 0) run(FindCall{tree_, at, n, indices}, stream);
}

void Tree::get(const std::int64_t* indices, std::int64_t n, double* priorities, Stream stream) {
  if (n > 0) run(GetCall{tree_, indices, n, priorities}, stream);
}

TreeState Tree::state(Stream stream) {
  timeline_->follow(stream);
  TreeState state;
  device_->read(&state, tree_.state, sizeof state, stream);
  return state;
}

void Tree::clear_error(Stream stream) {
  timeline_->follow(stream);
  const std::uint32_t none = 0;
  device_->write(&tree_.state->error, &none, sizeof none, stream);
  timeline_->end_call(stream);
}

void Tree::read_leaves(std::int64_t n, std::uint32_t* masses, std::uint32_t* valid, Stream stream) {
  timeline_->follow(stream);
  const auto count = static_cast<std::size_t>(n);
  if (n == 0) return;
  device_->read(masses, tree_.leaves, count * sizeof *masses, stream);
  device_->read(valid, tree_.valid, (count + 31) / 32 * sizeof *valid, stream);
}

void Tree::load(const TreeState& state, std::int64_t n, const std::uint32_t* masses, const std::uint32_t* valid,
                Stream stream) {
  // The arrays are filled in host memory, where they lie as on the device.
  std::vector<std::uint64_t> host(num_bytes_ / sizeof(std::uint64_t));
  std::size_t placed = 0;
  const DeviceTree tree = make_device_tree(tree_.capacity, [&](std::size_t bytes, const char*) -> void* {
    void* at = reinterpret_cast<std::byte*>(host.data()) + placed;
    placed += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    return at;
  });
  TreeState* to = tree.state;
  to->draws = state.draws;
  to->changes = state.changes;
  to->scale_exponent = state.scale_exponent;
  to->rescales = state.rescales;
  to->calls = state.calls;
  for (std::int64_t i = 0; i < n; ++i) {
    tree.leaves[i] = masses[i];
    tree.sums[0][i >> kGroupBits] += masses[i];
    const std::int64_t b = i >> kTreeBlockBits;
    for (int which = 0; which < 2; ++which) {
      tree.keys[which][b] = std::max(tree.keys[which][b], extreme_key(which, masses[i]));
      to->extremes[which] = std::max(to->extremes[which], extreme_key(which, masses[i]));
    }
    if ((valid[i >> 5] >> (i & 31) & 1) == 0) continue;
    tree.valid[i >> 5] |= 1u << (i & 31);
    ++tree.valid_counts[b];
    ++to->num_valid;
    to->valid_end = static_cast<std::uint64_t>(i) + 1;
  }
  for (int level = 1; level < tree.num_levels; ++level) {
    for (std::int64_t s = 0; s < tree.num_sums[level - 1]; ++s) {
      tree.sums[level][s >> kSumBits] += tree.sums[level - 1][s];
    }
  }
  to->total = tree.sums[tree.num_levels - 1][0];
  timeline_->follow(stream);
  device_->write(memory_, host.data(), num_bytes_, stream);
  timeline_->end_call(stream);
}

double state_total(const TreeState& state) {
  return static_cast<double>(state.total) * power_of_two(-state.scale_exponent);
}

double state_min(const TreeState& state) {
  return static_cast<double>(extreme_key(1, state.extremes[1])) * power_of_two(-state.scale_exponent);
}

double state_max(const TreeState& state) {
  const double most = static_cast<double>(state.extremes[0]) * power_of_two(-state.scale_exponent);
  return std::min(most, std::numeric_limits<double>::max());
}

}  // namespace metarl::cuda
