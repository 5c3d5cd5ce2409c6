// Seaquest's rows: the code that the CPU's kernels and the CUDA kernels share; see envs/driver.h.
#pragma once

#include "envs/minatar/driver.h"
#include "envs/minatar/seaquest.h"

namespace metarl::METARL_ISA_NS {
namespace {

// One list of one row, with the operations of the reference's.
class Things {
 public:
  METARL_HOST_DEVICE Things(std::int32_t* fields, std::int64_t stride, int list)
      : slot_(fields + minatar::seaquest::first_slot(list) * stride),
        count_(fields + (minatar::seaquest::kCounts + list) * stride),
        stride_(stride),
        capacity_(minatar::seaquest::capacity_of(list)) {}
  METARL_HOST_DEVICE std::int32_t count() const { return *count_; }
  METARL_HOST_DEVICE std::int32_t& operator[](std::int32_t i) { return slot_[i * stride_]; }
  METARL_HOST_DEVICE void append(std::int32_t thing) {
    if (*count_ < capacity_) slot_[(*count_)++ * stride_] = thing;  // it always is, see minatar_seaquest.h
  }
  METARL_HOST_DEVICE void remove_at(std::int32_t i) {
    --*count_;
    for (; i < *count_; ++i) slot_[i * stride_] = slot_[(i + 1) * stride_];
    slot_[*count_ * stride_] = 0;
  }
  // The first that equals this one, which is in the list.
  METARL_HOST_DEVICE void remove(std::int32_t thing) {
    std::int32_t i = 0;
    while (slot_[i * stride_] != thing) ++i;
    remove_at(i);
  }
  // Removes the first that is at this place; whether there was one.
  METARL_HOST_DEVICE bool remove_from(std::int32_t place) {
    for (std::int32_t i = 0; i < *count_; ++i) {
      if ((slot_[i * stride_] & minatar::seaquest::kPlaceBits) == place) {
        remove_at(i);
        return true;
      }
    }
    return false;
  }
  METARL_HOST_DEVICE void clear() {
    while (*count_ > 0) slot_[--*count_ * stride_] = 0;
  }

 private:
  std::int32_t* slot_;
  std::int32_t* count_;
  std::int64_t stride_;
  std::int32_t capacity_;
};

// One row in a step.
class Play {
 public:
  METARL_HOST_DEVICE Play(const minatar::StepRows& rows, std::int64_t k)
      : rows_(rows),
        k_(k),
        f_(rows.fields + k),
        stride_(rows.stride),
        shots_(f_, stride_, minatar::seaquest::kShots),
        divers_(f_, stride_, minatar::seaquest::kDivers),
        torpedoes_(f_, stride_, minatar::seaquest::kTorpedoes),
        fishes_(f_, stride_, minatar::seaquest::kFishes),
        subs_(f_, stride_, minatar::seaquest::kSubs) {}

  // Returns the reward.
  METARL_HOST_DEVICE std::int32_t step() {
    using namespace minatar::seaquest;
    spawn();
    act(rows_.action[k_]);
    me_ = place(field(kSubX), field(kSubY));
    move_shots();
    move_divers();
    move_subs();
    move_torpedoes();
    move_fishes();
    field(kSpawnTimer) -= field(kSpawnTimer) > 0;
    field(kDiverTimer) -= field(kDiverTimer) > 0;
    field(kShotTimer) -= field(kShotTimer) > 0;
    breathe();
    field(kOver) = over_;
    return reward_;
  }

 private:
  METARL_HOST_DEVICE std::int32_t& field(int f) { return f_[f * stride_]; }
  METARL_HOST_DEVICE bool is_here(std::int32_t thing) const { return (thing & minatar::seaquest::kPlaceBits) == me_; }

