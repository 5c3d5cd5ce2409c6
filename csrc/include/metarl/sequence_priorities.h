// Priorities of sequences from the TD errors of their steps (Kapturowski et al., "Recurrent experience replay in
// distributed reinforcement learning", ICLR 2019, section 2.3): eta * max |error| + (1 - eta) * mean |error|.
#pragma once

#include <cstdint>

#include "metarl/replay_options.h"

namespace metarl {

// Of n sequences with options.sequence_length steps each: mixes the errors of the steps behind options.burn_in with
// eta = options.priority_mix, in double precision. `mask` (one number a step, 0: it does not count) may be null.
// Throws std::invalid_argument that names the sequence (the first one is number `first`): an error that counts is not
// finite, or none counts.
void mix_sequence_errors(const float* td_errors, const std::uint8_t* mask, std::int64_t n, const StreamOptions& options,
                         float* priorities, std::int64_t first = 0);

}  // namespace metarl
