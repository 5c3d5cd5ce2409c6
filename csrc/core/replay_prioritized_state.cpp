#include <cmath>
#include <cstdio>

#include "core/poll.h"
#include "metarl/replay_buffer.h"

namespace metarl {
namespace {

// Whether a leaf can be the mass of a scaled priority. Each change of scale rounds to a multiple of the coarser unit,
// which divides the mass from then on, and all of these roundings together are less than the coarsest one.
bool plausible_mass(std::uint32_t mass, double scaled, double factor) {
  if (mass == 0 || scaled <= 0.0) return mass == 0 && scaled <= 0.0;
  const double unit = mass & (0u - mass);
  const double exact = scaled * factor;
  return std::abs(mass - exact) <= unit + 1e-9 * exact;
}

std::string text(double number) {
  char digits[32];
  std::snprintf(digits, sizeof digits, "%.9g", number);
  return digits;
}

std::string at(std::int64_t position) { return " at position " + std::to_string(position); }

}  // namespace

std::unique_ptr<ReplayBuffer> PrioritizedReplayBuffer::make_same() const {
  return std::make_unique<PrioritizedReplayBuffer>(options_, prioritized_);
}

void PrioritizedReplayBuffer::describe_numbers(Value* numbers) const {
  const SumTree::State tree = tree_.state();
  numbers->set("draws", tree.draws);
  numbers->set("stale_updates", stale_updates_);
  numbers->set("running_max_priority", static_cast<double>(running_max_));
  numbers->set("scale_exponent", static_cast<std::int64_t>(tree.scale_exponent));
  numbers->set("changes_since_rescale", tree.changes);
}

void PrioritizedReplayBuffer::take_numbers(const StateSource& source) {
  loading_.draws = source.count("draws");
  loading_.changes = source.count("changes_since_rescale");
  loading_.scale_exponent = static_cast<std::int32_t>(source.integer("scale_exponent", -1000, 1000));
  stale_updates_ = source.count("stale_updates");
  const double running_max = source.real("running_max_priority");
  const auto rounded = static_cast<float>(running_max);
  const std::string given = text(running_max);
  if (!(rounded >= prioritized_.eps && rounded <= prioritized_.max_priority)) {
    source.refuse("running_max_priority", "is " + given + "; must be in [eps, max_priority]");
  }
  if (!std::isfinite(scaled_priority(rounded))) {
    source.refuse("running_max_priority", "is " + given + "; to the power of alpha it overflows");
  }
  set_running_max(rounded);
}

void PrioritizedReplayBuffer::describe_arrays(std::vector<StateArray>* arrays) const {
  ReplayBuffer::describe_arrays(arrays);
  const auto n = static_cast<std::uint64_t>(slots_used_unlocked());
  arrays->push_back({{"priorities", "<f4", {n}}, raw_.data(), 4, 4});
  auto* leaves = const_cast<std::uint32_t*>(tree_.leaves());
  arrays->push_back({{"masses", "<u4", {n}}, reinterpret_cast<std::byte*>(leaves), 4, 4});
}

void PrioritizedReplayBuffer::complete_load(const StateSource& source, SlotSet valid) {
  const std::int64_t n = slots_used_unlocked();
  const float* raw = raw_.as<float>();
  const double factor = std::ldexp(1.0, loading_.scale_exponent);
  for (std::int64_t i = 0; i < n; ++i) {
    if (i % kPollItems == 0) source.poll();
    if (!(raw[i] >= 0.0f && raw[i] <= prioritized_.max_priority)) {
      source.refuse("priorities", "holds " + text(raw[i]) + at(i) + "; must be in [0, max_priority]");
    }
    const double scaled = valid.contains(i) ? scaled_priority(raw[i]) : 0.0;
    if (!plausible_mass(tree_.leaves()[i], scaled, factor)) {
      source.refuse("masses", "holds " + std::to_string(tree_.leaves()[i]) + at(i) +
                                  ", which is not the mass of the priority " + text(raw[i]));
    }
  }
  tree_.adopt_leaves(loading_, std::move(valid));
}

void PrioritizedReplayBuffer::on_exchange(ReplayBuffer& other_buffer) {
  auto& other = static_cast<PrioritizedReplayBuffer&>(other_buffer);
  std::swap(tree_, other.tree_);
  std::swap(raw_, other.raw_);
  std::swap(stale_updates_, other.stale_updates_);
  std::swap(running_max_, other.running_max_);
  std::swap(running_max_scaled_, other.running_max_scaled_);
}

}  // namespace metarl