  METARL_HOST_DEVICE void spawn() {
    using namespace minatar::seaquest;
    if (field(kSpawnTimer) == 0) {
      bool right, is_sub;
      std::int32_t row;
      draw(1, right, row, is_sub);
      spawn_enemy(right, row, is_sub);
      field(kSpawnTimer) = spawn_speed(field(kRamp));
    }
    if (field(kDiverTimer) == 0) {
      bool right, unused;
      std::int32_t row;
      draw(4, right, row, unused);
      divers_.append(thing(right ? 0 : kLastColumn, row, right, kDiverMoveEvery, 0));
      field(kDiverTimer) = kDiverEvery;
    }
  }
  // first: 1 for an enemy, 4 for a diver, as in kDraws. A word of random bits gives side and row of each, another one
  // the enemy's kind.
  METARL_HOST_DEVICE void draw(int first, bool& right, std::int32_t& row, bool& is_sub) const {
    using namespace minatar::seaquest;
    const bool enemy = first == 1;
    if (rows_.draws != nullptr) {
      const double* const draws = rows_.draws + k_ * kDraws + first;
      right = draws[0] < 0.5;
      is_sub = enemy && draws[1] < 1.0 / 3.0;
      row = minatar::clamped(static_cast<std::int32_t>(draws[enemy ? 2 : 1]), 1, kLastRow);
    } else {
      const std::int32_t both = minatar::below(rows_.word[enemy ? 1 : 3][k_], 2 * kLastRow);
      right = both & 1;
      row = 1 + (both >> 1);
      is_sub = enemy && minatar::below(rows_.word[2][k_], 3) == 0;
    }
  }
  METARL_HOST_DEVICE void spawn_enemy(bool right, std::int32_t row, bool is_sub) {
    using namespace minatar::seaquest;
    // Not against the traffic of a row.
    Things* const lists[] = {&subs_, &fishes_};
    for (Things* const list : lists) {
      for (std::int32_t i = 0; i < list->count(); ++i) {
        if (row_of((*list)[i]) == row && right_of((*list)[i]) != right) return;
      }
    }
    const std::int32_t x = right ? 0 : kLastColumn;
    const std::int32_t timer = move_speed(field(kRamp));
    if (is_sub) {
      subs_.append(thing(x, row, right, timer, kEnemyShotEvery));
    } else {
      fishes_.append(thing(x, row, right, timer, 0));
    }
  }

  METARL_HOST_DEVICE void act(std::int32_t action) {
    using namespace minatar::seaquest;
    if (action == minatar::kFire && field(kShotTimer) == 0) {
      shots_.append(thing(field(kSubX), field(kSubY), field(kFacesRight), 0, 0));
      field(kShotTimer) = kShotEvery;
    }
    const std::int32_t across = (action == minatar::kRight) - (action == minatar::kLeft);
    const std::int32_t down = (action == minatar::kDown) - (action == minatar::kUp);
    field(kSubX) = minatar::clamped(field(kSubX) + across, 0, kLastColumn);
    field(kSubY) = minatar::clamped(field(kSubY) + down, 0, kLastRow);
    if (across != 0) field(kFacesRight) = across > 0;
  }

