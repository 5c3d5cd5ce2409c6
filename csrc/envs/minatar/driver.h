// The loops that the kernels of MinAtar's games share. Included by kernel files only; see envs/driver.h.
//
// A Game is a struct in the kernel file's anonymous namespace with the constants kChannels, kDrawsOntoZeros, kDraws
// (random numbers of a step that the test hook gives, the first of them for sticking) and static functions
//   void start(const PhiloxBlock&, std::int32_t* fields, std::int64_t stride, std::int64_t row);
//     writes the state an episode starts in: every field but the last action;
//   void step(const StepRows&); steps a block of rows in place; a row whose episode is over (which only a state set by
//     hand can be) stays as it is, with reward 0;
//   void draw(const std::int32_t* fields, std::int64_t stride, std::int64_t count, std::uint8_t* obs);
//     writes the observations of `count` rows, at most kDrawRows, with kDrawsOntoZeros onto zeros, else every byte.
// Observations are cleared and drawn anew: to change only what differs touches as many cache lines, and gains nothing.
#pragma once

#include "envs/driver.h"
#include "envs/minatar/game.h"

namespace metarl::minatar {

// Cleared, then drawn, while they are in the innermost cache.
constexpr std::int64_t kDrawRows = kBlockRows < 16 ? kBlockRows : 16;

// One block: arrays of the block's rows, at most kBlockRows.
struct StepRows {
  const std::int32_t* ramping;  // 0 or 1: whether the game gets harder
  std::int32_t* fields;         // of the block's first row: field f of its row k is element f * stride + k
  std::int64_t stride;
  std::int64_t count;
  const std::int32_t* action;
  // Random numbers: `draws` of the test hook, Game::kDraws a row, or null and then 32 bits a word; word 0 is used up.
  const double* draws;
  const std::uint32_t (*word)[kBlockRows];
  std::int32_t* reward;
  std::int32_t* ended;
};

// A row's state as the driver hands it around: where it lies, and for a new episode the random numbers to start from.
struct Place {
  const std::int32_t* fields;
  std::int64_t stride;
  std::int64_t row;
  PhiloxBlock random;
};

// A game's step and drawing are calls on a GPU, as their code is large and would be there for every kernel, for
// episodes with tasks and without, for those that end and that start.
#if defined(__CUDACC__)
#define METARL_GAME METARL_HD_CALL
#else
#define METARL_GAME METARL_HD
#endif

template <class Game>
METARL_GAME void step_game(const StepRows& rows) {
  Game::step(rows);
}

template <class Game>
METARL_GAME void draw_game_rows(const std::int32_t* fields, std::int64_t stride, std::int64_t count,
                                std::uint8_t* obs) {
  constexpr std::int64_t kBytes = std::int64_t{kCells} * Game::kChannels;
  for (std::int64_t first = 0; first < count; first += kDrawRows) {
    const std::int64_t n = count - first < kDrawRows ? count - first : kDrawRows;
    if (Game::kDrawsOntoZeros) std::memset(obs + first * kBytes, 0, static_cast<std::size_t>(n * kBytes));
    Game::draw(fields + first, stride, n, obs + first * kBytes);
  }
}

template <class Game>
struct GameModel {
  using Real = std::int32_t;
  using Params = minatar::Params;
  struct TaskParams {};  // resets do not depend on it
  using TaskReal = double;
  using State = Place;

  METARL_HOST_DEVICE static TaskParams row_params(const Params&, const double*, std::int64_t, std::int64_t) {
    return {};
  }

