// The importance weight of one probability, as the CPU and the CUDA kernels compute it; see importance_weights.h.
#pragma once

#include "metarl/detail/hd.h"
#include "metarl/detail/pow.h"

namespace metarl {

// Quotients of probabilities by less than this may overflow.
constexpr double kExtremeProbability = 0x1p-1000;

// (p * factor / divisor)^-beta for beta other than 0 and 1.
METARL_HD double general_probability_weight(double p, double factor, double divisor, double beta) {
  return pow_general(p * factor / divisor, -beta);
}

// The same for beta = 1.
METARL_HD double inverse_probability_weight(double p, double factor, double divisor) { return divisor / (p * factor); }

// (p / smallest)^-beta where the quotient may overflow: it is then split into two, whose powers do not exceed 1.
METARL_HD double extreme_probability_weight(double p, double smallest, double beta) {
  const double quotient = p / smallest;
  if (quotient <= 0x1.fffffffffffffp1023) return pow_positive(quotient, -beta);
  return pow_positive(p * 0x1p-200 / smallest, -beta) * pow_positive(0x1p-200, beta);
}

// (2^log2_ratio / p)^beta in single precision, for a normal p and beta other than 0 and 1.
METARL_HD float short_probability_weight(double p, double log2_ratio, double beta) {
  return static_cast<float>(exp2_short(beta * (log2_ratio - log2_short(p))));
}

}  // namespace metarl
