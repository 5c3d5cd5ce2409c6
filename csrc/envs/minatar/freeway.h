// MinAtar's Freeway: a chicken crosses eight lanes of cars, 1 point a crossing, after which the cars' speeds are drawn
// anew; 2501 steps an episode (the package minatar, minatar/environments/freeway.py).
#pragma once

#include "envs/minatar/game.h"
#include "metarl/detail/philox.h"

namespace metarl::minatar::freeway {

constexpr int kCars = 8;             // car i drives in row i + 1
constexpr std::int32_t kColumn = 4;  // of the chicken
constexpr std::int32_t kStart = kSide - 1;
constexpr std::int32_t kMoveEvery = 3;
constexpr std::int32_t kTimeLimit = 2500;
constexpr std::int32_t kSlowest = 5;

enum Channel { kChicken, kCar, kTrailOfSpeed1, kChannels = kTrailOfSpeed1 + kSlowest };

enum Field {
  kLastAction,  // kLastActionField
  kPosition,
  kMoveTimer,
  kTimeLeft,  // below 0: the episode is over
  kCarX,
  kCarTimer = kCarX + kCars,
  kCarSpeed = kCarTimer + kCars,  // steps between two moves, at least 1, negative to the left
  kFields = kCarSpeed + kCars
};

// Random numbers of the test hook: for sticking; then, used in a step that crosses, as the reference draws them: eight
// speeds of 1 to 5, and eight numbers in [0, 1) of which those below a half turn a speed to the left.
constexpr int kDraws = 1 + 2 * kCars;

METARL_HD std::int32_t magnitude(std::int32_t speed) { return speed < 0 ? -speed : speed; }

// The column beside x in the speed's direction or, with -speed, behind it; the road is a ring.
METARL_HD std::int32_t next_column(std::int32_t x, std::int32_t speed) {
  const std::int32_t next = x + 2 * (speed > 0) - 1;
  return next + kSide * ((next < 0) - (next >= kSide));
}

// Eight speeds, each of 1 to 5 in either direction, from 64 random bits: digits to the base 10 of a fraction of 60
// bits.
METARL_HD void draw_speeds(std::uint32_t high, std::uint32_t low, std::int32_t speed[kCars]) {
  std::uint64_t fraction = (std::uint64_t{high} << 32 | low) >> 4;
  for (int i = 0; i < kCars; ++i) {
    fraction *= 2 * kSlowest;
    const auto digit = static_cast<std::int32_t>(fraction >> 60);
    fraction &= (std::uint64_t{1} << 60) - 1;
    speed[i] = (digit >> 1) + 1;
    if (digit & 1) speed[i] = -speed[i];
  }
}

struct Crossing {
  std::int32_t position, move_timer, reward;
};

// The chicken's move of a step, before the cars'.
METARL_HD Crossing cross(std::int32_t position, std::int32_t move_timer, std::int32_t action) {
  const std::int32_t up = (action == kUp) & (move_timer == 0);
  const std::int32_t down = (action == kDown) & (move_timer == 0);
  const std::int32_t to = clamped(position - up + down, 0, kStart);
  return {to == 0 ? kStart : to, (up | down) ? kMoveEvery : move_timer, to == 0};
}

}  // namespace metarl::minatar::freeway