  METARL_HOST_DEVICE static Place load(const Real* f, std::int64_t stride, std::int64_t row) {
    return {f, stride, row, {}};
  }
  template <class P>
  METARL_HOST_DEVICE static Place reset(const P&, const PhiloxBlock& random, const Real* f, std::int64_t stride,
                                        std::int64_t row) {
    return {f, stride, row, random};
  }
  METARL_HOST_DEVICE static void store(const Place& s, Real* f, std::int64_t stride, std::int64_t row) {
    Game::start(s.random, f, stride, row);
  }
  METARL_HOST_DEVICE static void write_obs(const Params&, const Place& s, void* obs, std::int64_t row) {
    draw_game_rows<Game>(s.fields + s.row, s.stride, 1,
                         static_cast<std::uint8_t*>(obs) + row * kCells * Game::kChannels);
  }
  METARL_HOST_DEVICE static std::size_t obs_bytes(const Params&) { return std::size_t{kCells} * Game::kChannels; }
};

// kTasks: with the parameters of each row.
template <class Game, bool kTasks>
METARL_HD void step_game_blocks(const EnvBatch& batch, std::int64_t begin, std::int64_t end) {
  const EnvBatch b = batch;
  const Params p = *static_cast<const Params*>(b.params);
  auto* const fields = static_cast<std::int32_t*>(b.state);
  const auto* const actions = static_cast<const std::uint8_t*>(b.actions);
  auto* const obs = static_cast<std::uint8_t*>(b.obs);
  double* const reward_out = b.reward;
  std::uint8_t* const terminated_out = b.terminated;
  alignas(64) std::uint32_t word[4][kBlockRows];
  alignas(64) std::int32_t action[kBlockRows], sticks[kBlockRows], reward[kBlockRows], ended[kBlockRows];
  alignas(64) std::int32_t ramping[kBlockRows];
  for (std::int64_t k = 0; k < kBlockRows && k < end - begin; ++k) ramping[k] = p.ramping;
  [[maybe_unused]] const auto* const sticky_task = static_cast<const double*>(b.task_values);  // probabilities
  [[maybe_unused]] const double* const ramping_task = sticky_task + (kTasks ? b.stride : 0);
  for (std::int64_t first = begin; first < end; first += kBlockRows) {
    const std::int64_t n = end - first < kBlockRows ? end - first : kBlockRows;
    const double* const draws = b.draws == nullptr ? nullptr : b.draws + first * Game::kDraws;
    if constexpr (kTasks) {
      for (std::int64_t k = 0; k < n; ++k) ramping[k] = ramping_task[first + k] != 0;
    }
    if (draws != nullptr) {
      for (std::int64_t k = 0; k < n; ++k) {
        sticks[k] = draws[k * Game::kDraws] < (kTasks ? sticky_task[first + k] : p.sticky_probability);
      }
    } else {
      METARL_VECTORIZE
      for (std::int64_t k = 0; k < n; ++k) {
        const PhiloxBlock random = step_random(b, first + k);
        word[0][k] = random.v[0];
        word[1][k] = random.v[1];
        word[2][k] = random.v[2];
        word[3][k] = random.v[3];
      }
      METARL_VECTORIZE
      for (std::int64_t k = 0; k < n; ++k) {
        if constexpr (kTasks) {
          sticks[k] = static_cast<double>(word[0][k]) < sticky_task[first + k] * 0x1.0p32;
        } else {
          sticks[k] = word[0][k] < p.sticky_below;
        }
      }
    }
    std::int32_t* const last_action = fields + kLastActionField * b.stride + first;
    const std::uint8_t* const done = b.done + first;
    METARL_VECTORIZE
    for (std::int64_t k = 0; k < n; ++k) {
      const auto chosen = static_cast<std::int32_t>((p.action_set >> (4u * actions[first + k])) & 15u);
      const std::int32_t taken = sticks[k] ? last_action[k] : chosen;
      action[k] = taken;
      last_action[k] = done[k] ? last_action[k] : taken;  // a step that resets ignores its action
    }
    step_game<Game>({ramping, fields + first, b.stride, n, action, draws, word, reward, ended});
    METARL_VECTORIZE
    for (std::int64_t k = 0; k < n; ++k) reward_out[first + k] = static_cast<double>(reward[k]);
    METARL_VECTORIZE
    for (std::int64_t k = 0; k < n; ++k) terminated_out[first + k] = static_cast<std::uint8_t>(ended[k]);
    draw_game_rows<Game>(fields + first, b.stride, n, obs + first * kCells * Game::kChannels);
    finish_rows<GameModel<Game>>(b, p, first, first + n);
  }
}

template <class Game>
METARL_HD void step_game_rows(const EnvBatch& b, std::int64_t begin, std::int64_t end) {
  if (b.task_values != nullptr) return step_game_blocks<Game, true>(b, begin, end);
  step_game_blocks<Game, false>(b, begin, end);
}

template <class Game>
METARL_HD void reset_game_rows(const EnvBatch& b, const std::uint8_t* mask, std::int64_t begin, std::int64_t end) {
  // A row that was seeded starts like a new object of the reference; other episodes go on with the last action.
  auto* const last_action = static_cast<std::int32_t*>(b.state) + kLastActionField * b.stride;
  for (std::int64_t i = begin; i < end; ++i) {
    if ((mask == nullptr || mask[i]) && b.episode[i] == 0) last_action[i] = kNothing;
  }
  reset_rows<GameModel<Game>>(b, mask, begin, end);
}

template <class Game>
struct GameRows {
  using Model = GameModel<Game>;
  METARL_HD void step(const EnvBatch& b, std::int64_t begin, std::int64_t end) { step_game_rows<Game>(b, begin, end); }
  METARL_HD void reset(const EnvBatch& b, const std::uint8_t* mask, std::int64_t begin, std::int64_t end) {
    reset_game_rows<Game>(b, mask, begin, end);
  }
};

}  // namespace metarl::minatar
