#include "metarl/sequence_priorities.h"

#include <cmath>
#include <stdexcept>
#include <string>

#include "core/number_text.h"
#include "metarl/detail/sequence_errors.h"

namespace metarl {

void mix_sequence_errors(const float* td_errors, const std::uint8_t* mask, std::int64_t n, const StreamOptions& options,
                         float* priorities, std::int64_t first) {
  const std::int64_t length = options.sequence_length;
  for (std::int64_t i = 0; i < n; ++i) {
    SequenceErrors errors;
    for (std::int64_t t = options.burn_in; t < length; ++t) {
      const std::int64_t k = i * length + t;
      if (mask != nullptr && mask[k] == 0) continue;
      if (!std::isfinite(td_errors[k])) {
        throw std::invalid_argument("td_errors[" + std::to_string(first + i) + ", " + std::to_string(t) + "] is " +
                                    text_of_infinite(td_errors[k]) + "; must be finite");
      }
      add_error(&errors, td_errors[k]);
    }
    if (errors.count == 0) {
      throw std::invalid_argument("mask of sequence " + std::to_string(first + i) + " has no step behind burn_in");
    }
    priorities[i] = mixed_error(errors, options.priority_mix);
  }
}

}  // namespace metarl
