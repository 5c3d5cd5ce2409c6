// Breakout's rows: the code that the CPU's kernels and the CUDA kernels share; see envs/driver.h.
#pragma once

#include <bit>

#include "envs/minatar/breakout.h"
#include "envs/minatar/driver.h"

namespace metarl::METARL_ISA_NS {
namespace {

struct Breakout {
  static constexpr int kChannels = minatar::breakout::kChannels;
  static constexpr int kDraws = minatar::breakout::kDraws;
  static constexpr bool kDrawsOntoZeros = true;

  METARL_HOST_DEVICE static void start(const PhiloxBlock& random, std::int32_t* f, std::int64_t stride,
                                       std::int64_t row) {
    using namespace minatar::breakout;
    const std::int32_t right = minatar::below(random.v[0], 2);
    f[kBallX * stride + row] = right ? minatar::kSide - 1 : 0;
    f[kBallY * stride + row] = 3;
    f[kDirection * stride + row] = right ? 3 : 2;
    f[kLastX * stride + row] = f[kBallX * stride + row];
    f[kLastY * stride + row] = 3;
    f[kPosition * stride + row] = 4;
    f[kBricks * stride + row] = kWall;
    f[kStrike * stride + row] = 0;
  }

  METARL_HOST_DEVICE static void step(const minatar::StepRows& b) {
    using namespace minatar::breakout;
    const std::int64_t stride = b.stride;
    std::int32_t* const f = b.fields;
    const std::int32_t* const action = b.action;
    std::int32_t* const reward = b.reward;
    std::int32_t* const ended = b.ended;
    METARL_VECTORIZE
    for (std::int64_t k = 0; k < b.count; ++k) {
      State s{f[kBallX * stride + k], f[kBallY * stride + k],    f[kDirection * stride + k], f[kLastX * stride + k],
              f[kLastY * stride + k], f[kPosition * stride + k], f[kBricks * stride + k],    f[kStrike * stride + k]};
      reward[k] = minatar::breakout::step(s, action[k]);
      ended[k] = s.ball_y == kFloor;
      f[kBallX * stride + k] = s.ball_x;
      f[kBallY * stride + k] = s.ball_y;
      f[kDirection * stride + k] = s.direction;
      f[kLastX * stride + k] = s.last_x;
      f[kLastY * stride + k] = s.last_y;
      f[kPosition * stride + k] = s.position;
      f[kBricks * stride + k] = s.bricks;
      f[kStrike * stride + k] = s.strike;
    }
  }

  METARL_HOST_DEVICE static void draw(const std::int32_t* f, std::int64_t stride, std::int64_t count,
                                      std::uint8_t* obs) {
    using namespace minatar::breakout;
    // Four channels: a cell is one word, and nothing but bricks is in it so far. Two cells more than the wall has,
    // which get zeros, make whole vectors.
    constexpr std::uint32_t kOne = std::endian::native == std::endian::little ? 1u << 24 : 1u;
    constexpr int kWords = 32;
    constexpr std::int32_t kSide = minatar::kSide;
    for (std::int64_t k = 0; k < count; ++k, obs += minatar::kCells * kChannels) {
      const auto bricks = static_cast<std::uint32_t>(f[kBricks * stride + k]);
      alignas(64) std::uint32_t words[kWords];
      for (std::uint32_t j = 0; j < kWords; ++j) words[j] = ((bricks >> j) & 1u) * kOne;
      std::memcpy(obs + kFirstBrickRow * kSide * kChannels, words, sizeof(words));
      obs[(f[kBallY * stride + k] * kSide + f[kBallX * stride + k]) * kChannels + kBall] = 1;
      obs[(kFloor * kSide + f[kPosition * stride + k]) * kChannels + kPaddle] = 1;
      obs[(f[kLastY * stride + k] * kSide + f[kLastX * stride + k]) * kChannels + kTrail] = 1;
    }
  }
};

}  // namespace
}  // namespace metarl::METARL_ISA_NS
