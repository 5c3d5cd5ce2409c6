#include <algorithm>
#include <cmath>

#include "core/tree_kernels.h"
#include "metarl/detail/pow.h"
#include "metarl/errors.h"
#include "metarl/replay_buffer.h"

namespace metarl {
namespace {

std::string describe(float x) {
  if (std::isnan(x)) return "nan";
  return x > 0 ? "inf" : "-inf";
}

void check_index(std::int64_t index, std::int64_t position, std::int64_t size) {
  if (index >= 0 && index < size) return;
  throw std::out_of_range("index " + std::to_string(index) + " at position " + std::to_string(position) +
                          " out of range for size " + std::to_string(size));
}

}  // namespace

PrioritizedReplayBuffer::PrioritizedReplayBuffer(std::int64_t capacity, std::vector<FieldSpec> fields,
                                                 std::uint64_t seed, const PrioritizedOptions& options)
    : ReplayBuffer(capacity, std::move(fields), seed),
      options_(options),
      tree_(capacity, seed),
      raw_(static_cast<std::size_t>(capacity) * sizeof(float)) {
  set_running_max(std::max(options_.eps, std::min(1.0f, options_.max_priority)));
}

std::size_t PrioritizedReplayBuffer::bytes_per_transition() const {
  // A raw priority, a leaf, a bit, and 256 bytes of a node for 256 leaves (a sixteenth of that again above).
  return ReplayBuffer::bytes_per_transition() + sizeof(float) + sizeof(std::uint32_t) + 2;
}

void PrioritizedReplayBuffer::set_running_max(float priority) {
  running_max_ = priority;
  running_max_scaled_ = pow_positive(static_cast<double>(priority), options_.alpha);
}

void PrioritizedReplayBuffer::on_write(std::int64_t begin, std::int64_t end) {
  std::fill(raw_.as<float>() + begin, raw_.as<float>() + end, running_max_);
  tree_.fill(begin, end, running_max_scaled_);
}

void PrioritizedReplayBuffer::on_clear() {
  tree_.clear();
  set_running_max(std::max(options_.eps, std::min(1.0f, options_.max_priority)));
}

void PrioritizedReplayBuffer::draw(std::int64_t n, double beta, const SampleOutput& out) {
  if (masses_.size() < static_cast<std::size_t>(n)) masses_.resize(static_cast<std::size_t>(n));
  tree_.sample(n, options_.stratified, out.indices, masses_.data());
  const std::int64_t size = size_unlocked();
  mass_importance_weights(masses_.data(), n, tree_.total_mass(), tree_.min_mass(), size, beta,
                          options_.weight_normalization, out.weights);
  if (tree_.total_mass() == 0) {
    std::fill_n(out.probabilities, n, 1.0 / static_cast<double>(size));
  } else {
    const double total = static_cast<double>(tree_.total_mass());
    for (std::int64_t i = 0; i < n; ++i) out.probabilities[i] = masses_[static_cast<std::size_t>(i)] / total;
  }
}

// The slots written since the mark are those that follow its write position.
bool PrioritizedReplayBuffer::is_stale(std::int64_t slot, const WriteMark& mark) const {
  if (mark.epoch != mark_.epoch || mark.written > mark_.written) return true;
  const std::uint64_t capacity = static_cast<std::uint64_t>(capacity_);
  const std::uint64_t ahead = (static_cast<std::uint64_t>(slot) + capacity - mark.written % capacity) % capacity;
  return ahead < mark_.written - mark.written;
}

void PrioritizedReplayBuffer::update_priorities(const std::int64_t* indices, const float* td_errors, std::int64_t n,
                                                const WriteMark* mark, bool strict) {
  const std::lock_guard lock(mutex_);
  const std::int64_t size = size_unlocked();
  // A batch from before clear() or load may name slots that are not filled again; all of it is stale.
  const bool outdated = mark != nullptr && (mark->epoch != mark_.epoch || mark->written > mark_.written);
  const std::int64_t limit = outdated ? capacity_ : size;
  for (std::int64_t i = 0; i < n; ++i) check_index(indices[i], i, limit);
  if (new_raw_.size() < static_cast<std::size_t>(n)) {
    new_raw_.resize(static_cast<std::size_t>(n));
    new_scaled_.resize(static_cast<std::size_t>(n));
  }
  float* raw = new_raw_.data();
  double* scaled = new_scaled_.data();
  double top = METARL_SELECT_KERNEL(prepare_priorities)(td_errors, n, options_.eps, options_.max_priority,
                                                        options_.alpha, raw, scaled);
  if (top < 0.0) {
    for (std::int64_t i = 0; i < n; ++i) {
      if (!std::isfinite(td_errors[i])) {
        throw std::invalid_argument("td_errors[" + std::to_string(i) + "] is " + describe(td_errors[i]) +
                                    "; must be finite");
      }
    }
  }
  if (n > 0 && !std::isfinite(top)) {
    throw std::invalid_argument("td_errors: the largest one to the power of alpha overflows; set max_priority");
  }
  std::uint64_t stale = 0;
  if (mark != nullptr && (mark->epoch != mark_.epoch || mark->written != mark_.written)) {
    kept_indices_.clear();
    top = 0.0;
    for (std::int64_t i = 0; i < n; ++i) {
      if (is_stale(indices[i], *mark)) {
        if (strict) {
          throw StaleIndexError("index " + std::to_string(indices[i]) + " at position " + std::to_string(i) +
                                " was overwritten since it was sampled");
        }
        ++stale;
        continue;
      }
      const std::size_t k = kept_indices_.size();
      raw[k] = raw[i];
      scaled[k] = scaled[i];
      top = std::max(top, scaled[i]);
      kept_indices_.push_back(indices[i]);
    }
    indices = kept_indices_.data();
    n = static_cast<std::int64_t>(kept_indices_.size());
  }
  // Nothing below fails: the object changes as a whole.
  stale_updates_ += stale;
  tree_.update(indices, scaled, n, top);
  float largest = running_max_;
  for (std::int64_t i = 0; i < n; ++i) {
    raw_.as<float>()[indices[i]] = raw[i];
    largest = std::max(largest, raw[i]);
  }
  if (largest > running_max_) set_running_max(largest);
}

std::uint64_t PrioritizedReplayBuffer::stale_updates() const {
  const std::lock_guard lock(mutex_);
  return stale_updates_;
}

float PrioritizedReplayBuffer::running_max() const {
  const std::lock_guard lock(mutex_);
  return running_max_;
}

void PrioritizedReplayBuffer::read_priorities(const std::int64_t* indices, std::int64_t n, double* out) const {
  const std::lock_guard lock(mutex_);
  const std::int64_t size = size_unlocked();
  for (std::int64_t i = 0; i < n; ++i) {
    check_index(indices[i], i, size);
    out[i] = static_cast<double>(raw_.as<float>()[indices[i]]);
  }
}

void PrioritizedReplayBuffer::on_snapshot(std::int64_t size, State* state, const Content& content) const {
  state->draws = tree_.state().draws;
  state->tree = tree_.state();
  state->running_max = running_max_;
  state->stale_updates = stale_updates_;
  std::copy_n(raw_.as<float>(), size, content.raw_priorities);
  std::copy_n(tree_.leaves(), size, content.masses);
}

void PrioritizedReplayBuffer::on_restore(const State& state, const float* raw_priorities, const std::uint32_t* masses,
                                         std::int64_t size) {
  std::copy_n(raw_priorities, size, raw_.as<float>());
  SumTree::State tree = state.tree;
  tree.draws = state.draws;
  tree_.restore(tree, masses, size);
  stale_updates_ = state.stale_updates;
  set_running_max(state.running_max);
}

}  // namespace metarl
