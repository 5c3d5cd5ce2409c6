#include "metarl/batch_env.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "core/batch_env_rows.h"
#include "envs/kernels.h"

namespace metarl {
namespace {

std::size_t obs_bytes(ObsType type) {
  switch (type) {
    case ObsType::float32:
      return 4;
    case ObsType::int64:
      return 8;
    case ObsType::boolean:
    case ObsType::uint8:
      return 1;
  }
  return 0;
}

template <class T>
std::string action_text(const void* actions, std::int64_t index) {
  return std::to_string(static_cast<const T*>(actions)[index]);
}

// The masks of the rows' observations.
void mask_actions(const EnvDefinition& definition, const void* obs, std::int8_t* out, std::int64_t begin,
                  std::int64_t end) {
  const auto* const numbers = static_cast<const std::int64_t*>(obs);
  const std::int8_t* const masks = definition.action_masks.data();
  constexpr std::int64_t kSix = 6;  // Taxi's: a copy of known size is two moves
  if (definition.num_actions == kSix) {
    for (std::int64_t i = begin; i < end; ++i) std::memcpy(out + i * kSix, masks + numbers[i] * kSix, kSix);
    return;
  }
  const std::int64_t width = definition.num_actions;
  for (std::int64_t i = begin; i < end; ++i) std::copy_n(masks + numbers[i] * width, width, out + i * width);
}

std::string action_text(const void* actions, ActionType type, std::int64_t index) {
  switch (type) {
    case ActionType::int8:
      return action_text<std::int8_t>(actions, index);
    case ActionType::int16:
      return action_text<std::int16_t>(actions, index);
    case ActionType::int32:
      return action_text<std::int32_t>(actions, index);
    case ActionType::int64:
      return action_text<std::int64_t>(actions, index);
    case ActionType::uint8:
      return action_text<std::uint8_t>(actions, index);
    case ActionType::uint16:
      return action_text<std::uint16_t>(actions, index);
    case ActionType::uint32:
      return action_text<std::uint32_t>(actions, index);
    case ActionType::uint64:
      return action_text<std::uint64_t>(actions, index);
    case ActionType::float32:
      return action_text<float>(actions, index);
    case ActionType::float64:
      return action_text<double>(actions, index);
  }
  return "?";
}

}  // namespace

BatchEnv::BatchEnv(EnvDefinition definition, std::int64_t num_envs, int num_threads, AutoresetMode mode,
                   std::int32_t max_episode_steps, std::uint64_t seed)
    : definition_(std::move(definition)),
      num_envs_(num_envs),
      mode_(mode),
      max_episode_steps_(max_episode_steps),
      pool_(num_threads) {
  const auto n = static_cast<std::size_t>(num_envs);
  state_.resize(n * definition_.field_names.size() * field_bytes(definition_.field_type));
  elapsed_.resize(n);
  episode_.resize(n);
  seed_.resize(n, seed);
  stream_.resize(n);
  std::iota(stream_.begin(), stream_.end(), std::uint32_t{0});
  done_.resize(n);
  if (definition_.has_end_flag) end_flag_.resize(n);
  if (mode == AutoresetMode::same_step) {
    ended_.resize(n);
    final_obs_.resize(n * obs_row_bytes());
  }
  actions_.resize(n * definition_.action_bytes());
}

std::size_t BatchEnv::obs_row_bytes() const {
  return static_cast<std::size_t>(definition_.obs_size) * obs_bytes(definition_.obs_type);
}

EnvBatch BatchEnv::batch() {
  EnvBatch b;
  b.state = state_.data();
  b.stride = num_envs_;
  b.elapsed = elapsed_.data();
  b.episode = episode_.data();
  b.seed = seed_.data();
  b.stream = stream_.data();
  b.done = done_.data();
  b.params = definition_.params.get();
  if (has_tasks()) {
    b.task_values = task_values_.data();
    b.num_task_values = static_cast<int>(definition_.task_parameters.size());
    b.task_id = task_id_.data();
    b.task_table = task_table_.empty() ? nullptr : task_table_.data();
    b.task_table_size = task_table_size_;
    b.layouts = layouts_.data();
    b.table_layouts = table_layouts_.data();
    b.layout_bytes = definition_.layout_bytes;
  }
  b.max_episode_steps = max_episode_steps_;
  b.mode = mode_;
  b.final_obs = final_obs_.data();
  b.ended = ended_.data();
  b.end_flag = end_flag_.data();
  return b;
}

std::int64_t BatchEnv::rows_per_poll() const {
  const double rows = kNanosecondsPerPoll * pool_.num_threads() / definition_.nanoseconds_per_row;
  return (static_cast<std::int64_t>(rows) / kRowsPerLine + 1) * kRowsPerLine;
}

void BatchEnv::reset(const std::uint8_t* mask, void* obs, const RowSeeds& seeds) {
  const InUse guard(in_use_);
  if (mask != nullptr && !ready_) {
    throw ResetNeeded("reset every environment once before resetting some of them");
  }
  for (std::int64_t k = 0; k < seeds.count; ++k) {
    const auto i = static_cast<std::size_t>(seeds.rows[k]);
    seed_[i] = seeds.seeds[k];
    stream_[i] = seeds.streams[k];
    episode_[i] = 0;
  }
  EnvBatch b = batch();
  b.obs = obs;
  for_rows(0, num_envs_, [&](std::int64_t begin, std::int64_t end) { definition_.reset(b, mask, begin, end); });
  std::fill(ended_.begin(), ended_.end(), std::uint8_t{0});
  std::fill(end_flag_.begin(), end_flag_.end(), std::uint8_t{0});
  ready_ = true;
}

void BatchEnv::observe(void* obs) {
  const InUse guard(in_use_);
  EnvBatch b = batch();
  b.obs = obs;
  const std::vector<std::uint8_t> none(static_cast<std::size_t>(num_envs_), 0);
  definition_.reset(b, none.data(), 0, num_envs_);
}

void BatchEnv::check_actions(const void* actions, ActionType type) {
  std::atomic<std::int64_t> first_bad{std::numeric_limits<std::int64_t>::max()};
  const auto convert = METARL_SELECT_KERNEL(convert_actions);
  const std::int64_t width = definition_.action_width();
  for_rows(0, num_envs_, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t bad =
        convert(actions, type, definition_.num_actions, actions_.data(), begin * width, end * width);
    if (bad < 0) return;
    std::int64_t current = first_bad.load();
    while (bad < current && !first_bad.compare_exchange_weak(current, bad)) {
    }
  });
  const std::int64_t bad = first_bad.load();
  if (bad == std::numeric_limits<std::int64_t>::max()) return;
  refuse_action(actions, type, bad, action_place(bad));
}

