// What MiniGrid's environments share (Chevalier-Boisvert et al., "Minigrid & Miniworld", NeurIPS 2023; the package
// minigrid): a grid of cells, an agent with a position, a direction and a hand, seven actions.
//
// One byte a cell: MiniGrid's object number in the low four bits, two more for doors that are not open, its colour in
// the next three, and in the highest whether one sees nothing behind it.
#pragma once

#include <cstdint>

#include "metarl/detail/hd.h"

namespace metarl::minigrid {

enum Kind : std::uint8_t {
  kEmpty = 1,
  kWall = 2,
  kOpenDoor = 4,
  kKey = 5,
  kBall = 6,
  kGoal = 8,
  kLava = 9,
  // Doors, as MiniGrid's object 4 with state 1 and 2.
  kClosedDoor = 11,
  kLockedDoor = 12,
};
enum Colour : std::uint8_t { kRed, kGreen, kBlue, kPurple, kYellow, kGrey, kColours };
enum Action : std::uint8_t { kLeft, kRight, kForward, kPickUp, kDrop, kToggle, kDone, kActions };

using Cell = std::uint8_t;
constexpr Cell kOpaque = 128;

METARL_HD constexpr Cell cell(Kind kind, std::uint8_t colour) {
  const bool opaque = kind == kWall || kind == kClosedDoor || kind == kLockedDoor;
  return static_cast<Cell>(kind | colour << 4 | (opaque ? kOpaque : 0));
}
METARL_HD constexpr std::uint32_t kind_of(Cell c) { return c & 15u; }
METARL_HD constexpr std::uint8_t colour_of(Cell c) { return (c >> 4) & 7u; }

constexpr Cell kNothing = cell(kEmpty, 0);  // also in the hand
constexpr Cell kGreyWall = cell(kWall, kGrey);
constexpr Cell kGreenGoal = cell(kGoal, kGreen);
constexpr Cell kRedLava = cell(kLava, kRed);

METARL_HD constexpr bool is_one_of(std::uint32_t kind, std::uint32_t kinds) { return ((kinds >> kind) & 1u) != 0; }
constexpr std::uint32_t kPassable = 1u << kEmpty | 1u << kOpenDoor | 1u << kGoal | 1u << kLava;
constexpr std::uint32_t kPortable = 1u << kKey | 1u << kBall;
constexpr std::uint32_t kDoors = 1u << kOpenDoor | 1u << kClosedDoor | 1u << kLockedDoor;

enum Family : std::int32_t {
  kEmptyRoom,
  kDoorKey,
  kMultiRoom,
  kKeyCorridor,
  kFourRooms,
  kUnlock,
  kCrossing,
  kFamilies
};

struct Params {
  std::int32_t family;
  std::int32_t width, height;
  std::int32_t row_bytes;  // of one row's state
  std::int32_t count;      // MultiRoom: rooms; KeyCorridor: rows of rooms; Crossing: rivers
  std::int32_t room_size;  // KeyCorridor, Unlock: with the walls; MultiRoom: the largest
  bool random_start;       // Empty: the agent starts anywhere
  bool lava;               // Crossing: rivers of lava, else walls
  bool see_through_walls;  // Empty
  std::int32_t map_seed;   // -1: a new level every episode
};

// A row's state: these bytes, then the cells row by row. view.h reads up to six bytes in front of the cells.
enum Field {
  kAgentX,
  kAgentY,
  kDirection,  // 0: right, 1: down, 2: left, 3: up
  kCarrying,   // the cell of what is in the hand; kNothing: nothing
  kTargetX,    // where the target was when the episode began
  kTargetY,
  kTarget,  // the cell of what ends the episode: the goal, KeyCorridor's ball, Unlock's door
  kHeader
};

struct Level {
  std::uint8_t* row;
  std::int32_t width, height;
};

METARL_HD Cell& at(const Level& level, std::int32_t x, std::int32_t y) {
  return level.row[kHeader + y * level.width + x];
}
METARL_HD bool is_inside(const Level& level, std::int32_t x, std::int32_t y) {
  return (x >= 0) & (x < level.width) & (y >= 0) & (y < level.height);
}

struct Place {
  std::int32_t x, y;
};

METARL_HD Place ahead(std::int32_t x, std::int32_t y, std::int32_t direction) {
  const std::int32_t sign = 1 - (direction & 2);
  const std::int32_t vertical = direction & 1;
  return {x + (vertical ? 0 : sign), y + (vertical ? sign : 0)};
}

}  // namespace metarl::minigrid
