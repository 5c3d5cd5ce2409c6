// What MinAtar's five games share (Young and Tian, "MinAtar: an Atari-inspired testbed", 2019): a 10 x 10 board seen as
// booleans by channel, six actions of which a game uses some, and actions that stick.
#pragma once

#include <cstdint>

#include "metarl/detail/hd.h"

namespace metarl::minatar {

constexpr int kSide = 10;
constexpr int kCells = kSide * kSide;

// The reference's numbers of the actions.
enum Action : std::int32_t { kNothing = 0, kLeft = 1, kUp = 2, kRight = 3, kDown = 4, kFire = 5 };
constexpr int kActions = 6;

struct Params {
  std::int32_t num_actions;    // of the action set
  std::uint32_t action_set;    // four bits each: the reference's number of action 0, 1, ...
  double sticky_probability;   // that the last action is taken instead
  std::uint64_t sticky_below;  // the same as a limit for 32 random bits
  bool ramping;                // whether the game gets harder
};

// Every game's first field: the reference's number of the action that was taken last, in this episode or the one
// before.
constexpr int kLastActionField = 0;

METARL_HD std::int32_t clamped(std::int32_t x, std::int32_t low, std::int32_t high) {
  const std::int32_t above = x < low ? low : x;
  return above > high ? high : above;
}

// 32 random bits to an integer in [0, n).
METARL_HD std::int32_t below(std::uint32_t bits, std::int32_t n) {
  return static_cast<std::int32_t>((std::uint64_t{bits} * static_cast<std::uint64_t>(n)) >> 32);
}

}  // namespace metarl::minatar
