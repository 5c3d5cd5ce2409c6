#include "metarl/batch_env.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "envs/kernels.h"

namespace metarl {
namespace {

// Rows of different threads do not share cache lines, not even in the byte arrays.
constexpr std::int64_t kRowsPerLine = 64;
// Below this much work a thread costs more than it gives.
constexpr double kNanosecondsPerThread = 20000;
constexpr double kNanosecondsPerPoll = 20e6;

std::size_t field_bytes(FieldType type) { return type == FieldType::float64 ? 8 : 4; }

std::size_t obs_bytes(ObsType type) {
  switch (type) {
    case ObsType::float32:
      return 4;
    case ObsType::int64:
      return 8;
    case ObsType::boolean:
      return 1;
  }
  return 0;
}

template <class Function>
void with_field_type(FieldType type, void* data, const Function& function) {
  switch (type) {
    case FieldType::float32:
      return function(static_cast<float*>(data));
    case FieldType::float64:
      return function(static_cast<double*>(data));
    case FieldType::int32:
      return function(static_cast<std::int32_t*>(data));
  }
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

class BatchEnv::InUse {
 public:
  explicit InUse(std::atomic<bool>& flag) : flag_(flag) {
    if (flag_.exchange(true, std::memory_order_acquire)) {
      throw std::runtime_error("this environment is in use by another thread; one caller at a time");
    }
  }
  ~InUse() { flag_.store(false, std::memory_order_release); }
  InUse(const InUse&) = delete;
  InUse& operator=(const InUse&) = delete;

 private:
  std::atomic<bool>& flag_;
};

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
  actions_.resize(n * (definition_.num_actions > 0
                           ? sizeof(std::uint8_t)
                           : sizeof(float) * static_cast<std::size_t>(definition_.action_size)));
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
  }
  b.max_episode_steps = max_episode_steps_;
  b.mode = mode_;
  b.final_obs = final_obs_.data();
  b.ended = ended_.data();
  b.end_flag = end_flag_.data();
  return b;
}

template <class Function>
void BatchEnv::for_rows(std::int64_t begin, std::int64_t end, const Function& function) {
  const std::int64_t rows = end - begin;
  const double parts_worth = static_cast<double>(rows) * definition_.nanoseconds_per_row / kNanosecondsPerThread;
  const int parts = std::min({pool_.num_threads(), static_cast<int>(std::min(parts_worth, 1e6)),
                              static_cast<int>(std::min<std::int64_t>(rows / kRowsPerLine, 1 << 20))});
  if (parts <= 1) {
    function(begin, end);
    return;
  }
  const std::int64_t lines = (rows + kRowsPerLine - 1) / kRowsPerLine;
  auto task = [&](int part) {
    const std::int64_t from = begin + lines * part / parts * kRowsPerLine;
    function(from, std::min(begin + lines * (part + 1) / parts * kRowsPerLine, end));
  };
  pool_.run(parts, task);
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
  const std::int64_t size = definition_.num_actions > 0 ? 1 : definition_.action_size;
  for_rows(0, num_envs_, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t bad = convert(actions, type, definition_.num_actions, actions_.data(), begin * size, end * size);
    if (bad < 0) return;
    std::int64_t current = first_bad.load();
    while (bad < current && !first_bad.compare_exchange_weak(current, bad)) {
    }
  });
  const std::int64_t bad = first_bad.load();
  if (bad == std::numeric_limits<std::int64_t>::max()) return;
  const std::string where =
      size == 1 ? std::to_string(bad) : std::to_string(bad / size) + ", " + std::to_string(bad % size);
  throw std::invalid_argument("actions[" + where + "] is " + action_text(actions, type, bad) +
                              (definition_.num_actions > 0
                                   ? "; must be in [0, " + std::to_string(definition_.num_actions) + ")"
                                   : std::string("; must be finite")));
}

void BatchEnv::step(const void* actions, ActionType type, const StepOutputs& out, bool obs_holds_last, void (*poll)()) {
  const InUse guard(in_use_);
  if (!ready_) throw ResetNeeded("reset must be called before step");
  if (mode_ == AutoresetMode::disabled) {
    const auto done = std::find(done_.begin(), done_.end(), std::uint8_t{1});
    if (done != done_.end()) {
      throw ResetNeeded(
          "the episode of environment " + std::to_string(done - done_.begin()) +
          " has ended; with autoreset disabled, call reset(options={\"reset_mask\": terminated | truncated})");
    }
  }
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

// Row-major numbers of `count` tasks as columns of the type that the kernels take.
std::vector<std::byte> BatchEnv::task_columns(const double* values, std::int64_t count) const {
  const auto n = static_cast<std::size_t>(count);
  const std::size_t width = definition_.task_parameters.size();
  std::vector<std::byte> columns(n * width * field_bytes(task_type()));
  with_field_type(task_type(), columns.data(), [&](auto* data) {
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t k = 0; k < width; ++k) {
        data[k * n + i] = static_cast<std::remove_reference_t<decltype(*data)>>(values[i * width + k]);
      }
    }
  });
  return columns;
}

