// Catch's rows: the code that the CPU's kernels and the CUDA kernels share; see envs/driver.h.
#pragma once

#include "envs/bsuite/catch_ball.h"
#include "envs/driver.h"

namespace metarl::METARL_ISA_NS {
namespace {

struct Catch {
  using Real = std::int32_t;
  using Params = catch_ball::Params;
  using State = catch_ball::State;

  METARL_HOST_DEVICE static State load(const Real* f, std::int64_t stride, std::int64_t row) {
    return {f[row], f[stride + row], f[2 * stride + row], f[3 * stride + row]};
  }
  METARL_HOST_DEVICE static void store(const State& s, Real* f, std::int64_t stride, std::int64_t row) {
    f[row] = s.ball_row;
    f[stride + row] = s.ball_column;
    f[2 * stride + row] = s.paddle;
    f[3 * stride + row] = s.misses;
  }
  METARL_HOST_DEVICE static State reset(const Params& p, const PhiloxBlock& random, const Real* f, std::int64_t stride,
                                        std::int64_t row) {
    return catch_ball::reset(p, random, f[3 * stride + row]);
  }
  // Fills the two cells of one board.
  METARL_HOST_DEVICE static void fill(const Params& p, const State& s, float* board, float value) {
    board[s.ball_row * p.columns + s.ball_column] = value;
    board[(p.rows - 1) * p.columns + s.paddle] = value;
  }
  METARL_HOST_DEVICE static void write_obs(const Params& p, const State& s, void* obs, std::int64_t row) {
    float* const board = static_cast<float*>(obs) + row * p.rows * p.columns;
    std::memset(board, 0, obs_bytes(p));
    fill(p, s, board, 1.0f);
  }
  METARL_HOST_DEVICE static std::size_t obs_bytes(const Params& p) {
    return sizeof(float) * static_cast<std::size_t>(p.rows) * static_cast<std::size_t>(p.columns);
  }
};

struct CatchRows {
  using Model = Catch;
  METARL_HD void step(const EnvBatch& batch, std::int64_t begin, std::int64_t end) {
    const EnvBatch b = batch;
    const catch_ball::Params p = *static_cast<const catch_ball::Params*>(b.params);
    auto* const fields = static_cast<std::int32_t*>(b.state);
    const auto* const actions = static_cast<const std::uint8_t*>(b.actions);
    const std::int64_t cells = std::int64_t{p.rows} * p.columns;
    for (std::int64_t first = begin; first < end; first += kBlockRows) {
      const std::int64_t last = end - first < kBlockRows ? end : first + kBlockRows;
      float* board = static_cast<float*>(b.obs) + first * cells;
      if (!b.obs_holds_last) std::memset(board, 0, static_cast<std::size_t>(last - first) * Catch::obs_bytes(p));
      for (std::int64_t i = first; i < last; ++i, board += cells) {
        if (b.mode == AutoresetMode::next_step && b.done[i]) continue;  // finish_rows resets it
        catch_ball::State s = Catch::load(fields, b.stride, i);
        if (s.ball_row == p.rows - 1) {  // only after a state was set by hand
          b.reward[i] = 0.0;
          b.terminated[i] = 1;
        } else {
          if (b.obs_holds_last) Catch::fill(p, s, board, 0.0f);
          b.terminated[i] = catch_ball::step(p, s, actions[i], b.reward[i]);
          Catch::store(s, fields, b.stride, i);
        }
        Catch::fill(p, s, board, 1.0f);
      }
      finish_rows<Catch>(b, p, first, last);
    }
  }
  METARL_HD void reset(const EnvBatch& b, const std::uint8_t* mask, std::int64_t begin, std::int64_t end) {
    reset_rows<Catch>(b, mask, begin, end);
  }
};

}  // namespace
}  // namespace metarl::METARL_ISA_NS
