// Which transitions a batch consists of, with what probability and weight.
#include <algorithm>
#include <limits>
#include <stdexcept>

#include "core/distinct_draws.h"
#include "core/poll.h"
#include "core/tree_kernels.h"
#include "metarl/replay_buffer.h"

namespace metarl {
namespace {

bool all_finite(const float* weights, std::int64_t n) {
  bool finite = true;
  for (std::int64_t i = 0; i < n; ++i) finite &= weights[i] <= std::numeric_limits<float>::max();
  return finite;
}

}  // namespace

void ReplayBuffer::draw(const SampleRequest& request, const SampleOutput& out, const std::function<void()>& poll) {
  const std::int64_t n = request.n;
  if (n == 0) return;
  if (request.tasks != nullptr) {
    TaskDraw drawn;
    draw_tasks(request, out, &drawn, poll);
    std::fill_n(out.weights, n, 1.0f);
    return;
  }
  const std::int64_t size = valid_->size();
  if (request.mode == SamplingMode::without_replacement) {
    if (n > size) refuse_batch_size(n, size);
    draw_distinct(size, RandomBits(key(), draws_, kTagWithoutReplacement), n, out.indices, poll);
  } else {
    grow(&scratch_, static_cast<std::size_t>(n), poll);
    in_parts(n, poll, [&](std::int64_t begin, std::int64_t end) {
      METARL_SELECT_KERNEL(tree_draws)
      (key(), draws_, kTagUniformSample, static_cast<std::uint64_t>(size), n, request.mode == SamplingMode::stratified,
       begin, end, scratch_.data());
      for (std::int64_t i = begin; i < end; ++i)
        out.indices[i] = static_cast<std::int64_t>(scratch_[static_cast<std::size_t>(i)]);
    });
  }
  ++draws_;
  if (!valid_->is_prefix()) {  // those were ranks
    in_parts(n, poll, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) out.indices[i] = valid_->at_rank(out.indices[i]);
    });
  }
  std::fill_n(out.weights, n, 1.0f);
  std::fill_n(out.probabilities, n, 1.0 / static_cast<double>(size));
}

void PrioritizedReplayBuffer::draw(const SampleRequest& request, const SampleOutput& out,
                                   const std::function<void()>& poll) {
  const std::int64_t n = request.n;
  if (n == 0) return;
  const std::uint64_t before = num_draws();
  const auto check_weights = [&] {  // those that are divided by something cannot overflow
    if (prioritized_.weight_normalization != WeightNormalization::none || all_finite(out.weights, n)) return;
    set_num_draws(before);
    throw std::invalid_argument("beta is " + std::to_string(request.beta) +
                                "; the weight of an item overflows float32");
  };
  if (request.tasks != nullptr) {
    TaskDraw drawn;
    draw_tasks(request, out, &drawn, poll);
    grow(&wide_weights_, static_cast<std::size_t>(n), poll);
    importance_weights(out.probabilities, n, drawn.drawable, request.beta, prioritized_.weight_normalization,
                       drawn.min_probability, wide_weights_.data(), poll);
    for (std::int64_t i = 0; i < n; ++i)
      out.weights[i] = static_cast<float>(wide_weights_[static_cast<std::size_t>(i)]);
    check_weights();
    return;
  }
  grow(&masses_, static_cast<std::size_t>(n), poll);
  tree_.set_random_stream(mutex_.stream());
  const bool proportional = tree_.sample(n, request.mode, out.indices, masses_.data(), poll);
  const std::int64_t size = tree_.num_valid();
  // Equal probabilities make equal weights, as if all masses were zero.
  mass_importance_weights(masses_.data(), n, proportional ? tree_.total_mass() : 0, tree_.min_mass(), size,
                          request.beta, prioritized_.weight_normalization, out.weights, poll);
  check_weights();
  if (!proportional) {
    std::fill_n(out.probabilities, n, 1.0 / static_cast<double>(size));
    return;
  }
  const double total = static_cast<double>(tree_.total_mass());
  in_parts(n, poll, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) out.probabilities[i] = masses_[static_cast<std::size_t>(i)] / total;
  });
}

}  // namespace metarl
