// MinAtar's Space Invaders: a cannon shoots at a block of aliens that comes down in turns and shoots back, 1 point an
// alien; a cleared block is followed by a faster one (the package minatar, minatar/environments/space_invaders.py).
#pragma once

#include "envs/minatar/game.h"

namespace metarl::minatar::space_invaders {

constexpr int kDraws = 1;  // random numbers of the test hook: for sticking
constexpr std::int32_t kShotEvery = 5;
constexpr std::int32_t kAlienShotEvery = 10;
constexpr std::int32_t kMoveEvery = 12;
constexpr std::int32_t kLastRamp = 6;
constexpr std::int32_t kStart = 5;
constexpr std::int32_t kLastColumn = kSide - 1;

enum Channel { kCannon, kAlien, kAlienLeft, kAlienRight, kFriendlyBullet, kEnemyBullet, kChannels };

// A map of the board: bit 10 * (row % 3) + column of word row / 3.
constexpr int kWords = 4;
constexpr std::int32_t kRowBits = (1 << kSide) - 1;
constexpr std::int32_t kWordBits = (1 << (3 * kSide)) - 1;

enum Field {
  kLastAction,  // kLastActionField
  kPosition,
  kDirection,  // of the aliens: -1 or 1
  kMoveTimer,
  kAlienShotTimer,
  kShotTimer,
  kRamp,  // the reference's ramp_index, which its enemy_move_interval follows from
  kOver,
  kAliens,
  kFriendly = kAliens + kWords,
  kEnemy = kFriendly + kWords,
  kFields = kEnemy + kWords
};

struct Map {
  std::int32_t word[kWords];
};

METARL_HD Map one_up(const Map& m) {
  return {{m.word[0] >> kSide | (m.word[1] & kRowBits) << (2 * kSide),
           m.word[1] >> kSide | (m.word[2] & kRowBits) << (2 * kSide), m.word[2] >> kSide | m.word[3] << (2 * kSide),
           0}};
}

// What leaves the last row is lost.
METARL_HD Map one_down(const Map& m) {
  return {{(m.word[0] << kSide) & kWordBits, ((m.word[1] << kSide) & kWordBits) | m.word[0] >> (2 * kSide),
           ((m.word[2] << kSide) & kWordBits) | m.word[1] >> (2 * kSide), m.word[2] >> (2 * kSide)}};
}

METARL_HD std::int32_t count_bits(const Map& m) {
  std::int32_t count = 0;
  for (const std::int32_t word : m.word) {
    for (std::int32_t rest = word; rest != 0; rest &= rest - 1) ++count;
  }
  return count;
}

METARL_HD std::int32_t row_of(const Map& m, int row) { return (m.word[row / 3] >> (kSide * (row % 3))) & kRowBits; }

// The columns that have a bit anywhere.
METARL_HD std::int32_t columns_of(const Map& m) {
  const std::int32_t all = m.word[0] | m.word[1] | m.word[2];
  return (all | all >> kSide | all >> (2 * kSide) | m.word[3]) & kRowBits;
}

// The first block of aliens: four rows of six.
METARL_HD Map new_wave() {
  constexpr std::int32_t kRow = 0xfc;
  return {{kRow | kRow << kSide | kRow << (2 * kSide), kRow, 0, 0}};
}

struct Fleet {
  Map aliens;
  std::int32_t direction, move_timer, over;
};

// A move of the aliens: sideways, or at the edge down and about. From the last row they come back in at the top.
METARL_HD void move_aliens(Fleet& fleet, std::int32_t position, std::int32_t ramp) {
  const std::int32_t count = count_bits(fleet.aliens);
  fleet.move_timer = count < kMoveEvery - ramp ? count : kMoveEvery - ramp;
  const std::int32_t columns = columns_of(fleet.aliens);
  if (fleet.direction < 0 ? columns & 1 : columns >> kLastColumn) {
    fleet.direction = -fleet.direction;
    const std::int32_t last_row = fleet.aliens.word[3];
    if (last_row != 0) fleet.over = 1;
    fleet.aliens = one_down(fleet.aliens);
    fleet.aliens.word[0] |= last_row;
  } else {
    for (std::int32_t& word : fleet.aliens.word) word = fleet.direction < 0 ? word >> 1 : word << 1;
  }
  fleet.over |= (fleet.aliens.word[3] >> position) & 1;
}

struct Cell {
  std::int32_t row, column;
};

// The lowest alien of the column nearest to the cannon, of two at the same distance the left one. There is one.
METARL_HD Cell shooter(const Map& aliens, std::int32_t position) {
  const std::int32_t columns = columns_of(aliens);
  std::int32_t column = position;
  for (std::int32_t distance = 0; distance < kSide; ++distance) {
    const std::int32_t left = position - distance, right = position + distance;
    column = left >= 0 && (columns >> left) & 1 ? left : right;
    if (column < kSide && (columns >> column) & 1) break;
  }
  std::int32_t row = kSide - 1;
  while (row > 0 && !((row_of(aliens, row) >> column) & 1)) --row;
  return {row, column};
}

}  // namespace metarl::minatar::space_invaders
