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
  double mean[kMaxArms];
  double noise_scale;   // standard deviation of what is added to a reward
  double reward_scale;  // factor of a reward
};

// Box-Muller from words 0 and 1.
METARL_HD double normal_from(const PhiloxBlock& random) {
  const double radius_uniform = (static_cast<double>(random.v[0]) + 0.5) * 0x1.0p-32;
  const double angle = static_cast<double>(random.v[1]) * (0x1.921fb54442d18p+2 * 0x1.0p-32);
  return std::sqrt(-2.0 * natural_log(radius_uniform)) * sincos(angle).cos;
}

}  // namespace metarl::bandit
