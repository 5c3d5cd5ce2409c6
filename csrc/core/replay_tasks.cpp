// Tasks of a replay buffer: which slot belongs to which, and batches drawn from one of them or from a mixture.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>

#include "core/distinct_draws.h"
#include "core/poll.h"
#include "metarl/detail/fixed_point.h"
#include "metarl/detail/philox.h"
#include "metarl/errors.h"
#include "metarl/replay_buffer.h"

namespace metarl {
namespace {

// The largest weight of a mixture is scaled by a power of two to have this many bits: ratios of small integers stay
// exact.
constexpr int kWeightBits = 31;

std::int64_t read_integer(const std::byte* data, std::size_t bytes, bool is_signed) {
  const auto load = [data](auto value) {
    std::memcpy(&value, data, sizeof value);
    return static_cast<std::int64_t>(value);
  };
  switch (bytes) {
    case 1:
      return is_signed ? load(std::int8_t{}) : load(std::uint8_t{});
    case 2:
      return is_signed ? load(std::int16_t{}) : load(std::uint16_t{});
    case 4:
      return is_signed ? load(std::int32_t{}) : load(std::uint32_t{});
    default:
      return load(std::int64_t{});  // an unsigned number that is too large turns negative: refused as well
  }
}

std::string present_text(const std::vector<std::uint16_t>& tasks) {
  constexpr std::size_t kMost = 20;
  std::string text;
  for (std::size_t i = 0; i < std::min(tasks.size(), kMost); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(tasks[i]);
  }
  if (tasks.size() > kMost) text += ", ... (" + std::to_string(tasks.size()) + " in all)";
  return tasks.empty() ? "none" : text;
}

}  // namespace

void ReplayBuffer::parse_tasks(const ColumnSource* columns, std::int64_t n, const Poll& poll) {
  const TaskOptions& field = options_.tasks;
  const ColumnSource& column = columns[field.field];
  new_tasks_.resize(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) {
    if (poll && i % kPollItems == 0) poll();
    const std::int64_t task = read_integer(column.data + i * column.stride, field.bytes, field.is_signed);
    if (task < 0 || task > TaskIndex::kMaxTask) {
      const bool wrapped = task < 0 && !field.is_signed;
      throw std::invalid_argument(options_.fields[static_cast<std::size_t>(field.field)].name +
                                  (n > 1 ? "[" + std::to_string(i) + "]" : "") + " is " +
                                  (wrapped ? std::to_string(static_cast<std::uint64_t>(task)) : std::to_string(task)) +
                                  "; must be in [0, " + std::to_string(TaskIndex::kMaxTask) + "]");
    }
    new_tasks_[static_cast<std::size_t>(i)] = static_cast<std::uint16_t>(task);
  }
}

std::int64_t ReplayBuffer::stored_task(std::int64_t slot) const {
  std::byte value[8] = {};
  const TaskOptions& field = options_.tasks;
  store_.read(static_cast<std::size_t>(column_of_[static_cast<std::size_t>(field.field)]), slot, 1, value);
  return read_integer(value, field.bytes, field.is_signed);
}

void ReplayBuffer::follow_scale() {
  if (rescales() == seen_rescales_) return;
  seen_rescales_ = rescales();
  tasks_->reload(leaves());
}

void ReplayBuffer::track(const std::int64_t* slots, const std::uint16_t* tasks, std::int64_t n) {
  tasks_->place(slots, tasks, n, leaves());
  follow_scale();
}

void ReplayBuffer::track_stored(const std::int64_t* slots, std::int64_t n) {
  new_tasks_.resize(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i)
    new_tasks_[static_cast<std::size_t>(i)] = static_cast<std::uint16_t>(stored_task(slots[i]));
  track(slots, new_tasks_.data(), n);
}

void ReplayBuffer::rebuild_tasks(const std::uint32_t* positions, const Poll& poll) {
  std::vector<std::uint16_t> task_of(static_cast<std::size_t>(slots_used_unlocked()));
  for (std::size_t slot = 0; slot < task_of.size(); ++slot) {
    if (poll && static_cast<std::int64_t>(slot) % kPollItems == 0) poll();
    if (!valid().contains(static_cast<std::int64_t>(slot))) continue;
    const std::int64_t task = stored_task(static_cast<std::int64_t>(slot));
    if (task < 0 || task > TaskIndex::kMaxTask) {  // in a state that is being loaded
      throw std::invalid_argument("slot " + std::to_string(slot) + " holds the task " + std::to_string(task) +
                                  "; must be in [0, " + std::to_string(TaskIndex::kMaxTask) + "]");
    }
    task_of[slot] = static_cast<std::uint16_t>(task);
  }
  tasks_->rebuild(valid(), task_of.data(), leaves(), positions, poll);
  seen_rescales_ = rescales();
}

TaskIndex& ReplayBuffer::tasks() const {
  if (tasks_ == nullptr) throw std::invalid_argument("the buffer was made without task_field");
  // What is behind the tasks stays as it is.
  auto* self = const_cast<ReplayBuffer*>(this);
  if (tasks_->is_lost()) self->rebuild_tasks(nullptr);
  self->follow_scale();
  return *tasks_;
}

std::vector<TaskSummary> ReplayBuffer::task_summaries() const {
  const std::lock_guard lock(mutex_);
  const TaskIndex& index = tasks();
  std::vector<TaskSummary> all;
  all.reserve(index.tasks().size());
  for (const int task : index.tasks()) {
    const std::int64_t count = index.count(task);
    const bool weighted = leaves() != nullptr;
    all.push_back(
        {task, count, weighted ? static_cast<double>(index.total(task)) * unit() : static_cast<double>(count)});
  }
  return all;
}

std::int64_t ReplayBuffer::clear_task(int task, const Poll& poll) {
  const std::lock_guard lock(mutex_);
  TaskIndex& index = tasks();
  std::vector<std::int64_t> slots(index.slots(task).begin(), index.slots(task).end());
  const auto n = static_cast<std::int64_t>(slots.size());
  if (!poll) {
    hide(slots.data(), n);
    index.clear_task(task);
    return n;
  }
  std::reverse(slots.begin(), slots.end());  // nothing moves when the last ones leave
  in_parts(n, poll, [&](std::int64_t begin, std::int64_t end) {
    hide(slots.data() + begin, end - begin);
    index.remove(slots.data() + begin, end - begin);
  });
  return n;
}

// The tasks that take part, ascending, with their weights as integers.
void ReplayBuffer::make_shares(const TaskMix& mix) {
  const TaskIndex& index = tasks();
  shares_.clear();
  if (mix.balanced) {
    for (const int task : index.tasks()) shares_.push_back({task, 1});
    return;
  }
  const double largest = *std::max_element(mix.weights.begin(), mix.weights.end());
  const int up = kWeightBits - 1 - std::ilogb(largest);
  for (std::size_t i = 0; i < mix.tasks.size(); ++i) {
    const double weight = mix.weights[i];
    if (weight == 0.0) continue;
    if (index.count(mix.tasks[i]) == 0) {
      throw BufferEmptyError("cannot sample task " + std::to_string(mix.tasks[i]) +
                             ": it has no transitions; tasks present: " + present_text(index.tasks()));
    }
    const auto rounded = static_cast<std::uint64_t>(std::llround(std::ldexp(weight, up)));
    shares_.push_back({mix.tasks[i], std::max<std::uint64_t>(rounded, 1)});
  }
  std::sort(shares_.begin(), shares_.end(), [](const Share& a, const Share& b) { return a.task < b.task; });
}

void ReplayBuffer::draw_tasks(const SampleRequest& request, const SampleOutput& out, TaskDraw* drawn,
                              const Poll& poll) {
  make_shares(*request.tasks);
  TaskIndex& index = *tasks_;
  std::uint64_t sum = 0;
  for (const Share& share : shares_) sum += share.weight;
  const std::uint64_t call = num_draws();
  grow(&drawn_masses_, static_cast<std::size_t>(request.n), poll);
  *drawn = {1.0, 0};
  // Systematic rounding: with C_t = n * (w_0 + ... + w_t) / sum and u uniform in [0, 1), task t gets
  // floor(C_t + u) - floor(C_{t-1} + u) draws: n * w_t / sum on average, and never another number than that rounded
  // down or up. `rest` is the fractional part, times sum; all of it is exact.
  std::uint64_t rest = draw_uniform(RandomBits(key(), call, kTagTaskCounts).next(), sum);
  std::int64_t first = 0;
  for (const Share& share : shares_) {
    const std::uint64_t exact = static_cast<std::uint64_t>(request.n) * share.weight + rest;
    const auto n = static_cast<std::int64_t>(exact / sum);
    rest = exact % sum;
    const double weight = static_cast<double>(share.weight) / static_cast<double>(sum);
    const std::int64_t count = index.count(share.task);
    const double total = static_cast<double>(index.total(share.task));
    const bool proportional = request.mode != SamplingMode::uniform && total > 0.0;
    const double each = weight / static_cast<double>(count);
    drawn->drawable += count;
    drawn->min_probability =
        std::min(drawn->min_probability, proportional ? weight * (index.smallest(share.task) / total) : each);
    if (n == 0) continue;
    index.sample(share.task, n, request.mode, key(), call, out.indices + first, drawn_masses_.data() + first, poll);
    for (std::int64_t i = first; i < first + n; ++i) {
      out.probabilities[i] = proportional ? weight * (drawn_masses_[static_cast<std::size_t>(i)] / total) : each;
    }
    first += n;
  }
  count_draw();
}

}  // namespace metarl
