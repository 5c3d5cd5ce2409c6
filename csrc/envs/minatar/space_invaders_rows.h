// Space Invaders' rows: the code that the CPU's kernels and the CUDA kernels share; see envs/driver.h.
#pragma once

#include "envs/minatar/driver.h"
#include "envs/minatar/space_invaders.h"

namespace metarl::METARL_ISA_NS {
namespace {

// Five cells as bits to their bytes in an observation, the first channel's set. Zeros before and after, so that what is
// read from `channel` bytes earlier is the pattern of that channel.
constexpr int kHalf = minatar::kSide / 2;
constexpr int kHalfBytes = kHalf * minatar::space_invaders::kChannels;
struct Patterns {
  static constexpr int kBefore = 8, kRead = 32;
  std::uint8_t byte[1 << kHalf][kBefore + kRead]{};
  constexpr Patterns() {
    for (int bits = 0; bits < 1 << kHalf; ++bits) {
      for (int cell = 0; cell < kHalf; ++cell) {
        byte[bits][kBefore + cell * minatar::space_invaders::kChannels] = static_cast<std::uint8_t>((bits >> cell) & 1);
      }
    }
  }
};

struct SpaceInvaders {
  static constexpr int kChannels = minatar::space_invaders::kChannels;
  static constexpr int kDraws = minatar::space_invaders::kDraws;
  static constexpr bool kDrawsOntoZeros = false;

  METARL_HOST_DEVICE static void start(const PhiloxBlock&, std::int32_t* f, std::int64_t stride, std::int64_t row) {
    using namespace minatar::space_invaders;
    f[kPosition * stride + row] = kStart;
    f[kDirection * stride + row] = -1;
    f[kMoveTimer * stride + row] = kMoveEvery;
    f[kAlienShotTimer * stride + row] = kAlienShotEvery;
    f[kShotTimer * stride + row] = 0;
    f[kRamp * stride + row] = 0;
    f[kOver * stride + row] = 0;
    store(new_wave(), f + kAliens * stride + row, stride);
    store({}, f + kFriendly * stride + row, stride);
    store({}, f + kEnemy * stride + row, stride);
  }

  METARL_HOST_DEVICE static void step(const minatar::StepRows& b) {
    using namespace minatar::space_invaders;
    const std::int64_t stride = b.stride;
    const std::int64_t n = b.count;
    std::int32_t* const f = b.fields;
    std::int32_t* const position = f + kPosition * stride;
    std::int32_t* const move_timer = f + kMoveTimer * stride;
    std::int32_t* const alien_shot_timer = f + kAlienShotTimer * stride;
    std::int32_t* const shot_timer = f + kShotTimer * stride;
    std::int32_t* const over = f + kOver * stride;
    const std::int32_t* const action = b.action;
    std::int32_t* const reward = b.reward;
    std::int32_t* const ended = b.ended;
    alignas(64) std::int32_t plays[kBlockRows], killed[kBlockRows];
    METARL_VECTORIZE
    for (std::int64_t k = 0; k < n; ++k) {
      const std::int32_t alive = over[k] ^ 1, way = action[k], timer = shot_timer[k];
      const std::int32_t fires = alive & (way == minatar::kFire) & (timer == 0);
      const std::int32_t from = position[k];
      const std::int32_t at =
          minatar::clamped(from + alive * ((way == minatar::kRight) - (way == minatar::kLeft)), 0, kLastColumn);
      Map friendly = load(f + kFriendly * stride + k, stride);
      Map enemy = load(f + kEnemy * stride + k, stride);
      Map fired = friendly;
      fired.word[3] |= fires << from;
      const Map up = one_up(fired);
      const Map down = one_down(enemy);
      const std::int32_t hit = (down.word[3] | f[(kAliens + 3) * stride + k]) >> at & 1;
      for (int w = 0; w < kWords; ++w) {
        friendly.word[w] = (up.word[w] & -alive) | (friendly.word[w] & (alive - 1));
        enemy.word[w] = (down.word[w] & -alive) | (enemy.word[w] & (alive - 1));
      }
      store(friendly, f + kFriendly * stride + k, stride);
      store(enemy, f + kEnemy * stride + k, stride);
      position[k] = at;
      shot_timer[k] = timer + fires * kShotEvery;
      plays[k] = alive;
      ended[k] = (alive & hit) | (alive ^ 1);
      reward[k] = 0;
    }
    for (std::int64_t k = 0; k < n; ++k) {
      if (plays[k] && ((move_timer[k] == 0) | (alien_shot_timer[k] == 0))) act_aliens(b, k);
    }
    METARL_VECTORIZE
    for (std::int64_t k = 0; k < n; ++k) {
      std::int32_t any = 0;
      for (int w = 0; w < kWords; ++w) {
        std::int32_t* const aliens = f + (kAliens + w) * stride;
        any |= aliens[k] & f[(kFriendly + w) * stride + k];
      }
      const std::int32_t alive = plays[k], timer = shot_timer[k];
      killed[k] = any & -alive;
      shot_timer[k] = timer - (alive & (timer > 0));
      move_timer[k] -= alive;
      alien_shot_timer[k] -= alive;
      over[k] = ended[k];
    }
    for (std::int64_t k = 0; k < n; ++k) {
      if (killed[k] != 0) reward[k] = kill_aliens(b, k);
    }
  }