void BatchEnv::set_tasks(const double* values, const std::int32_t* ids) {
  const InUse guard(in_use_);
  if (definition_.task_parameters.empty()) {
    throw std::invalid_argument(definition_.name + " has no parameters that can differ between environments");
  }
  std::vector<std::byte> columns;
  std::vector<std::int32_t> numbers;
  if (values != nullptr) {
    columns = task_columns(values, num_envs_);
    numbers.assign(ids, ids + num_envs_);
  }
  task_values_ = std::move(columns);
  task_id_ = std::move(numbers);
  task_table_.clear();
  task_table_size_ = 0;
}

void BatchEnv::set_task_table(const double* values, std::int64_t count) {
  const InUse guard(in_use_);
  if (definition_.task_parameters.empty()) {
    throw std::invalid_argument(definition_.name + " has no parameters that can differ between environments");
  }
  std::vector<std::byte> table = task_columns(values, count);
  if (!has_tasks()) {
    std::vector<double> own;
    for (std::int64_t i = 0; i < num_envs_; ++i) {
      own.insert(own.end(), definition_.task_defaults.begin(), definition_.task_defaults.end());
    }
    std::vector<std::byte> columns = task_columns(own.data(), num_envs_);
    task_id_.assign(static_cast<std::size_t>(num_envs_), -1);
    task_values_ = std::move(columns);
  }
  task_table_ = std::move(table);
  task_table_size_ = count;
}

void BatchEnv::get_tasks(double* values, std::int32_t* ids) {
  const InUse guard(in_use_);
  const auto n = static_cast<std::size_t>(num_envs_);
  const std::size_t width = definition_.task_parameters.size();
  with_field_type(task_type(), task_values_.data(), [&](const auto* data) {
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t k = 0; k < width; ++k) values[i * width + k] = static_cast<double>(data[k * n + i]);
    }
  });
  std::copy(task_id_.begin(), task_id_.end(), ids);
}

bool BatchEnv::any_ended() const { return std::memchr(ended_.data(), 1, ended_.size()) != nullptr; }

void BatchEnv::get_state(const EnvStateOut& out) {
  const InUse guard(in_use_);
  const auto n = static_cast<std::size_t>(num_envs_);
  const std::size_t fields = definition_.field_names.size();
  if (out.fields != nullptr) {
    with_field_type(definition_.field_type, state_.data(), [&](const auto* data) {
      for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t f = 0; f < fields; ++f) out.fields[i * fields + f] = static_cast<double>(data[f * n + i]);
      }
    });
  }
  if (out.elapsed != nullptr) std::copy(elapsed_.begin(), elapsed_.end(), out.elapsed);
  if (out.episode != nullptr) std::copy(episode_.begin(), episode_.end(), out.episode);
  if (out.seed != nullptr) std::copy(seed_.begin(), seed_.end(), out.seed);
  if (out.stream != nullptr) std::copy(stream_.begin(), stream_.end(), out.stream);
  if (out.done != nullptr) std::copy(done_.begin(), done_.end(), out.done);
}

void BatchEnv::check_state(const EnvStateIn& in) const {
  const auto n = static_cast<std::size_t>(num_envs_);
  const std::size_t fields = definition_.field_names.size();
  std::vector<double> rounded(fields);
  for (std::size_t i = 0; in.fields != nullptr && i < n; ++i) {
    const double* const row = in.fields + i * fields;
    // Before it is rounded: out of float's range, a conversion to float is undefined.
    bool valid = definition_.field_type != FieldType::float32 || std::all_of(row, row + fields, [](double x) {
                   return std::abs(x) <= static_cast<double>(std::numeric_limits<float>::max());
                 });
    if (valid) {
      const bool narrow = definition_.field_type == FieldType::float32;
      for (std::size_t f = 0; f < fields; ++f) {
        rounded[f] = narrow ? static_cast<double>(static_cast<float>(row[f])) : row[f];
      }
      valid = definition_.valid_state(definition_.params.get(), rounded.data());
    }
    if (!valid) {
      throw std::invalid_argument("state[" + std::to_string(i) + "] is not a state of " + definition_.name);
    }
  }
  for (std::size_t i = 0; in.elapsed != nullptr && i < n; ++i) {
    if (in.elapsed[i] < 0 || in.elapsed[i] == std::numeric_limits<std::int32_t>::max()) {
      throw std::invalid_argument("elapsed[" + std::to_string(i) + "] is " + std::to_string(in.elapsed[i]) +
                                  "; must be in [0, 2147483647)");
    }
  }
}

void BatchEnv::set_state(const EnvStateIn& in) {
  const InUse guard(in_use_);
  check_state(in);
  const auto n = static_cast<std::size_t>(num_envs_);
  const std::size_t fields = definition_.field_names.size();
  if (in.fields != nullptr) {
    with_field_type(definition_.field_type, state_.data(), [&](auto* data) {
      for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t f = 0; f < fields; ++f) {
          data[f * n + i] = static_cast<std::remove_reference_t<decltype(*data)>>(in.fields[i * fields + f]);
        }
      }
    });
    ready_ = true;
  }
  if (in.elapsed != nullptr) std::copy_n(in.elapsed, n, elapsed_.begin());
  if (in.episode != nullptr) std::copy_n(in.episode, n, episode_.begin());
  if (in.seed != nullptr) std::copy_n(in.seed, n, seed_.begin());
  if (in.stream != nullptr) std::copy_n(in.stream, n, stream_.begin());
  if (in.done != nullptr) std::copy_n(in.done, n, done_.begin());
}

}  // namespace metarl