  // As the reference does, each list from its end; when an equal one earlier in the list is removed instead, the same
  // thing comes next once more.
  METARL_HOST_DEVICE void move_shots() {
    using namespace minatar::seaquest;
    for (std::int32_t i = shots_.count() - 1; i >= 0; --i) {
      const std::int32_t shot = shots_[i] = moved(shots_[i]);
      if (is_outside(shot)) {
        shots_.remove(shot);
      } else if (fishes_.remove_from(shot & kPlaceBits) || subs_.remove_from(shot & kPlaceBits)) {
        shots_.remove(shot);
        ++reward_;
      }
    }
  }
  METARL_HOST_DEVICE void move_divers() {
    using namespace minatar::seaquest;
    for (std::int32_t i = divers_.count() - 1; i >= 0; --i) {
      if (take(divers_[i])) continue;
      if (timer_of(divers_[i]) != 0) {
        divers_[i] -= kTimerOne;
        continue;
      }
      const std::int32_t diver = divers_[i] = moved(divers_[i]) + kDiverMoveEvery * kTimerOne;
      if (is_outside(diver)) {
        divers_.remove(diver);
      } else {
        take(diver);
      }
    }
  }
  METARL_HOST_DEVICE bool take(std::int32_t diver) {
    using namespace minatar::seaquest;
    if (!is_here(diver) || field(kDiverCount) >= kMaxDivers) return false;
    divers_.remove(diver);
    ++field(kDiverCount);
    return true;
  }
  METARL_HOST_DEVICE void move_subs() {
    using namespace minatar::seaquest;
    const std::int32_t speed = move_speed(field(kRamp));
    for (std::int32_t i = subs_.count() - 1; i >= 0; --i) {
      std::int32_t sub = subs_[i];
      const bool gone = advance(subs_, i, sub, speed);
      // One that is gone still shoots; outside of the board that has no effect.
      const bool shoots = reload_of(sub) == 0;
      if (shoots) torpedoes_.append(thing(column_of(sub), row_of(sub), right_of(sub), 0, 0));
      if (!gone) subs_[i] = sub + (shoots ? kEnemyShotEvery * kReloadOne : -kReloadOne);
    }
  }
  METARL_HOST_DEVICE void move_torpedoes() {
    using namespace minatar::seaquest;
    for (std::int32_t i = torpedoes_.count() - 1; i >= 0; --i) {
      over_ |= is_here(torpedoes_[i]);
      const std::int32_t torpedo = torpedoes_[i] = moved(torpedoes_[i]);
      if (is_outside(torpedo)) {
        torpedoes_.remove(torpedo);
      } else {
        over_ |= is_here(torpedo);
      }
    }
  }
  METARL_HOST_DEVICE void move_fishes() {
    const std::int32_t speed = minatar::seaquest::move_speed(field(minatar::seaquest::kRamp));
    for (std::int32_t i = fishes_.count() - 1; i >= 0; --i) {
      std::int32_t fish = fishes_[i];
      advance(fishes_, i, fish, speed);
    }
  }
  // Waits or moves; whether it left its list, by the edge or into a shot. An enemy that meets a shot here came to its
  // cell just now: one that had been there would have been hit before, so no equal one can be removed in its place.
  METARL_HOST_DEVICE bool advance(Things& list, std::int32_t i, std::int32_t& enemy, std::int32_t speed) {
    using namespace minatar::seaquest;
    over_ |= is_here(enemy);
    if (timer_of(enemy) != 0) {
      enemy -= kTimerOne;
      list[i] = enemy;
      return false;
    }
    enemy = moved(enemy) + speed * kTimerOne;
    list[i] = enemy;
    if (is_outside(enemy)) {
      list.remove_at(i);
      return true;
    }
    if (is_here(enemy)) {
      over_ = true;
    } else if (shots_.remove_from(enemy & kPlaceBits)) {
      list.remove_at(i);
      ++reward_;
      return true;
    }
    return false;
  }

  METARL_HOST_DEVICE void breathe() {
    using namespace minatar::seaquest;
    if (field(kOxygen) <= 0) over_ = true;
    if (field(kSubY) > 0) {
      --field(kOxygen);
      field(kSurface) = 0;
    } else if (field(kSurface) == 0) {
      if (field(kDiverCount) == 0) {
        over_ = true;
      } else {
        surface();
      }
    }
  }
  METARL_HOST_DEVICE void surface() {
    using namespace minatar::seaquest;
    std::int32_t& divers = field(kDiverCount);
    field(kSurface) = 1;
    if (divers == kMaxDivers) {
      divers = 0;
      reward_ += field(kOxygen) * 10 / kMaxOxygen;
    }
    field(kOxygen) = kMaxOxygen;
    if (divers > kFewestDivers) --divers;
    if (rows_.ramping[k_] && field(kRamp) < kLastRamp) ++field(kRamp);
  }

