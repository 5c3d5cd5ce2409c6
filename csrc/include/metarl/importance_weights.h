// Importance-sampling weights of prioritized replay (Schaul et al., "Prioritized experience replay", ICLR 2016, section
// 3.4): w_i = (N * P(i))^-beta, divided by what the normalisation names.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace metarl {

enum class WeightNormalization {
  max,        // by the largest weight any item of the buffer could have: that of the smallest probability
  batch_max,  // by the largest weight of the batch
  sum,        // by the sum of the batch's weights: they add up to 1
  none,
};

// Throws std::invalid_argument, listing the valid names.
WeightNormalization weight_normalization(const std::string& name);
const char* weight_normalization_name(WeightNormalization normalization) noexcept;

// Weights of n items with integer masses (P = mass / total). min_mass: smallest positive mass of the buffer; size: N.
// Masses and total may be 0 together (all priorities zero, uniform sampling): the weights are then equal.
// `poll`, here and below, is called every few milliseconds, if given; what it throws leaves the weights half written.
void mass_importance_weights(const std::uint32_t* masses, std::int64_t n, std::uint64_t total, std::uint32_t min_mass,
                             std::int64_t size, double beta, WeightNormalization normalization, float* weights,
                             const std::function<void()>& poll = {});

// The same for given probabilities. min_probability: the smallest of the buffer, used by `max` alone; 0 means that
// `probabilities` holds the whole distribution. Returns false, with undefined weights, if a probability is not in (0,
// 1] or a weight is not finite.
bool importance_weights(const double* probabilities, std::int64_t n, std::int64_t size, double beta,
                        WeightNormalization normalization, double min_probability, double* weights,
                        const std::function<void()>& poll = {});

// The same in single precision, computed directly (about 0.55 ulp for beta <= 4), from probabilities of either
// precision.
bool importance_weights(const double* probabilities, std::int64_t n, std::int64_t size, double beta,
                        WeightNormalization normalization, double min_probability, float* weights,
                        const std::function<void()>& poll = {});
bool importance_weights(const float* probabilities, std::int64_t n, std::int64_t size, double beta,
                        WeightNormalization normalization, double min_probability, float* weights,
                        const std::function<void()>& poll = {});

}  // namespace metarl
