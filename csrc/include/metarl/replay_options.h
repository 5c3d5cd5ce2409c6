// What replay buffers are constructed with, and what a sample asks for.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "metarl/importance_weights.h"
#include "metarl/transition_store.h"

namespace metarl {

enum class SamplingMode {
  stratified,           // draw i from the i-th of n equal slices of the total
  independent,          // identically distributed, with replacement
  uniform,              // every valid slot equally likely, whatever its priority
  without_replacement,  // successive proportional draws, each slot at most once
};

struct ReplayOptions {
  std::int64_t capacity = 0;
  std::vector<FieldSpec> fields;
  std::uint64_t seed = 0;
};

struct PrioritizedOptions {
  double alpha = 0.6;
  float eps = 1e-6f;
  float max_priority = std::numeric_limits<float>::max();
  WeightNormalization weight_normalization = WeightNormalization::max;
};

struct SampleRequest {
  std::int64_t n = 0;
  double beta = 0.0;  // ignored by a uniform buffer
  SamplingMode mode = SamplingMode::stratified;
};

}  // namespace metarl