  const minatar::StepRows& rows_;
  std::int64_t k_;
  std::int32_t* f_;
  std::int64_t stride_;
  Things shots_, divers_, torpedoes_, fishes_, subs_;
  std::int32_t me_ = 0;
  std::int32_t reward_ = 0;
  bool over_ = false;
};

struct Seaquest {
  static constexpr int kChannels = minatar::seaquest::kChannels;
  static constexpr int kDraws = minatar::seaquest::kDraws;
  static constexpr bool kDrawsOntoZeros = true;

  METARL_HOST_DEVICE static void start(const PhiloxBlock&, std::int32_t* f, std::int64_t stride, std::int64_t row) {
    using namespace minatar::seaquest;
    f[kSubX * stride + row] = 5;
    f[kSubY * stride + row] = 0;
    f[kFacesRight * stride + row] = 0;
    f[kOxygen * stride + row] = kMaxOxygen;
    f[kDiverCount * stride + row] = 0;
    f[kSpawnTimer * stride + row] = kSpawnEvery;
    f[kDiverTimer * stride + row] = kDiverEvery;
    f[kShotTimer * stride + row] = 0;
    f[kRamp * stride + row] = 0;
    f[kSurface * stride + row] = 1;
    f[kOver * stride + row] = 0;
    for (int list = 0; list < kLists; ++list) Things(f + row, stride, list).clear();
  }

  METARL_HOST_DEVICE static void step(const minatar::StepRows& b) {
    const std::int32_t* const over = b.fields + minatar::seaquest::kOver * b.stride;
    for (std::int64_t k = 0; k < b.count; ++k) {
      b.reward[k] = over[k] ? 0 : Play(b, k).step();
      b.ended[k] = over[k];
    }
  }

  METARL_HOST_DEVICE static void draw(const std::int32_t* f, std::int64_t stride, std::int64_t count,
                                      std::uint8_t* obs) {
    using namespace minatar::seaquest;
    constexpr std::int32_t kSide = minatar::kSide;
    constexpr int kChannelOf[kLists] = {kFriendlyBullet, kDiver, kEnemyBullet, kFish, kEnemySub};
    constexpr bool kHasTrail[kLists] = {false, true, false, true, true};
    for (std::int64_t k = 0; k < count; ++k, obs += minatar::kCells * kChannels) {
      const std::int32_t x = f[kSubX * stride + k];
      const std::int32_t back = x + 1 - 2 * f[kFacesRight * stride + k];
      std::uint8_t* const row = obs + f[kSubY * stride + k] * kSide * kChannels;
      row[x * kChannels + kFront] = 1;
      row[back * kChannels + kBack] = 1;
      std::uint8_t* const gauges = obs + (kSide - 1) * kSide * kChannels;
      const std::int32_t oxygen = f[kOxygen * stride + k] * kSide / kMaxOxygen;
      for (std::int32_t c = 0; c < oxygen; ++c) gauges[c * kChannels + kOxygenGauge] = 1;
      const std::int32_t divers = f[kDiverCount * stride + k];
      for (std::int32_t c = 1; c <= divers; ++c) gauges[(kSide - 1 - c) * kChannels + kDiverGauge] = 1;
      for (int list = 0; list < kLists; ++list) {
        const std::int32_t* slot = f + first_slot(list) * stride + k;
        for (std::int32_t i = f[(kCounts + list) * stride + k]; i > 0; --i, slot += stride) {
          const std::int32_t column = column_of(*slot);
          std::uint8_t* const lane = obs + row_of(*slot) * kSide * kChannels;
          lane[column * kChannels + kChannelOf[list]] = 1;
          const std::int32_t behind = column + 1 - 2 * right_of(*slot);
          if (kHasTrail[list] && behind >= 0 && behind < kSide) lane[behind * kChannels + kTrail] = 1;
        }
      }
    }
  }
};

}  // namespace
}  // namespace metarl::METARL_ISA_NS
