#include <algorithm>
#include <limits>
#include <stdexcept>
#include <vector>

#include "core/poll.h"
#include "core/tree_kernels.h"
#include "metarl/detail/probability_weights.h"
#include "metarl/importance_weights.h"

namespace metarl {
namespace {

// Divides by the sum, added up in order: the bits do not depend on the vector width.
template <typename T>
void normalize_sum(T* weights, std::int64_t n, const Poll& poll) {
  double sum = 0.0;
  in_parts(n, poll, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) sum += weights[i];
  });
  in_parts(n, poll, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) weights[i] = static_cast<T>(weights[i] / sum);
  });
}

}  // namespace

WeightNormalization weight_normalization(const std::string& name) {
  if (name == "max") return WeightNormalization::max;
  if (name == "batch_max") return WeightNormalization::batch_max;
  if (name == "sum") return WeightNormalization::sum;
  if (name == "none") return WeightNormalization::none;
  throw std::invalid_argument("weight normalization is '" + name + "'; must be 'max', 'batch_max', 'sum' or 'none'");
}

const char* weight_normalization_name(WeightNormalization normalization) noexcept {
  switch (normalization) {
    case WeightNormalization::max:
      return "max";
    case WeightNormalization::batch_max:
      return "batch_max";
    case WeightNormalization::sum:
      return "sum";
    case WeightNormalization::none:
      break;
  }
  return "none";
}

void mass_importance_weights(const std::uint32_t* masses, std::int64_t n, std::uint64_t total, std::uint32_t min_mass,
                             std::int64_t size, double beta, WeightNormalization normalization, float* weights,
                             const Poll& poll) {
  if (n == 0) return;
  if (total == 0) {
    std::fill_n(weights, n,
                normalization == WeightNormalization::sum ? static_cast<float>(1.0 / static_cast<double>(n)) : 1.0f);
    return;
  }
  // (N P)^-beta over its largest value is (m_min / m)^beta: the total and N cancel exactly.
  double numerator = static_cast<double>(total) / static_cast<double>(size);
  if (normalization == WeightNormalization::max) numerator = min_mass;
  if (normalization == WeightNormalization::batch_max || normalization == WeightNormalization::sum) {
    std::uint32_t least = ~0u;
    in_parts(n, poll, [&](std::int64_t begin, std::int64_t end) {
      least = std::min(least, METARL_SELECT_KERNEL(smallest_mass)(masses + begin, end - begin));
    });
    numerator = least;
  }
  in_parts(n, poll, [&](std::int64_t begin, std::int64_t end) {
    METARL_SELECT_KERNEL(mass_weights)(masses + begin, end - begin, numerator, beta, weights + begin);
  });
  if (normalization == WeightNormalization::sum) normalize_sum(weights, n, poll);
}

namespace {

bool check_part(const double* probabilities, std::int64_t n, double* smallest) {
  return METARL_SELECT_KERNEL(check_probabilities)(probabilities, n, smallest);
}

bool check_part(const float* probabilities, std::int64_t n, double* smallest) {
  return METARL_SELECT_KERNEL(check_probabilities_float)(probabilities, n, smallest);
}

// Whether all are in (0, 1], and the smallest one.
template <typename T>
bool check(const T* probabilities, std::int64_t n, double* smallest, const Poll& poll) {
  bool inside = true;
  *smallest = 1.0;
  in_parts(n, poll, [&](std::int64_t begin, std::int64_t end) {
    double least = 1.0;
    inside = inside && check_part(probabilities + begin, end - begin, &least);
    *smallest = std::min(*smallest, least);
  });
  return inside;
}

bool power(const double* probabilities, std::int64_t n, double log2_ratio, double beta, float* weights) {
  return METARL_SELECT_KERNEL(probability_weights_short)(probabilities, n, log2_ratio, beta, weights);
}

bool power(const float* probabilities, std::int64_t n, double log2_ratio, double beta, float* weights) {
  return METARL_SELECT_KERNEL(probability_weights_float)(probabilities, n, log2_ratio, beta, weights);
}

}  // namespace

