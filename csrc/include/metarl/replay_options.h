// What replay buffers are constructed with, and what a sample asks for.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "metarl/importance_weights.h"
#include "metarl/sampling_mode.h"
#include "metarl/transition_store.h"

namespace metarl {

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
