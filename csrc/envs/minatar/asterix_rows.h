// Asterix' rows: the code that the CPU's kernels and the CUDA kernels share; see envs/driver.h.
#pragma once

#include "envs/minatar/asterix.h"
#include "envs/minatar/driver.h"

namespace metarl::METARL_ISA_NS {
namespace {

struct Asterix {
  static constexpr int kChannels = minatar::asterix::kChannels;
  static constexpr int kDraws = minatar::asterix::kDraws;
  static constexpr bool kDrawsOntoZeros = true;

  METARL_HOST_DEVICE static void start(const PhiloxBlock&, std::int32_t* f, std::int64_t stride, std::int64_t row) {
    using namespace minatar::asterix;
    f[kPlayerX * stride + row] = 5;
    f[kPlayerY * stride + row] = 5;
    f[kSpawnTimer * stride + row] = kSpawnEvery;
    f[kMoveTimer * stride + row] = kMoveEvery;
    f[kRampTimer * stride + row] = kRampEvery;
    f[kRamp * stride + row] = 0;
    f[kOver * stride + row] = 0;
    for (int i = 0; i < kSlots; ++i) f[(kEntity + i) * stride + row] = 0;
  }

  METARL_HOST_DEVICE static void step(const minatar::StepRows& b) {
    using namespace minatar::asterix;
    using minatar::clamped;
    constexpr std::int32_t kSide = minatar::kSide;
    const std::int64_t stride = b.stride;
    const std::int64_t n = b.count;
    std::int32_t* const player_x = b.fields + kPlayerX * stride;
    std::int32_t* const player_y = b.fields + kPlayerY * stride;
    std::int32_t* const spawn_timer = b.fields + kSpawnTimer * stride;
    std::int32_t* const move_timer = b.fields + kMoveTimer * stride;
    std::int32_t* const ramp_timer = b.fields + kRampTimer * stride;
    std::int32_t* const ramp = b.fields + kRamp * stride;
    std::int32_t* const over = b.fields + kOver * stride;
    const std::int32_t* const action = b.action;
    std::int32_t* const reward = b.reward;
    std::int32_t* const ended = b.ended;
    const std::int32_t* const ramping = b.ramping;
    alignas(64) std::int32_t plays[kBlockRows], moves[kBlockRows];
    for (std::int64_t k = 0; k < n; ++k) {
      if (spawn_timer[k] == 0 && !over[k]) {
        spawn(b, k);
        spawn_timer[k] = spawn_speed(ramp[k]);
      }
    }
    // Products in place of choices: GCC turns a choice between old and new into a branch around the store.
    METARL_VECTORIZE
    for (std::int64_t k = 0; k < n; ++k) {
      const std::int32_t alive = over[k] ^ 1;
      const std::int32_t x = player_x[k], y = player_y[k], timer = move_timer[k], way = action[k];
      plays[k] = alive;
      player_x[k] = clamped(x + alive * ((way == minatar::kRight) - (way == minatar::kLeft)), 0, kSide - 1);
      player_y[k] = clamped(y + alive * ((way == minatar::kDown) - (way == minatar::kUp)), 1, kSide - 2);
      const std::int32_t now = alive & (timer == 0);
      moves[k] = now;
      move_timer[k] = timer + now * move_speed(ramp[k]) - alive;
      reward[k] = 0;
      ended[k] = over[k];
    }
    for (int i = 0; i < kSlots; ++i) {
      std::int32_t* const entity = b.fields + (kEntity + i) * stride;
      METARL_VECTORIZE
      for (std::int64_t k = 0; k < n; ++k) {
        const Met met = advance(entity[k], (player_y[k] == i + 1) & plays[k], player_x[k], moves[k]);
        entity[k] = met.entity;
        reward[k] += met.gold;
        ended[k] |= met.enemy;
      }
    }
    METARL_VECTORIZE
    for (std::int64_t k = 0; k < n; ++k) {
      const std::int32_t alive = plays[k], timer = ramp_timer[k];
      over[k] = ended[k];
      spawn_timer[k] -= alive;
      const std::int32_t ramps = alive & ramping[k] & (ramp[k] < kLastRamp);
      const std::int32_t harder = ramps & (timer < 0);
      ramp[k] += harder;
      ramp_timer[k] = timer - ramps + harder * (kRampEvery + 1 - timer);
    }
  }

  METARL_HOST_DEVICE static void draw(const std::int32_t* f, std::int64_t stride, std::int64_t count,
                                      std::uint8_t* obs) {
    using namespace minatar::asterix;
    constexpr std::int32_t kSide = minatar::kSide;
    constexpr int kMarks = 1 + 2 * kSlots;
    // What is not there marks the player's cell once more.
    alignas(64) std::int32_t mark[kMarks][minatar::kDrawRows];
    METARL_VECTORIZE
    for (std::int64_t k = 0; k < count; ++k) {
      mark[0][k] = (f[kPlayerY * stride + k] * kSide + f[kPlayerX * stride + k]) * kChannels + kPlayer;
    }
    for (int i = 0; i < kSlots; ++i) {
      const std::int32_t* const entity = f + (kEntity + i) * stride;
      std::int32_t* const body = mark[1 + 2 * i];
      std::int32_t* const trail = mark[2 + 2 * i];
      METARL_VECTORIZE
      for (std::int64_t k = 0; k < count; ++k) {
        const std::int32_t e = entity[k], player = mark[0][k];
        const std::int32_t column = e & kColumnBits;
        const std::int32_t behind = column + 1 - ((e >> 3) & 2);
        const std::int32_t lane = (i + 1) * kSide;
        const std::int32_t channel = (e & kGoldBit) != 0 ? kGold : kEnemy;
        body[k] = e != 0 ? (lane + column) * kChannels + channel : player;
        trail[k] = (e != 0) & (behind >= 0) & (behind < kSide) ? (lane + behind) * kChannels + kTrail : player;
      }
    }
    for (std::int64_t k = 0; k < count; ++k, obs += minatar::kCells * kChannels) {
      for (int m = 0; m < kMarks; ++m) obs[mark[m][k]] = 1;
    }
  }

 private:
  // An enemy, or with probability 1/3 gold, from either side into one of the free rows.
  METARL_HOST_DEVICE static void spawn(const minatar::StepRows& b, std::int64_t k) {
    using namespace minatar::asterix;
    std::int32_t free = 0;
    for (int i = 0; i < kSlots; ++i) free += b.fields[(kEntity + i) * b.stride + k] == 0;
    if (free == 0) return;
    bool right, gold;
    std::int32_t choice;
    if (b.draws != nullptr) {
      const double* const draws = b.draws + k * kDraws;
      right = draws[1] < 0.5;
      gold = draws[2] < 1.0 / 3.0;
      choice = minatar::clamped(static_cast<std::int32_t>(draws[3]), 0, free - 1);
    } else {
      right = minatar::below(b.word[1][k], 2) == 0;
      gold = minatar::below(b.word[2][k], 3) == 0;
      choice = minatar::below(b.word[3][k], free);
    }
    for (int i = 0; i < kSlots; ++i) {
      std::int32_t& entity = b.fields[(kEntity + i) * b.stride + k];
      if (entity != 0) continue;
      if (choice-- == 0) {
        entity = kThere | (right ? kRightBit : minatar::kSide - 1) | (gold ? kGoldBit : 0);
        return;
      }
    }
  }
};

}  // namespace
}  // namespace metarl::METARL_ISA_NS