std::string BatchEnv::action_place(std::int64_t index) const {
  const std::int64_t width = definition_.action_width();
  return width == 1 ? std::to_string(index) : std::to_string(index / width) + ", " + std::to_string(index % width);
}

void BatchEnv::refuse_action(const void* actions, ActionType type, std::int64_t index, const std::string& where) const {
  throw std::invalid_argument("actions[" + where + "] is " + action_text(actions, type, index) +
                              (definition_.num_actions > 0
                                   ? "; must be in [0, " + std::to_string(definition_.num_actions) + ")"
                                   : std::string("; must be finite")));
}

void BatchEnv::check_ready(bool rows_may_have_ended) const {
  if (!ready_) throw ResetNeeded("reset must be called before step");
  if (mode_ == AutoresetMode::disabled && !rows_may_have_ended) {
    const auto done = std::find(done_.begin(), done_.end(), std::uint8_t{1});
    if (done != done_.end()) {
      throw ResetNeeded(
          "the episode of environment " + std::to_string(done - done_.begin()) +
          " has ended; with autoreset disabled, call reset(options={\"reset_mask\": terminated | truncated})");
    }
  }
}

void BatchEnv::step(const void* actions, ActionType type, const StepOutputs& out, bool obs_holds_last, void (*poll)()) {
  const InUse guard(in_use_);
  check_ready(false);
  check_actions(actions, type);
  EnvBatch b = batch();
  b.actions = actions_.data();
  b.draws = draws_.empty() ? nullptr : draws_.data();
  b.obs = out.obs;
  b.reward = out.reward;
  b.terminated = out.terminated;
  b.truncated = out.truncated;
  b.prob = out.prob;
  b.obs_holds_last = obs_holds_last && definition_.incremental_obs;
  const std::int64_t chunk = rows_per_poll();
  for (std::int64_t first = 0; first < num_envs_; first += chunk) {
    if (first > 0 && poll != nullptr) {
      ready_ = false;
      poll();
      ready_ = true;
    }
    for_rows(first, std::min(first + chunk, num_envs_), [&](std::int64_t begin, std::int64_t end) {
      definition_.step(b, begin, end);
      if (out.action_mask != nullptr) mask_actions(definition_, b.obs, out.action_mask, begin, end);
    });
  }
  draws_.clear();
}

void BatchEnv::set_draws(std::vector<double> draws) {
  const InUse guard(in_use_);
  const auto expected = static_cast<std::size_t>(num_envs_) * static_cast<std::size_t>(definition_.draws_per_row);
  if (definition_.draws_per_row == 0 || draws.size() != expected) {
    throw std::invalid_argument("draws: expected " + std::to_string(expected) + " numbers, got " +
                                std::to_string(draws.size()));
  }
  draws_ = std::move(draws);
}

bool BatchEnv::any_ended() const { return std::memchr(ended_.data(), 1, ended_.size()) != nullptr; }

}  // namespace metarl