bool importance_weights(const double* probabilities, std::int64_t n, std::int64_t size, double beta,
                        WeightNormalization normalization, double min_probability, double* weights, const Poll& poll) {
  double smallest = 1.0;
  if (!check(probabilities, n, &smallest, poll)) return false;
  if (normalization == WeightNormalization::none) smallest = 1.0;
  if (normalization == WeightNormalization::max && min_probability > 0.0) smallest = min_probability;
  // (N P)^-beta over its largest value is (P / P_min)^-beta: N cancels.
  const double factor = normalization == WeightNormalization::none ? static_cast<double>(size) : 1.0;
  // A quotient by less could overflow.
  const bool extreme = smallest < kExtremeProbability && beta != 1.0;
  bool finite = true;
  in_parts(n, poll, [&](std::int64_t begin, std::int64_t end) {
    if (extreme) {
      for (std::int64_t i = begin; i < end; ++i) {
        weights[i] = extreme_probability_weight(probabilities[i], smallest, beta);
      }
      return;
    }
    const bool fine = METARL_SELECT_KERNEL(probability_weights)(probabilities + begin, end - begin, factor, smallest,
                                                                beta, weights + begin);
    finite = finite && fine;
  });
  if (normalization == WeightNormalization::sum) normalize_sum(weights, n, poll);
  if (finite && !extreme && normalization != WeightNormalization::sum) return true;
  return METARL_SELECT_KERNEL(all_finite)(weights, n);
}

namespace {

template <typename T>
bool short_importance_weights(const T* probabilities, std::int64_t n, std::int64_t size, double beta,
                              WeightNormalization normalization, double min_probability, float* weights,
                              const Poll& poll) {
  double smallest = 1.0;
  if (!check(probabilities, n, &smallest, poll)) return false;
  const bool extreme =
      smallest < kExtremeProbability || (min_probability > 0.0 && min_probability < kExtremeProbability);
  if (extreme || beta == 1.0 || beta == 0.0) {
    std::vector<double> given;
    std::vector<double> wide;
    grow(&given, static_cast<std::size_t>(n), poll);
    grow(&wide, static_cast<std::size_t>(n), poll);
    in_parts(n, poll, [&](std::int64_t begin, std::int64_t end) {
      std::copy(probabilities + begin, probabilities + end, given.begin() + begin);
    });
    if (!importance_weights(given.data(), n, size, beta, normalization, min_probability, wide.data(), poll)) {
      return false;
    }
    bool finite = true;
    in_parts(n, poll, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        weights[i] = static_cast<float>(wide[static_cast<std::size_t>(i)]);
        finite = finite && weights[i] <= std::numeric_limits<float>::max();
      }
    });
    return finite;
  }
  if (normalization == WeightNormalization::none) smallest = 1.0;
  if (normalization == WeightNormalization::max && min_probability > 0.0) smallest = min_probability;
  double log2_ratio = log2_short(smallest);
  if (normalization == WeightNormalization::none) log2_ratio -= log2_short(static_cast<double>(size));
  bool finite = true;
  in_parts(n, poll, [&](std::int64_t begin, std::int64_t end) {
    const bool fine = power(probabilities + begin, end - begin, log2_ratio, beta, weights + begin);
    finite = finite && fine;
  });
  if (normalization == WeightNormalization::sum) normalize_sum(weights, n, poll);
  return finite;
}

}  // namespace

bool importance_weights(const double* probabilities, std::int64_t n, std::int64_t size, double beta,
                        WeightNormalization normalization, double min_probability, float* weights, const Poll& poll) {
  return short_importance_weights(probabilities, n, size, beta, normalization, min_probability, weights, poll);
}

bool importance_weights(const float* probabilities, std::int64_t n, std::int64_t size, double beta,
                        WeightNormalization normalization, double min_probability, float* weights, const Poll& poll) {
  return short_importance_weights(probabilities, n, size, beta, normalization, min_probability, weights, poll);
}

}  // namespace metarl
