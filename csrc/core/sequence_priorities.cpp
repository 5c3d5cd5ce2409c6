#include "metarl/sequence_priorities.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "core/number_text.h"

namespace metarl {

void mix_sequence_errors(const float* td_errors, const std::uint8_t* mask, std::int64_t n, const StreamOptions& options,
                         float* priorities, std::int64_t first) {
  const std::int64_t length = options.sequence_length;
  for (std::int64_t i = 0; i < n; ++i) {
    double largest = 0.0;
    double sum = 0.0;
    std::int64_t count = 0;
    for (std::int64_t t = options.burn_in; t < length; ++t) {
      const std::int64_t k = i * length + t;
      if (mask != nullptr && mask[k] == 0) continue;
      if (!std::isfinite(td_errors[k])) {
        throw std::invalid_argument("td_errors[" + std::to_string(first + i) + ", " + std::to_string(t) + "] is " +
                                    text_of_infinite(td_errors[k]) + "; must be finite");
      }
      const double error = std::abs(static_cast<double>(td_errors[k]));
      largest = std::max(largest, error);
      sum += error;
      ++count;
    }
    if (count == 0) {
      throw std::invalid_argument("mask of sequence " + std::to_string(first + i) + " has no step behind burn_in");
    }
    priorities[i] = static_cast<float>(options.priority_mix * largest +
                                       (1.0 - options.priority_mix) * sum / static_cast<double>(count));
  }
}

}  // namespace metarl
