// Freeway's rows: the code that the CPU's kernels and the CUDA kernels share; see envs/driver.h.
#pragma once

#include "envs/minatar/driver.h"
#include "envs/minatar/freeway.h"

namespace metarl::METARL_ISA_NS {
namespace {

struct Freeway {
  static constexpr int kChannels = minatar::freeway::kChannels;
  static constexpr int kDraws = minatar::freeway::kDraws;
  static constexpr bool kDrawsOntoZeros = true;

  METARL_HOST_DEVICE static void start(const PhiloxBlock& random, std::int32_t* f, std::int64_t stride,
                                       std::int64_t row) {
    using namespace minatar::freeway;
    f[kPosition * stride + row] = kStart;
    f[kMoveTimer * stride + row] = kMoveEvery;
    f[kTimeLeft * stride + row] = kTimeLimit;
    std::int32_t speed[kCars];
    draw_speeds(random.v[0], random.v[1], speed);
    for (int i = 0; i < kCars; ++i) f[(kCarX + i) * stride + row] = 0;
    set_speeds(speed, f, stride, row);
  }

  METARL_HOST_DEVICE static void step(const minatar::StepRows& b) {
    using namespace minatar::freeway;
    const std::int64_t stride = b.stride;
    const std::int64_t n = b.count;
    std::int32_t* const position = b.fields + kPosition * stride;
    std::int32_t* const move_timer = b.fields + kMoveTimer * stride;
    std::int32_t* const time_left = b.fields + kTimeLeft * stride;
    const std::int32_t* const action = b.action;
    std::int32_t* const reward = b.reward;
    std::int32_t* const ended = b.ended;
    alignas(64) std::int32_t over[kBlockRows];
    METARL_VECTORIZE
    for (std::int64_t k = 0; k < n; ++k) {
      over[k] = time_left[k] < 0;
      const Crossing c = cross(position[k], move_timer[k], action[k]);
      position[k] = over[k] ? position[k] : c.position;
      move_timer[k] = over[k] ? move_timer[k] : c.move_timer;
      reward[k] = over[k] ? 0 : c.reward;
    }
    for (std::int64_t k = 0; k < n; ++k) {
      if (reward[k]) {
        std::int32_t speed[kCars];
        if (b.draws != nullptr) {
          given_speeds(b.draws + k * kDraws + 1, speed);
        } else {
          draw_speeds(b.word[2][k], b.word[3][k], speed);
        }
        set_speeds(speed, b.fields, stride, k);
      }
    }
    for (int i = 0; i < kCars; ++i) {
      std::int32_t* const car_x = b.fields + (kCarX + i) * stride;
      std::int32_t* const car_timer = b.fields + (kCarTimer + i) * stride;
      const std::int32_t* const car_speed = b.fields + (kCarSpeed + i) * stride;
      // Products in place of choices: GCC turns a choice between old and new into a branch around the store.
      METARL_VECTORIZE
      for (std::int64_t k = 0; k < n; ++k) {
        const std::int32_t x = car_x[k], timer = car_timer[k], speed = car_speed[k], row = position[k];
        const std::int32_t plays = over[k] ^ 1;
        const std::int32_t moves = (timer == 0) & plays;
        const std::int32_t to = x + moves * (next_column(x, speed) - x);
        const std::int32_t hit = (row == i + 1) & ((x == kColumn) | (to == kColumn)) & plays;
        car_x[k] = to;
        car_timer[k] = timer - plays + moves * (magnitude(speed) + 1);
        position[k] = row + hit * (kStart - row);
      }
    }
    METARL_VECTORIZE
    for (std::int64_t k = 0; k < n; ++k) {
      move_timer[k] -= (move_timer[k] > 0) & (over[k] ^ 1);
      time_left[k] -= over[k] ^ 1;
      ended[k] = time_left[k] < 0;
    }
  }

  METARL_HOST_DEVICE static void draw(const std::int32_t* f, std::int64_t stride, std::int64_t count,
                                      std::uint8_t* obs) {
    using namespace minatar::freeway;
    constexpr std::int32_t kRowBytes = minatar::kSide * kChannels;
    constexpr int kMarks = 1 + 2 * kCars;
    // Where the ones go is found for all rows side by side: row by row, the fields lie far apart.
    alignas(64) std::int32_t mark[kMarks][minatar::kDrawRows];
    METARL_VECTORIZE
    for (std::int64_t k = 0; k < count; ++k) {
      mark[0][k] = f[kPosition * stride + k] * kRowBytes + kColumn * kChannels + kChicken;
    }
    for (int i = 0; i < kCars; ++i) {
      const std::int32_t* const car_x = f + (kCarX + i) * stride;
      const std::int32_t* const car_speed = f + (kCarSpeed + i) * stride;
      std::int32_t* const body = mark[1 + 2 * i];
      std::int32_t* const trail = mark[2 + 2 * i];
      METARL_VECTORIZE
      for (std::int64_t k = 0; k < count; ++k) {
        const std::int32_t speed = car_speed[k];
        body[k] = (i + 1) * kRowBytes + car_x[k] * kChannels + kCar;
        trail[k] =
            (i + 1) * kRowBytes + next_column(car_x[k], -speed) * kChannels + kTrailOfSpeed1 - 1 + magnitude(speed);
      }
    }
    for (std::int64_t k = 0; k < count; ++k, obs += minatar::kCells * kChannels) {
      for (int m = 0; m < kMarks; ++m) obs[mark[m][k]] = 1;
    }
  }

 private:
  METARL_HOST_DEVICE static void set_speeds(const std::int32_t* speed, std::int32_t* f, std::int64_t stride,
                                            std::int64_t row) {
    using namespace minatar::freeway;
    for (int i = 0; i < kCars; ++i) {
      f[(kCarSpeed + i) * stride + row] = speed[i];
      f[(kCarTimer + i) * stride + row] = magnitude(speed[i]);
    }
  }
  METARL_HOST_DEVICE static void given_speeds(const double* draws, std::int32_t* speed) {
    using namespace minatar::freeway;
    for (int i = 0; i < kCars; ++i) {
      speed[i] = minatar::clamped(static_cast<std::int32_t>(draws[i]), 1, kSlowest);
      if (draws[kCars + i] < 0.5) speed[i] = -speed[i];
    }
  }
};

}  // namespace
}  // namespace metarl::METARL_ISA_NS
