// BatchEnv::rollout. Rows do not depend on each other, so each thread takes its rows through many steps, a block of
// them that stays in its cache at a time, with the bits that step() gives.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>

#include "core/batch_env_rows.h"
#include "envs/kernels.h"

namespace metarl {
namespace {

constexpr std::int64_t kBlockBytes = 128 * 1024;  // of what a block's rows hold between steps
constexpr std::int64_t kBlockRowsUnit = 128;      // the kernels' own blocks

// First row in [begin, end) whose flag is `value`, or end.
std::int64_t find_flag(const std::uint8_t* flags, std::int64_t begin, std::int64_t end, std::uint8_t value) {
  return std::find(flags + begin, flags + end, value) - flags;
}

}  // namespace

// One call's arrays and what its blocks share.
struct BatchEnv::Rollout {
  EnvBatch base;
  const RolloutOutputs& out;
  const std::byte* chosen;  // converted actions of all steps; null: drawn
  double low, high;
  std::int64_t begin;
  std::int64_t end;
  std::vector<std::uint8_t> none;  // flag of no row
};

std::int64_t BatchEnv::rows_per_block() const {
  const std::size_t row = definition_.field_names.size() * field_bytes(definition_.field_type) +
                          definition_.task_parameters.size() * field_bytes(task_type()) +
                          static_cast<std::size_t>(definition_.layout_bytes) + 32;  // counters, seeds and flags
  const std::int64_t rows = kBlockBytes / static_cast<std::int64_t>(row);
  return std::max<std::int64_t>(rows / kBlockRowsUnit, 1) * kBlockRowsUnit;
}

// The observations and tasks before the first step.
void BatchEnv::rollout_start(const Rollout& r, std::int64_t row, std::int64_t last) {
  EnvBatch b = r.base;
  b.obs = r.out.obs;
  definition_.reset(b, r.none.data(), row, last);
  if (r.out.task_id != nullptr) std::copy(task_id_.begin() + row, task_id_.begin() + last, r.out.task_id + row);
}

void BatchEnv::rollout_actions(const Rollout& r, EnvBatch& b, std::int64_t t, std::int64_t row, std::int64_t last) {
  const bool discrete = definition_.num_actions > 0;
  if (r.chosen != nullptr) {
    const auto width = static_cast<std::int64_t>(definition_.action_bytes());
    b.actions = r.chosen + (t - r.begin) * num_envs_ * width;
  } else {
    METARL_SELECT_KERNEL(random_actions)
    (b, definition_.num_actions, definition_.action_size, r.low, r.high, actions_.data(), row, last);
    b.actions = actions_.data();
  }
  const std::int64_t at = t * num_envs_;
  if (discrete) {
    const auto* const from = static_cast<const std::uint8_t*>(b.actions);
    auto* const to = static_cast<std::int64_t*>(r.out.actions) + at;
    for (std::int64_t i = row; i < last; ++i) to[i] = from[i];
  } else {
    const std::int64_t size = definition_.action_size;
    const auto* const from = static_cast<const float*>(b.actions);
    std::copy(from + row * size, from + last * size, static_cast<float*>(r.out.actions) + (at + row) * size);
  }
}

// A row whose episode has ended, with autoreset disabled: nothing happens.
void BatchEnv::rollout_stay(const EnvBatch& b, std::int64_t row, std::int64_t last) {
  const std::size_t bytes = obs_row_bytes();
  auto* const obs = static_cast<std::byte*>(b.obs) + static_cast<std::size_t>(row) * bytes;
  // The step before lies num_envs rows earlier.
  std::memcpy(obs, obs - static_cast<std::size_t>(num_envs_) * bytes, static_cast<std::size_t>(last - row) * bytes);
  std::fill(b.reward + row, b.reward + last, 0.0);
  std::fill(b.terminated + row, b.terminated + last, std::uint8_t{0});
  std::fill(b.truncated + row, b.truncated + last, std::uint8_t{0});
  if (b.prob != nullptr) std::fill(b.prob + row, b.prob + last, 1.0);
  if (definition_.has_end_flag) std::fill(b.end_flag + row, b.end_flag + last, std::uint8_t{0});
}

void BatchEnv::rollout_step(const Rollout& r, std::int64_t t, std::int64_t row, std::int64_t last) {
  const RolloutOutputs& out = r.out;
  const std::int64_t at = t * num_envs_;
  const std::size_t bytes = obs_row_bytes();
  EnvBatch b = r.base;
  rollout_actions(r, b, t, row, last);
  b.draws = t == r.begin && !draws_.empty() ? draws_.data() : nullptr;
  b.obs = static_cast<std::byte*>(out.obs) + static_cast<std::size_t>(at + num_envs_) * bytes;
  b.reward = out.reward + at;
  b.terminated = out.terminated + at;
  b.truncated = out.truncated + at;
  if (out.prob != nullptr) b.prob = out.prob + at;
  if (out.final_obs != nullptr)
    b.final_obs = static_cast<std::byte*>(out.final_obs) + static_cast<std::size_t>(at) * bytes;
  if (out.end_flag != nullptr) b.end_flag = out.end_flag + at;
  std::uint8_t* const valid = out.valid + at;
  if (mode_ == AutoresetMode::same_step) {
    std::fill(valid + row, valid + last, std::uint8_t{1});
  } else {
    for (std::int64_t i = row; i < last; ++i) valid[i] = done_[static_cast<std::size_t>(i)] == 0;
  }
  if (mode_ != AutoresetMode::disabled) {
    definition_.step(b, row, last);
  } else {
    for (std::int64_t from = row; from < last;) {
      const bool live = valid[from] != 0;
      const std::int64_t to = find_flag(valid, from, last, live ? 0 : 1);
      if (live) {
        definition_.step(b, from, to);
      } else {
        rollout_stay(b, from, to);
      }
      from = to;
    }
  }
  if (out.task_id != nullptr) {
    std::copy(task_id_.begin() + row, task_id_.begin() + last, out.task_id + at + num_envs_ + row);
  }
  if (t + 1 < r.end) return;
  // What final_obs and end_flags tell of the last step.
  if (out.final_obs != nullptr) {
    const auto* const from = static_cast<const std::byte*>(b.final_obs);
    for (std::int64_t i = find_flag(ended_.data(), row, last, 1); i < last;
         i = find_flag(ended_.data(), i + 1, last, 1)) {
      const std::size_t offset = static_cast<std::size_t>(i) * bytes;
      std::memcpy(final_obs_.data() + offset, from + offset, bytes);
    }
  }
  if (out.end_flag != nullptr) std::copy(b.end_flag + row, b.end_flag + last, end_flag_.begin() + row);
}

// Converts and checks the actions of all steps.
AlignedMemory BatchEnv::rollout_checked(const RolloutActions& actions, std::int64_t begin, std::int64_t steps,
                                        void (*poll)()) {
  const std::int64_t width = definition_.action_width();
  const std::int64_t count = steps * num_envs_ * width;
  const std::size_t bytes = definition_.action_bytes() / static_cast<std::size_t>(width);
  check_allocation(static_cast<std::uint64_t>(count), bytes);
  AlignedMemory chosen(static_cast<std::size_t>(count) * bytes);
  constexpr std::int64_t kPart = std::int64_t{1} << 22;  // some milliseconds
  const auto convert = METARL_SELECT_KERNEL(convert_actions);
  for (std::int64_t first = 0; first < count; first += kPart) {
    if (first > 0 && poll != nullptr) poll();
    const std::int64_t bad = convert(actions.data, actions.type, definition_.num_actions, chosen.data(), first,
                                     std::min(first + kPart, count));
    if (bad >= 0) {
      const std::int64_t per_step = num_envs_ * width;
      refuse_action(actions.data, actions.type, bad,
                    std::to_string(begin + bad / per_step) + ", " + action_place(bad % per_step));
    }
  }
  return chosen;
}

void BatchEnv::rollout(const RolloutActions& actions, std::int64_t begin, std::int64_t end, const RolloutOutputs& out,
                       void (*poll)()) {
  const InUse guard(in_use_);
  check_ready(begin > 0);
  const AlignedMemory chosen =
      actions.data == nullptr ? AlignedMemory() : rollout_checked(actions, begin, end - begin, poll);
  const Rollout r{batch(),
                  out,
                  actions.data == nullptr ? nullptr : chosen.data(),
                  actions.low,
                  actions.high,
                  begin,
                  end,
                  std::vector<std::uint8_t>(static_cast<std::size_t>(begin == 0 ? num_envs_ : 0))};
  // Steps between polls: first few, then as many as the clock says. The estimate knows nothing of fresh pages, of drawn
  // actions, or of what else the machine does.
  const double guess = kNanosecondsPerPoll / 20 * pool_.num_threads() / estimated_step_nanoseconds();
  auto slice = static_cast<std::int64_t>(std::clamp(guess, 1.0, 1e6));
  const std::int64_t rows_per_turn = rows_per_poll();
  const std::int64_t block = rows_per_block();
  for (std::int64_t t = begin, until = begin; t < end; t = until) {
    until = t + std::min(slice, end - t);
    const auto started = std::chrono::steady_clock::now();
    for (std::int64_t first = 0; first < num_envs_; first += rows_per_turn) {
      if ((t > begin || first > 0) && poll != nullptr) {
        ready_ = false;
        poll();
        ready_ = true;
      }
      const auto work = [&](std::int64_t from, std::int64_t to) {
        for (std::int64_t row = from; row < to; row += block) {
          const std::int64_t last = std::min(row + block, to);
          if (t == 0) rollout_start(r, row, last);
          for (std::int64_t now = t; now < until; ++now) rollout_step(r, now, row, last);
        }
      };
      for_rows(first, std::min(first + rows_per_turn, num_envs_), work, until - t);
    }
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - started;
    const double factor = std::clamp(kNanosecondsPerPoll / std::max(took.count(), 1.0), 0.1, 4.0);
    slice = static_cast<std::int64_t>(std::clamp(static_cast<double>(slice) * factor, 1.0, 1e9));
  }
  draws_.clear();
}

}  // namespace metarl
