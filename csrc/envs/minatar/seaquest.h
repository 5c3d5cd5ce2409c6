// MinAtar's Seaquest: a submarine shoots fish and other submarines, picks up divers and must come up for air with one
// of them on board; 1 point a hit, and up to 10 for six divers (the package minatar, minatar/environments/seaquest.py).
//
// The reference keeps bullets, divers and enemies in lists, whose order matters: they are walked from the end, and what
// is removed is the first that equals what is meant, which moves the rest along. Here they are lists too, in slots.
//
// No list can overflow. Let `left` be the steps an enemy stays at most: timer + 1 + (9 - moves made) * (move_speed +
// 1). It is at most 59 after the step an enemy appears in (move_speed <= 5), and falls with every step. With
// spawn_speed steps between two spawns and spawn_timer until the next, the j-th largest `left` (from 0) is then at most
//   60 - spawn_speed + spawn_timer - spawn_speed * j,
// which every step preserves, as does a lower spawn_speed: so there are at most 59 enemies, and 60 within a step. In
// the same way at most 2 divers (30 steps between two, 60 steps each) and 2 own bullets (5 steps between two, 10 each).
// An enemy's bullet flies 9 more steps after the one it appears in, a submarine shoots every 11 steps: the bullets that
// fly longer than i steps plus the submarines that shoot within i + 1 steps are at most 60 for each i, since for i = 9
// they are submarines only, and each i follows from i + 1 in the step before. valid_state asks for all of this.
#pragma once

#include "envs/minatar/game.h"

namespace metarl::minatar::seaquest {

// Of the test hook: for sticking; for an enemy its side, its kind and its row; for a diver its side and its row.
constexpr int kDraws = 6;
constexpr std::int32_t kMaxOxygen = 200;
constexpr std::int32_t kSpawnEvery = 20;
constexpr std::int32_t kDiverEvery = 30;
constexpr std::int32_t kMoveEvery = 5;
constexpr std::int32_t kFastestMove = 2;
constexpr std::int32_t kDiverMoveEvery = 5;
constexpr std::int32_t kShotEvery = 5;
constexpr std::int32_t kEnemyShotEvery = 10;
constexpr std::int32_t kLastRamp = 19;
constexpr std::int32_t kMaxDivers = 6;
// The reference counts below 0 after six divers were brought up, one a surfacing; here not on for ever.
constexpr std::int32_t kFewestDivers = -(1 << 30);
constexpr std::int32_t kLastColumn = kSide - 1;
constexpr std::int32_t kLastRow = kSide - 2;  // of the water

enum Channel {
  kFront,
  kBack,
  kFriendlyBullet,
  kTrail,
  kEnemyBullet,
  kFish,
  kEnemySub,
  kOxygenGauge,
  kDiverGauge,
  kDiver,
  kChannels
};

// Lists and how many they hold at most.
enum List { kShots, kDivers, kTorpedoes, kFishes, kSubs, kLists };

METARL_HD constexpr std::int32_t capacity_of(int list) {
  constexpr std::int32_t kCapacity[kLists] = {2, 2, 60, 60, 60};
  return kCapacity[list];
}

enum Field {
  kLastAction,  // kLastActionField
  kSubX,
  kSubY,
  kFacesRight,
  kOxygen,
  kDiverCount,
  kSpawnTimer,
  kDiverTimer,
  kShotTimer,
  kRamp,     // the reference's ramp_index, which its e_spawn_speed and move_speed follow from
  kSurface,  // at the surface, and up for air already
  kOver,
  kCounts,
  kSlots = kCounts + kLists,
  kFields = kSlots + 2 + 2 + 60 + 60 + 60
};

METARL_HD std::int32_t first_slot(int list) {
  std::int32_t slot = kSlots;
  for (int l = 0; l < list; ++l) slot += capacity_of(l);
  return slot;
}

// What is in a slot (0: nothing): column + kOffset, row, whether it moves right, steps to its move, steps to its shot.
// Equal numbers mean that the reference's lists are equal. Within a step, columns may be two outside of the board.
constexpr std::int32_t kOffset = 2;
constexpr int kRowShift = 4, kRightShift = 8, kTimerShift = 9, kReloadShift = 12;
constexpr std::int32_t kPlaceBits = 0xff, kTimerOne = 1 << kTimerShift, kReloadOne = 1 << kReloadShift;

METARL_HD std::int32_t place(std::int32_t x, std::int32_t y) { return (x + kOffset) | y << kRowShift; }
METARL_HD std::int32_t thing(std::int32_t x, std::int32_t y, std::int32_t right, std::int32_t timer,
                             std::int32_t reload) {
  return place(x, y) | right << kRightShift | timer << kTimerShift | reload << kReloadShift;
}
METARL_HD std::int32_t column_of(std::int32_t t) { return (t & 15) - kOffset; }
METARL_HD std::int32_t row_of(std::int32_t t) { return (t >> kRowShift) & 15; }
METARL_HD std::int32_t right_of(std::int32_t t) { return (t >> kRightShift) & 1; }
METARL_HD std::int32_t timer_of(std::int32_t t) { return (t >> kTimerShift) & 7; }
METARL_HD std::int32_t reload_of(std::int32_t t) { return (t >> kReloadShift) & 15; }
METARL_HD std::int32_t moved(std::int32_t t) { return t + 2 * right_of(t) - 1; }
METARL_HD bool is_outside(std::int32_t t) { return column_of(t) < 0 || column_of(t) > kLastColumn; }

// Steps between two enemies, and between two of an enemy's moves less one.
METARL_HD std::int32_t spawn_speed(std::int32_t ramp) { return kSpawnEvery - ramp; }
METARL_HD std::int32_t move_speed(std::int32_t ramp) {
  const std::int32_t speed = kMoveEvery - (ramp >> 1);
  return speed < kFastestMove ? kFastestMove : speed;
}

}  // namespace metarl::minatar::seaquest
