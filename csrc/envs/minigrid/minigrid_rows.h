// MiniGrid's rows: the code that the CPU's kernels and the CUDA kernels share; see envs/driver.h.
#pragma once

#include <limits>

#include "envs/driver.h"
#include "envs/minigrid/generate.h"
#include "envs/minigrid/step.h"
#include "envs/minigrid/view.h"

namespace metarl::METARL_ISA_NS {
namespace {

// The state is bytes, row by row; only the task's number, the map seed, is of the type Real.
struct MiniGrid {
  using Real = std::int32_t;
  using Params = minigrid::Params;
  using TaskParams = Params;
  struct State {
    const std::uint8_t* states;
    std::int64_t row;
  };

  METARL_HOST_DEVICE static State load(const Real* fields, std::int64_t, std::int64_t row) {
    return {static_cast<const std::uint8_t*>(static_cast<const void*>(fields)), row};
  }
  // reset_more makes the level.
  METARL_HOST_DEVICE static State reset(const Params&, const PhiloxBlock&, const Real* fields, std::int64_t stride,
                                        std::int64_t row) {
    return load(fields, stride, row);
  }
  METARL_HOST_DEVICE static void store(const State&, Real*, std::int64_t, std::int64_t) {}
  METARL_HOST_DEVICE static Params row_params(const Params& p, const Real* values, std::int64_t, std::int64_t row) {
    Params own = p;
    own.map_seed = values[row];
    return own;
  }

  METARL_HOST_DEVICE static void reset_more(const EnvBatch& b, const Params& p, std::int64_t row) {
    const std::int32_t map_seed = b.task_values == nullptr ? p.map_seed : static_cast<const Real*>(b.task_values)[row];
    const auto random = map_seed < 0 ? minigrid::random_from(b.seed[row], b.stream[row], b.episode[row], kTagEnvReset)
                                     : minigrid::random_from(static_cast<std::uint64_t>(map_seed), 0, 0, kTagEnvMap);
    minigrid::generate(p, static_cast<std::uint8_t*>(b.state) + row * p.row_bytes, random);
  }
  METARL_HOST_DEVICE static void write_obs(const Params& p, const State& s, void* obs, std::int64_t row) {
    minigrid::observe(p, s.states + row * p.row_bytes,
                      static_cast<std::uint8_t*>(obs) + row * static_cast<std::int64_t>(minigrid::kImageBytes));
  }
  METARL_HOST_DEVICE static std::size_t obs_bytes(const Params&) { return minigrid::kImageBytes; }
};

// Views that wait for their light in the innermost cache.
constexpr std::int64_t kViewRows = kBlockRows < 32 ? kBlockRows : 32;

// As minigrid::observe, for `count` rows: their light spreads side by side.
METARL_HD void observe_rows(const minigrid::Params& p, const std::uint8_t* states, std::int64_t count,
                            std::uint8_t* images) {
  using namespace minigrid;
  alignas(64) std::uint64_t view[kViewRows][8];
  alignas(64) std::uint16_t clear[kViewSize][kViewRows], seen[kViewSize][kViewRows], lit[kViewRows];
  alignas(64) Cell cells[kViewRows * kViewCells + kBehindCells];
  for (std::int64_t first = 0; first < count; first += kViewRows) {
    const std::int64_t n = count - first < kViewRows ? count - first : kViewRows;
    const std::uint8_t* const rows = states + first * p.row_bytes;
    for (std::int64_t k = 0; k < n; ++k) {
      load_view(p, rows + k * p.row_bytes, view[k]);
      for (int y = 0; y < kViewSize; ++y) clear[y][k] = static_cast<std::uint16_t>(clear_columns(view[k][y]));
      lit[k] = 1u << kViewMiddle;
    }
    for (int y = kViewSize - 1; y >= 0 && !p.see_through_walls; --y) {
      METARL_VECTORIZE
      for (std::int64_t k = 0; k < n; ++k) {
        const Light l = light(lit[k], clear[y][k]);
        seen[y][k] = static_cast<std::uint16_t>(l.seen);
        lit[k] = static_cast<std::uint16_t>(l.next);
      }
    }
    for (std::int64_t k = 0; k < n; ++k) {
      for (int y = 0; y < kViewSize && !p.see_through_walls; ++y) view[k][y] &= bytes_of(seen[y][k]);
      columns_of(view[k], rows[k * p.row_bytes + kCarrying], cells + k * kViewCells);
    }
    std::uint8_t* const image = images + first * static_cast<std::int64_t>(kImageBytes);
    METARL_VECTORIZE
    for (std::int64_t k = 0; k < n * kViewCells; ++k) write_numbers(cells[k], image + 3 * k);
  }
}

struct MiniGridRows {
  using Model = MiniGrid;
  METARL_HD void step(const EnvBatch& batch, std::int64_t begin, std::int64_t end) {
    const EnvBatch b = batch;
    const minigrid::Params p = *static_cast<const minigrid::Params*>(b.params);
    const auto* const actions = static_cast<const std::uint8_t*>(b.actions);
    auto* const states = static_cast<std::uint8_t*>(b.state);
    auto* const images = static_cast<std::uint8_t*>(b.obs);
    // Without a limit an episode has no end to measure its length by.
    const double limit = b.max_episode_steps == std::numeric_limits<std::int32_t>::max()
                             ? std::numeric_limits<double>::infinity()
                             : static_cast<double>(b.max_episode_steps);
    for (std::int64_t first = begin; first < end; first += kBlockRows) {
      const std::int64_t last = end - first < kBlockRows ? end : first + kBlockRows;
      for (std::int64_t i = first; i < last; ++i) {
        std::uint8_t* const row = states + i * p.row_bytes;
        const minigrid::Outcome outcome = minigrid::step(p, row, actions[i]);
        const double steps = static_cast<double>(b.elapsed[i]) + 1.0;
        b.reward[i] = outcome.success ? 1.0 - 0.9 * (steps / limit) : 0.0;
        b.terminated[i] = static_cast<std::uint8_t>(outcome.success | outcome.failure);
      }
      observe_rows(p, states + first * p.row_bytes, last - first,
                   images + first * static_cast<std::int64_t>(minigrid::kImageBytes));
      finish_rows<MiniGrid>(b, p, first, last);
    }
  }
  METARL_HD void reset(const EnvBatch& b, const std::uint8_t* mask, std::int64_t begin, std::int64_t end) {
    reset_rows<MiniGrid>(b, mask, begin, end);
  }
};

}  // namespace
}  // namespace metarl::METARL_ISA_NS