  METARL_HOST_DEVICE static void draw(const std::int32_t* f, std::int64_t stride, std::int64_t count,
                                      std::uint8_t* obs) {
    using namespace minatar::space_invaders;
    for (std::int64_t k = 0; k < count; ++k, obs += minatar::kCells * kChannels) {
      const int way = f[kDirection * stride + k] < 0 ? kAlienLeft : kAlienRight;
      // Two words of a map, which are six rows and four rows, five bits at a time. Whole words are written: the bytes
      // too many belong to the next half row, but for the last.
      std::uint8_t last[Patterns::kRead];
      for (int w = 0; w < kWords; w += 2) {
        std::uint64_t aliens = two_words(f + (kAliens + w) * stride + k, stride);
        std::uint64_t friendly = two_words(f + (kFriendly + w) * stride + k, stride);
        std::uint64_t enemy = two_words(f + (kEnemy + w) * stride + k, stride);
        std::uint8_t* out = obs + w * 3 * minatar::kSide * kChannels;
        const int halves = w == 0 ? 12 : 8;
        for (int half = 0; half < halves; ++half, out += kHalfBytes) {
          constexpr int kSteps = Patterns::kRead / 8;
          std::uint64_t part[4][kSteps];
          read(aliens, kAlien, part[0]);
          read(aliens, way, part[1]);
          read(friendly, kFriendlyBullet, part[2]);
          read(enemy, kEnemyBullet, part[3]);
          for (int j = 0; j < kSteps; ++j) part[0][j] |= part[1][j] | part[2][j] | part[3][j];
          std::memcpy(w != 0 && half == halves - 1 ? last : out, part[0], Patterns::kRead);
          aliens >>= kHalf;
          friendly >>= kHalf;
          enemy >>= kHalf;
        }
      }
      std::memcpy(obs + (2 * minatar::kSide - 1) * kHalfBytes, last, kHalfBytes);
      obs[((minatar::kSide - 1) * minatar::kSide + f[kPosition * stride + k]) * kChannels + kCannon] = 1;
    }
  }

 private:
  using Map = minatar::space_invaders::Map;

  METARL_HOST_DEVICE static Map load(const std::int32_t* f, std::int64_t stride) {
    return {{f[0], f[stride], f[2 * stride], f[3 * stride]}};
  }
  METARL_HOST_DEVICE static void store(const Map& map, std::int32_t* f, std::int64_t stride) {
    for (int w = 0; w < minatar::space_invaders::kWords; ++w) f[w * stride] = map.word[w];
  }
  METARL_HOST_DEVICE static std::uint64_t two_words(const std::int32_t* f, std::int64_t stride) {
    return static_cast<std::uint64_t>(f[0]) | static_cast<std::uint64_t>(f[stride]) << (3 * minatar::kSide);
  }
  METARL_HOST_DEVICE static void read(std::uint64_t bits, int channel, std::uint64_t* part) {
    static constexpr Patterns kPatterns;
    std::memcpy(part, kPatterns.byte[bits % (1 << kHalf)] + Patterns::kBefore - channel, Patterns::kRead);
  }

  // Moves and shots, each of which comes every ten steps or so.
  METARL_HOST_DEVICE static void act_aliens(const minatar::StepRows& b, std::int64_t k) {
    using namespace minatar::space_invaders;
    const std::int64_t stride = b.stride;
    std::int32_t* const f = b.fields + k;
    const std::int32_t position = f[kPosition * stride];
    Fleet fleet{load(f + kAliens * stride, stride), f[kDirection * stride], f[kMoveTimer * stride], b.ended[k]};
    if (fleet.move_timer == 0) {
      move_aliens(fleet, position, f[kRamp * stride]);
      store(fleet.aliens, f + kAliens * stride, stride);
      f[kDirection * stride] = fleet.direction;
      f[kMoveTimer * stride] = fleet.move_timer;
      b.ended[k] = fleet.over;
    }
    if (f[kAlienShotTimer * stride] == 0) {
      f[kAlienShotTimer * stride] = kAlienShotEvery;
      const Cell from = shooter(fleet.aliens, position);
      f[(kEnemy + from.row / 3) * stride] |= 1 << (minatar::kSide * (from.row % 3) + from.column);
    }
  }

  METARL_HOST_DEVICE static std::int32_t kill_aliens(const minatar::StepRows& b, std::int64_t k) {
    using namespace minatar::space_invaders;
    const std::int64_t stride = b.stride;
    std::int32_t* const f = b.fields + k;
    Map aliens = load(f + kAliens * stride, stride);
    Map friendly = load(f + kFriendly * stride, stride);
    Map both{};
    std::int32_t left = 0;
    for (int w = 0; w < kWords; ++w) {
      both.word[w] = aliens.word[w] & friendly.word[w];
      aliens.word[w] ^= both.word[w];
      friendly.word[w] ^= both.word[w];
      left |= aliens.word[w];
    }
    if (left == 0) {
      aliens = new_wave();
      if (b.ramping[k] && f[kRamp * stride] < kLastRamp) ++f[kRamp * stride];
    }
    store(aliens, f + kAliens * stride, stride);
    store(friendly, f + kFriendly * stride, stride);
    return count_bits(both);
  }
};

}  // namespace
}  // namespace metarl::METARL_ISA_NS
