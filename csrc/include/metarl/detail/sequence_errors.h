// One priority of the TD errors of a sequence's steps; see metarl/sequence_priorities.h. Shared by the CPU's buffer and
// the CUDA kernels.
#pragma once

#include <cstdint>

#include "metarl/detail/hd.h"

namespace metarl {

// Of the steps that count so far; their errors are finite.
struct SequenceErrors {
  double largest = 0.0;
  double sum = 0.0;
  std::int64_t count = 0;
};

METARL_HD void add_error(SequenceErrors* errors, float td_error) {
  const double wide = static_cast<double>(td_error);
  const double error = wide < 0.0 ? -wide : wide;
  errors->largest = error > errors->largest ? error : errors->largest;
  errors->sum += error;
  ++errors->count;
}

METARL_HD float mixed_error(const SequenceErrors& errors, double priority_mix) {
  return static_cast<float>(priority_mix * errors.largest +
                            (1.0 - priority_mix) * errors.sum / static_cast<double>(errors.count));
}

}  // namespace metarl
