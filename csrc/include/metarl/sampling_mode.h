// How a batch is drawn.
#pragma once

namespace metarl {

enum class SamplingMode {
  stratified,           // draw i from the i-th of n equal slices of the total
  independent,          // identically distributed, with replacement
  uniform,              // every valid slot equally likely, whatever its priority; independent
  without_replacement,  // successive proportional draws, each slot at most once
};

}  // namespace metarl
