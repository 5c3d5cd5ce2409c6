// MinAtar's Breakout: a paddle keeps a ball in play that breaks a wall of three rows of bricks, 1 point a brick; a ball
// that gets past the paddle ends the episode (the package minatar, minatar/environments/breakout.py).
#pragma once

#include "envs/minatar/game.h"

namespace metarl::minatar::breakout {

enum Channel { kPaddle, kBall, kTrail, kBrick, kChannels };

enum Field {
  kLastAction,  // kLastActionField
  kBallX,
  kBallY,      // the last row: the episode is over
  kDirection,  // 0: up left, 1: up right, 2: down right, 3: down left
  kLastX,
  kLastY,
  kPosition,
  kBricks,  // bit 10 * (row - 1) + column for rows 1 to 3
  kStrike,  // the ball is inside a brick or has just broken one
  kFields
};

constexpr int kDraws = 1;  // random numbers of the test hook: for sticking
constexpr std::int32_t kFirstBrickRow = 1;
constexpr std::int32_t kBrickRows = 3;
constexpr std::int32_t kWall = (1 << (kBrickRows * kSide)) - 1;
constexpr std::int32_t kFloor = kSide - 1;

struct State {
  std::int32_t ball_x, ball_y, direction, last_x, last_y, position, bricks, strike;
};

// Returns the reward. Free of branches, so that rows can be stepped side by side.
METARL_HD std::int32_t step(State& s, std::int32_t action) {
  const std::int32_t over = s.ball_y == kFloor;
  const std::int32_t position = clamped(s.position + (action == kRight) - (action == kLeft), 0, kFloor);
  std::int32_t direction = s.direction;
  const std::int32_t next_x = s.ball_x + 2 * ((direction ^ (direction >> 1)) & 1) - 1;
  const std::int32_t x = clamped(next_x, 0, kFloor);
  direction ^= x != next_x;  // off a side wall
  std::int32_t y = s.ball_y + 2 * (direction >> 1) - 1;
  const std::int32_t ceiling = y < 0;
  const std::int32_t among_bricks = (y >= kFirstBrickRow) & (y < kFirstBrickRow + kBrickRows);
  const std::int32_t bit = among_bricks ? (y - kFirstBrickRow) * kSide + x : 31;  // bit 31 is never set
  const std::int32_t brick = (s.bricks >> bit) & 1;
  // Inside a brick the ball breaks none, until it has been outside of all.
  const std::int32_t hit = brick & (s.strike ^ 1);
  std::int32_t bricks = s.bricks ^ static_cast<std::int32_t>(static_cast<std::uint32_t>(hit) << bit);
  const std::int32_t low = y == kFloor;
  bricks = (low & (bricks == 0)) ? kWall : bricks;
  const std::int32_t under_ball = low & (s.ball_x == position);
  const std::int32_t under_way = low & (x == position) & (under_ball ^ 1);
  direction ^= (ceiling | hit | under_ball) ? 3 : under_way ? 2 : 0;
  y = ceiling ? 0 : (hit | under_ball | under_way) ? s.ball_y : y;
  s.last_x = over ? s.last_x : s.ball_x;
  s.last_y = over ? s.last_y : s.ball_y;
  s.ball_x = over ? s.ball_x : x;
  s.ball_y = over ? s.ball_y : y;
  s.direction = over ? s.direction : direction;
  s.position = over ? s.position : position;
  s.bricks = over ? s.bricks : bricks;
  s.strike = over ? s.strike : brick;
  return over ? 0 : hit;
}

}  // namespace metarl::minatar::breakout
