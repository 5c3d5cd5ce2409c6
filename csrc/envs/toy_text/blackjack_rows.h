// Blackjack's rows: the code that the CPU's kernels and the CUDA kernels share; see envs/driver.h.
#pragma once

#include "envs/driver.h"
#include "envs/toy_text/blackjack.h"

namespace metarl::METARL_ISA_NS {
namespace {

struct Blackjack {
  using Real = std::int32_t;
  using Params = blackjack::Params;
  using TaskParams = Params;
  using State = blackjack::State;

  // In the order of the definition's task_parameters.
  METARL_HOST_DEVICE static TaskParams row_params(const Params&, const Real* t, std::int64_t stride, std::int64_t row) {
    return {.natural = t[row] != 0, .sutton_barto = t[stride + row] != 0};
  }
  METARL_HOST_DEVICE static State load(const Real* f, std::int64_t stride, std::int64_t row) {
    return {{f[row], f[stride + row], f[2 * stride + row]},
            {f[3 * stride + row], f[4 * stride + row], f[5 * stride + row]},
            f[6 * stride + row]};
  }
  METARL_HOST_DEVICE static void store(const State& s, Real* f, std::int64_t stride, std::int64_t row) {
    f[row] = s.player.sum;
    f[stride + row] = s.player.ace;
    f[2 * stride + row] = s.player.cards;
    f[3 * stride + row] = s.dealer.sum;
    f[4 * stride + row] = s.dealer.ace;
    f[5 * stride + row] = s.dealer.cards;
    f[6 * stride + row] = s.showing;
  }
  METARL_HOST_DEVICE static State reset(const Params&, const PhiloxBlock& random, const Real*, std::int64_t,
                                        std::int64_t) {
    return blackjack::reset(random);
  }
  METARL_HOST_DEVICE static void write_obs(const Params&, const State& s, void* obs, std::int64_t row) {
    auto* const out = static_cast<std::int64_t*>(obs) + row * 3;
    out[0] = blackjack::value_of(s.player);
    out[1] = s.showing;
    out[2] = blackjack::has_usable_ace(s.player);
  }
  METARL_HOST_DEVICE static std::size_t obs_bytes(const Params&) { return 3 * sizeof(std::int64_t); }
};

// The cards of one step: a block of random numbers gives four.
struct Cards {
  const EnvBatch& b;
  std::int64_t row;
  int taken = 0;
  PhiloxBlock block{};

  METARL_HOST_DEVICE std::int32_t operator()() {
    const int card = taken++;
    if (b.draws != nullptr) {
      return blackjack::card_of_rank(static_cast<std::int32_t>(b.draws[row * blackjack::kMaxCards + card] * 13.0));
    }
    if (card % 4 == 0) block = step_random(b, row, static_cast<std::uint32_t>(card / 4));
    return blackjack::card_from(block.v[card % 4]);
  }
};

struct BlackjackRows {
  using Model = Blackjack;
  METARL_HD void step(const EnvBatch& batch, std::int64_t begin, std::int64_t end) {
    const EnvBatch b = batch;
    const auto& p = *static_cast<const blackjack::Params*>(b.params);
    const auto* const tasks = static_cast<const std::int32_t*>(b.task_values);
    auto* const fields = static_cast<std::int32_t*>(b.state);
    const auto* const actions = static_cast<const std::uint8_t*>(b.actions);
    for (std::int64_t first = begin; first < end; first += kBlockRows) {
      const std::int64_t last = end - first < kBlockRows ? end : first + kBlockRows;
      for (std::int64_t i = first; i < last; ++i) {
        if (b.mode == AutoresetMode::next_step && b.done[i]) continue;  // finish_rows resets it
        blackjack::State s = Blackjack::load(fields, b.stride, i);
        Cards cards{b, i};
        const blackjack::Params rules = tasks == nullptr ? p : Blackjack::row_params(p, tasks, b.stride, i);
        b.terminated[i] = blackjack::step(rules, s, actions[i], cards, b.reward[i]);
        Blackjack::store(s, fields, b.stride, i);
        Blackjack::write_obs(p, s, b.obs, i);
      }
      finish_rows<Blackjack>(b, p, first, last);
    }
  }
  METARL_HD void reset(const EnvBatch& b, const std::uint8_t* mask, std::int64_t begin, std::int64_t end) {
    reset_rows<Blackjack>(b, mask, begin, end);
  }
};

}  // namespace
}  // namespace metarl::METARL_ISA_NS
