// Levels on a grid of equal rooms with doors between them (core/roomgrid.py, unlock.py, keycorridor.py of the package).
#pragma once

#include <cstdint>

#include "envs/minigrid/build.h"

namespace metarl::minigrid {

METARL_HD Rectangle room_at(const Params& p, std::int32_t i, std::int32_t j) {
  return {i * (p.room_size - 1), j * (p.room_size - 1), p.room_size, p.room_size};
}

// A place in a room and a direction, of those pairs that do not look at an object.
METARL_HD void draw_agent_in_room(const Level& level, Random& random, const Rectangle& r) {
  std::int32_t left = -1;
  for (int pass = 0; pass < 2; ++pass) {
    std::int32_t count = 0;
    for (std::int32_t y = r.y; y < r.y + r.height; ++y) {
      for (std::int32_t x = r.x; x < r.x + r.width; ++x) {
        if (at(level, x, y) != kNothing) continue;
        for (std::int32_t direction = 0; direction < 4; ++direction) {
          const Place front = ahead(x, y, direction);
          if (!is_one_of(kind_of(at(level, front.x, front.y)), 1u << kEmpty | 1u << kWall)) continue;
          if (count++ == left) return put_agent(level, {x, y}, direction);
        }
      }
    }
    left = below(random, count);
  }
}

// Two rooms, a locked door between them, the key in the first.
METARL_HD void build_unlock(const Params& p, const Level& level, Random& random) {
  const Rectangle room = room_at(p, 0, 0);
  wall_around(level, room);
  wall_around(level, room_at(p, 1, 0));
  const std::int32_t y = between(random, 1, p.room_size - 1);
  const auto colour = static_cast<std::uint8_t>(below(random, kColours));
  put_target(level, {p.room_size - 1, y}, cell(kLockedDoor, colour));
  const Place key = draw_empty(level, random, room, kNowhere);
  at(level, key.x, key.y) = cell(kKey, colour);
  draw_agent_in_room(level, random, room);
}

constexpr std::int32_t kCorridorColumns = 3;
constexpr std::int32_t kMaxCorridorRows = 8;

// Rows of three rooms. The middle ones are one corridor; a ball is locked into one on the right, and the key to it is
// in one on the left.
METARL_HD void build_key_corridor(const Params& p, const Level& level, Random& random) {
  const std::int32_t rows = p.count, step = p.room_size - 1;
  // Where a door in the wall to the room on the right and below would be, and whether there is a way.
  std::int32_t right_y[kMaxCorridorRows][kCorridorColumns], below_x[kMaxCorridorRows][kCorridorColumns];
  bool right_open[kMaxCorridorRows][kCorridorColumns] = {}, below_open[kMaxCorridorRows][kCorridorColumns] = {};
  for (std::int32_t j = 0; j < rows; ++j) {
    for (std::int32_t i = 0; i < kCorridorColumns; ++i) wall_around(level, room_at(p, i, j));
  }
  for (std::int32_t j = 0; j < rows; ++j) {
    for (std::int32_t i = 0; i < kCorridorColumns; ++i) {
      right_y[j][i] = i + 1 < kCorridorColumns ? j * step + between(random, 1, step) : 0;
      below_x[j][i] = j + 1 < rows ? i * step + between(random, 1, step) : 0;
    }
  }
  for (std::int32_t j = 1; j < rows; ++j) {
    for (std::int32_t k = 1; k < step; ++k) at(level, step + k, j * step) = kNothing;
    below_open[j - 1][1] = true;
  }
  const std::int32_t locked = below(random, rows);
  const auto door = static_cast<std::uint8_t>(below(random, kColours));
  at(level, 2 * step, right_y[locked][1]) = cell(kLockedDoor, door);
  right_open[locked][1] = true;
  // The package keeps objects from where the agent of a grid of rooms would start, which is in the corridor.
  const Place ball = draw_empty(level, random, room_at(p, 2, locked), kNowhere);
  put_target(level, ball, cell(kBall, static_cast<std::uint8_t>(below(random, kColours))));
  const Place key = draw_empty(level, random, room_at(p, 0, below(random, rows)), kNowhere);
  at(level, key.x, key.y) = cell(kKey, door);
  draw_agent_in_room(level, random, room_at(p, 1, rows / 2));
  // Doors, of any colour, in walls that are drawn from those left, until every room is connected. The package draws
  // rooms and sides until it hits such a wall, and gives up after 5000 draws; here each door makes progress.
  const std::uint32_t all = (1u << (kCorridorColumns * rows)) - 1;
  for (;;) {
    std::uint32_t reached = 1u << (kCorridorColumns * (rows / 2) + 1);
    for (std::uint32_t before = 0; before != reached;) {
      before = reached;
      for (std::int32_t j = 0; j < rows; ++j) {
        for (std::int32_t i = 0; i < kCorridorColumns; ++i) {
          const std::uint32_t here = 1u << (kCorridorColumns * j + i);
          const std::uint32_t right = here | here << 1, under = here | here << kCorridorColumns;
          if (right_open[j][i] && (reached & right)) reached |= right;
          if (below_open[j][i] && (reached & under)) reached |= under;
        }
      }
    }
    if (reached == all) return;
    std::int32_t left = -1;
    for (int pass = 0; pass < 2; ++pass) {
      std::int32_t count = 0;
      for (std::int32_t j = 0; j < rows; ++j) {
        for (std::int32_t i = 0; i < kCorridorColumns; ++i) {
          const bool is_locked = i == 2 && j == locked;
          if (i + 1 < kCorridorColumns && !right_open[j][i] && count++ == left) {
            at(level, (i + 1) * step, right_y[j][i]) =
                cell(kClosedDoor, static_cast<std::uint8_t>(below(random, kColours)));
            right_open[j][i] = true;
          }
          const bool next_locked = i == 2 && j + 1 == locked;
          if (j + 1 < rows && !below_open[j][i] && !is_locked && !next_locked && count++ == left) {
            at(level, below_x[j][i], (j + 1) * step) =
                cell(kClosedDoor, static_cast<std::uint8_t>(below(random, kColours)));
            below_open[j][i] = true;
          }
        }
      }
      if (pass == 0) left = below(random, count);
    }
  }
}

}  // namespace metarl::minigrid
