// The mazes' rows: the code that the CPU's kernels and the CUDA kernels share; see envs/driver.h.
#pragma once

#include "envs/driver.h"
#include "envs/meta/maze_generation.h"

namespace metarl::METARL_ISA_NS {
namespace {

template <class Real_>
struct Maze {
  using Real = Real_;
  using TaskReal = double;
  using Params = maze::Params;
  using TaskParams = maze::Task;
  using State = maze::State;

  METARL_HOST_DEVICE static TaskParams row_params(const Params&, const double* t, std::int64_t stride,
                                                  std::int64_t row) {
    return {t[row],
            t[stride + row],
            t[2 * stride + row],
            t[3 * stride + row],
            t[4 * stride + row],
            t[5 * stride + row],
            t[6 * stride + row]};
  }
  METARL_HOST_DEVICE static State load(const Real* f, std::int64_t stride, std::int64_t row) {
    return {static_cast<std::int32_t>(f[row]),
            static_cast<std::int32_t>(f[stride + row]),
            static_cast<std::int32_t>(f[2 * stride + row]),
            static_cast<std::int32_t>(f[3 * stride + row]),
            static_cast<std::int32_t>(f[4 * stride + row]),
            static_cast<std::int32_t>(f[5 * stride + row]),
            static_cast<std::int32_t>(f[6 * stride + row]),
            static_cast<float>(f[7 * stride + row])};
  }
  METARL_HOST_DEVICE static void store(const State& s, Real* f, std::int64_t stride, std::int64_t row) {
    f[row] = static_cast<Real>(s.row);
    f[stride + row] = static_cast<Real>(s.column);
    f[2 * stride + row] = static_cast<Real>(s.goal_row);
    f[3 * stride + row] = static_cast<Real>(s.goal_column);
    f[4 * stride + row] = static_cast<Real>(s.last_action);
    f[5 * stride + row] = static_cast<Real>(s.time);
    f[6 * stride + row] = static_cast<Real>(s.view);
    f[7 * stride + row] = static_cast<Real>(s.last_reward);
  }
  // What is drawn is written by reset_more, which knows the row's random numbers.
  template <class P>
  METARL_HOST_DEVICE static State reset(const P&, const PhiloxBlock&, const Real*, std::int64_t, std::int64_t) {
    return {1, 1, 1, 1, -1, 0, 0, 0.0f};
  }
  METARL_HOST_DEVICE static void reset_more(const EnvBatch& b, const Params& p, std::int64_t row) {
    Real* const fields = static_cast<Real*>(b.state);
    Real* const wall_fields = fields + maze::kFirstWallField * b.stride + row;
    const TaskParams task = task_of<Maze>(b, p, row);
    const TaskSource source = task_source(b, row, task.map_seed);
    maze::Walls<Real> walls[maze::kMaxSize];
    maze::carve(p, source, walls);
    for (std::int32_t r = 0; r < p.size; ++r) wall_fields[r * b.stride] = static_cast<Real>(walls[r]);
    maze::Room goal{static_cast<std::int32_t>(task.goal_row), static_cast<std::int32_t>(task.goal_column)};
    if (task.goal_row < 0) goal = maze::draw_goal(p, generate(source, 0).v[0]);
    maze::Room start{1, 1};
    if (p.random_start) start = maze::draw_start(p, reset_random(b, row).v[0], goal.row, goal.column);
    const std::int32_t view = maze::view_of(wall_fields, b.stride, p.size, start.row, start.column);
    store({start.row, start.column, goal.row, goal.column, -1, 0, view, 0.0f}, fields, b.stride, row);
  }
  METARL_HOST_DEVICE static void write_obs(const Params& p, const State& s, void* obs, std::int64_t row) {
    maze::write_observation(static_cast<float*>(obs) + row * maze::kObs, s.view, s.last_action, s.last_reward,
                            static_cast<float>(s.time * p.per_step));
  }
  METARL_HOST_DEVICE static std::size_t obs_bytes(const Params&) { return sizeof(float) * maze::kObs; }
};

constexpr std::int32_t kMostTime = 1 << 24;  // float counts up to here

// In loops over one kind of work each, which vectorise but for the reading of the walls.
template <class Real, bool kTasks>
METARL_HD void step_maze_rows(const EnvBatch& batch, std::int64_t begin, std::int64_t end) {
  const EnvBatch b = batch;
  const maze::Params p = *static_cast<const maze::Params*>(b.params);
  const std::int64_t stride = b.stride;
  Real* const fields = static_cast<Real*>(b.state);
  const double* const tasks = static_cast<const double*>(b.task_values);
  const auto* const actions = static_cast<const std::uint8_t*>(b.actions);
  double* const reward_out = b.reward;
  std::uint8_t* const terminated_out = b.terminated;
  alignas(64) std::int32_t action[kBlockRows], row[kBlockRows], column[kBlockRows], view[kBlockRows], time[kBlockRows];
  alignas(64) std::int32_t bumped[kBlockRows], reached[kBlockRows], closer[kBlockRows];
  alignas(64) float last_reward[kBlockRows], part_of_time[kBlockRows];
  for (std::int64_t first = begin; first < end; first += kBlockRows) {
    const std::int64_t n = end - first < kBlockRows ? end - first : kBlockRows;
    Real* const f = fields + first;
    METARL_VECTORIZE
    for (std::int64_t k = 0; k < n; ++k) action[k] = actions[first + k];
    METARL_VECTORIZE
    for (std::int64_t k = 0; k < n; ++k) {
      const std::int32_t a = action[k];
      const std::int32_t down = std::int32_t{a == 2} - std::int32_t{a == 0};
      const std::int32_t right = std::int32_t{a == 1} - std::int32_t{a == 3};
      const auto r = static_cast<std::int32_t>(f[k]);
      const auto c = static_cast<std::int32_t>(f[stride + k]);
      const auto goal_r = static_cast<std::int32_t>(f[2 * stride + k]);
      const auto goal_c = static_cast<std::int32_t>(f[3 * stride + k]);
      const auto seen = static_cast<std::int32_t>(f[6 * stride + k]);
      const std::int32_t wall = seen >> (4 + 3 * down + right) & 1;
      const std::int32_t new_r = r + down * (1 - wall);
      const std::int32_t new_c = c + right * (1 - wall);
      row[k] = new_r;
      column[k] = new_c;
      bumped[k] = wall;
      reached[k] = std::int32_t{new_r == goal_r} & std::int32_t{new_c == goal_c};
      closer[k] = maze::distance(r, c, goal_r, goal_c) - maze::distance(new_r, new_c, goal_r, goal_c);
      const auto t = static_cast<std::int32_t>(f[5 * stride + k]);
      time[k] = t < kMostTime ? t + 1 : t;
    }
    METARL_VECTORIZE
    for (std::int64_t k = 0; k < n; ++k) {
      const std::int64_t i = first + k;
      const maze::Task task = kTasks ? Maze<Real>::row_params(p, tasks, stride, i) : p.own;
      const double reward =
          task.step_reward + task.bump_reward * bumped[k] + task.goal_reward * reached[k] + task.shaping * closer[k];
      reward_out[i] = reward;
      last_reward[k] = static_cast<float>(reward);
      part_of_time[k] = static_cast<float>(time[k] * p.per_step);
    }
    METARL_VECTORIZE
    for (std::int64_t k = 0; k < n; ++k) {
      terminated_out[first + k] = static_cast<std::uint8_t>(p.teleport ? 0 : reached[k]);
    }
    for (std::int64_t k = 0; p.teleport && k < n; ++k) {
      if (!reached[k]) continue;
      const maze::Room start = maze::draw_start(p, step_random(b, first + k).v[0], row[k], column[k]);
      row[k] = start.row;
      column[k] = start.column;
    }
    const Real* const walls = f + maze::kFirstWallField * stride;
    for (std::int64_t k = 0; k < n; ++k) view[k] = maze::view_of(walls + k, stride, p.size, row[k], column[k]);
    METARL_VECTORIZE
    for (std::int64_t k = 0; k < n; ++k) {
      f[k] = static_cast<Real>(row[k]);
      f[stride + k] = static_cast<Real>(column[k]);
      f[4 * stride + k] = static_cast<Real>(action[k]);
      f[5 * stride + k] = static_cast<Real>(time[k]);
      f[6 * stride + k] = static_cast<Real>(view[k]);
      f[7 * stride + k] = static_cast<Real>(last_reward[k]);
    }
    float* out = static_cast<float*>(b.obs) + first * maze::kObs;
    for (std::int64_t k = 0; k < n; ++k, out += maze::kObs) {
      maze::write_observation(out, view[k], action[k], last_reward[k], part_of_time[k]);
    }
    finish_rows<Maze<Real>>(b, p, first, first + n);
  }
}

template <class Real>
struct MazeRows {
  using Model = Maze<Real>;
  METARL_HD void step(const EnvBatch& b, std::int64_t begin, std::int64_t end) {
    if (b.task_values != nullptr) return step_maze_rows<Real, true>(b, begin, end);
    step_maze_rows<Real, false>(b, begin, end);
  }
  METARL_HD void reset(const EnvBatch& b, const std::uint8_t* mask, std::int64_t begin, std::int64_t end) {
    reset_rows<Maze<Real>>(b, mask, begin, end);
  }
};

}  // namespace
}  // namespace metarl::METARL_ISA_NS
