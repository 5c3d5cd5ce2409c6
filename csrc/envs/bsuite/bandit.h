// Bandit: one choice among arms whose mean rewards are spread over [0, 1] (bsuite bandit, bandit_noise, bandit_scale).
#pragma once

#include <cmath>
#include <cstdint>

#include "metarl/detail/hd.h"
#include "metarl/detail/math.h"
#include "metarl/detail/philox.h"

namespace metarl::bandit {

constexpr int kMaxArms = 128;

struct Params {
  std::int32_t arms;
  double mean[kMaxArms];
  double level[kMaxArms];  // the means, ascending
  double noise_scale;      // standard deviation of what is added to a reward
  double reward_scale;     // factor of a reward
};

// Columns of a task's numbers, in the order of the definition's task_parameters. A row's layout is which of the
// ascending means each arm has.
enum TaskColumn : int { kNoiseScale, kRewardScale, kMappingSeed };

// Box-Muller from words 0 and 1.
METARL_HD double normal_from(const PhiloxBlock& random) {
  const double radius_uniform = (static_cast<double>(random.v[0]) + 0.5) * 0x1.0p-32;
  const double angle = static_cast<double>(random.v[1]) * (0x1.921fb54442d18p+2 * 0x1.0p-32);
  return std::sqrt(-2.0 * natural_log(radius_uniform)) * sincos(angle).cos;
}

}  // namespace metarl::bandit
