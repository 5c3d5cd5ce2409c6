// MinAtar's Asterix: enemies and gold cross the board's eight inner rows; 1 point a piece of gold, an enemy ends the
// episode; more of them and faster ones as time goes on (the package minatar, minatar/environments/asterix.py).
#pragma once

#include "envs/minatar/game.h"

namespace metarl::minatar::asterix {

constexpr int kSlots = 8;  // slot i is in row i + 1: an enemy, a piece of gold, or nothing
constexpr int kDraws = 4;  // of the test hook: for sticking; for a spawn its side, its kind and which of the free slots
constexpr std::int32_t kSpawnEvery = 10;
constexpr std::int32_t kMoveEvery = 5;
constexpr std::int32_t kRampEvery = 100;
constexpr std::int32_t kLastRamp = 9;

enum Channel { kPlayer, kEnemy, kTrail, kGold, kChannels };

enum Field {
  kLastAction,  // kLastActionField
  kPlayerX,
  kPlayerY,
  kSpawnTimer,
  kMoveTimer,
  kRampTimer,
  kRamp,  // the reference's ramp_index, which its spawn_speed and move_speed follow from
  kOver,
  kEntity,
  kFields = kEntity + kSlots
};

// An entity: 0 for none, else kThere with the column in the lowest bits and two flags.
constexpr std::int32_t kColumnBits = 15, kRightBit = 16, kGoldBit = 32, kThere = 64;

// Steps between two spawns, and between two moves.
METARL_HD std::int32_t spawn_speed(std::int32_t ramp) { return kSpawnEvery - ramp; }
METARL_HD std::int32_t move_speed(std::int32_t ramp) { return kMoveEvery - (ramp >> 1); }

struct Met {
  std::int32_t entity, gold, enemy;
};

// One entity in a step: meets a player in its row (`near`), moves if it is time, meets again. Free of branches.
METARL_HD Met advance(std::int32_t entity, std::int32_t near, std::int32_t player_x, std::int32_t moves) {
  const std::int32_t gold = (entity >> 5) & 1;
  std::int32_t there = entity >> 6;
  const std::int32_t column = entity & kColumnBits;
  const std::int32_t first = there & near & (column == player_x);
  there &= (first & gold) ^ 1;
  const std::int32_t to = column + moves * (((entity >> 3) & 2) - 1);
  there &= (to >= 0) & (to < kSide);
  const std::int32_t second = there & near & moves & (to == player_x);
  there &= (second & gold) ^ 1;
  const std::int32_t met = first | second;  // gold is met once, an enemy ends the episode
  return {there * (kThere | (entity & (kGoldBit | kRightBit)) | (to & kColumnBits)), met & gold, met & (gold ^ 1)};
}

}  // namespace metarl::minatar::asterix
