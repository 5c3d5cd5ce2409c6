// Actions that a rollout draws (see RolloutActions). Included by kernel files only; see driver.h.
#pragma once

#include <cstdint>

#include "driver.h"

namespace metarl {

// Of the rows [begin, end), from the step that each is at: uint8 in [0, num_actions), or with num_actions 0
// action_size floats in [low, high].
METARL_HD void draw_actions(const EnvBatch& batch, int num_actions, int action_size, double low, double high, void* out,
                            std::int64_t begin, std::int64_t end) {
  const auto choices = static_cast<std::uint64_t>(num_actions);
  std::uint32_t word[2][kBlockRows];
  for (std::int64_t first = begin; first < end; first += kBlockRows) {
    const std::int64_t count = end - first < kBlockRows ? end - first : kBlockRows;
    const std::uint64_t* const seed = batch.seed + first;
    const std::uint32_t* const stream = batch.stream + first;
    const std::uint32_t* const episode = batch.episode + first;
    const std::int32_t* const elapsed = batch.elapsed + first;
    // Words 0 and 1 of a block of each row. For the further parts of an action there are further blocks.
    const auto draw = [&](std::uint32_t block) {
      METARL_VECTORIZE
      for (std::int64_t k = 0; k < count; ++k) {
        const PhiloxBlock random = philox4x32(seed[k], stream[k], static_cast<std::uint32_t>(elapsed[k]), episode[k],
                                              kTagEnvAction + 256 * block);
        word[0][k] = random.v[0];
        word[1][k] = random.v[1];
      }
    };
    draw(0);
    if (choices > 0) {
      auto* const actions = static_cast<std::uint8_t*>(out) + first;
      METARL_VECTORIZE
      for (std::int64_t k = 0; k < count; ++k) {
        // The high word of a product of 64 bits with the number of choices.
        actions[k] = static_cast<std::uint8_t>((word[0][k] * choices + (word[1][k] * choices >> 32)) >> 32);
      }
    } else {
      for (std::int64_t part = 0; part < action_size; ++part) {
        if (part > 0) draw(static_cast<std::uint32_t>(part));
        auto* const actions = static_cast<float*>(out) + first * action_size + part;
        METARL_VECTORIZE
        for (std::int64_t k = 0; k < count; ++k) {
          actions[k * action_size] = static_cast<float>(low + (high - low) * uniform53(word[0][k], word[1][k]));
        }
      }
    }
  }
}

}  // namespace metarl
