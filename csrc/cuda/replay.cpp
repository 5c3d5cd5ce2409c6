#include "cuda/replay.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>

#include "metarl/errors.h"
#include "metarl/streams.h"

namespace metarl::cuda {
namespace {

constexpr std::size_t kAlignment = 256;
// What reading and writing columns holds in host memory besides the result.
constexpr std::size_t kStagingBytes = std::size_t{64} << 20;

// Unique among processes, too: a batch may come back from another one.
std::uint64_t next_epoch() {
  static std::uint64_t epoch = [] {
    std::random_device device;
    return std::uint64_t{device()} << 32 | device();
  }();
  return ++epoch;
}

// Before memory is asked for.
const ReplaySettings& checked(const ReplaySettings& settings) {
  if (Streams::needed(settings.options)) Streams::check_size(settings.options);
  return settings;
}

}  // namespace

Replay::Replay(std::shared_ptr<Device> device, const ReplaySettings& settings)
    : settings_(checked(settings)), tree_(std::move(device), settings.options.capacity, settings.options.seed) {
  replay_.alpha = settings.alpha;
  replay_.eps = settings.eps;
  replay_.max_priority = settings.max_priority;
  const auto check_power = [&](float priority, const char* name) {
    if (std::isfinite(scaled_priority(replay_, priority))) return;
    throw std::invalid_argument(std::string(name) + " to the power of alpha = " + std::to_string(settings.alpha) +
                                " overflows");
  };
  check_power(settings.eps, "eps");
  if (settings.max_priority < std::numeric_limits<float>::max()) check_power(settings.max_priority, "max_priority");

  // What is divisible by more comes first: then every field is aligned to what divides its own size.
  std::vector<int> column_of;
  stored_ = Streams::stored_fields(settings.options, &column_of);
  std::vector<std::size_t> order(stored_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return unit_of(stored_[a].bytes) > unit_of(stored_[b].bytes); });
  columns_.resize(order.size());
  for (const std::size_t f : order) {
    Column& column = columns_[f];
    column.bytes = stored_[f].bytes;
    column.packed = column.bytes <= kMaxPackedBytes;
    if (column.packed) {
      column.data = nullptr;
      column.stride = row_bytes_;  // its offset until the memory is there
      row_bytes_ += column.bytes;
    } else {
      column.stride = padded(column.bytes, kMaxUnit);
      bytes_per_slot_ += column.stride;
    }
  }
  row_bytes_ = row_bytes_ <= 8 ? std::bit_ceil(row_bytes_) : padded(row_bytes_, kMaxUnit);
  bytes_per_slot_ += row_bytes_;
  const auto slots = static_cast<std::size_t>(capacity());
  const std::size_t fixed = padded(sizeof(ReplayState), kAlignment) + padded(slots * sizeof(float), kAlignment) +
                            kAlignment * (columns_.size() + 1);
  if (bytes_per_slot_ > (static_cast<std::size_t>(PTRDIFF_MAX) - fixed) / slots) {
    throw OutOfMemoryError("cannot allocate " + std::to_string(capacity()) + " transitions of " +
                           std::to_string(bytes_per_slot_) + " bytes on " + this->device().name());
  }
  num_bytes_ = fixed + slots * bytes_per_slot_;
  memory_ = static_cast<std::byte*>(
      this->device().allocate(num_bytes_, "a replay buffer of " + std::to_string(capacity()) + " transitions, " +
                                              std::to_string(bytes_per_slot_) + " bytes each"));
  try {
    this->device().fill_with_zeros(memory_, num_bytes_);
    place_columns();
    const ReplayState state = new_state(first_priority());
    this->device().write(replay_.state, &state, sizeof state, kLegacyStream);
    if (settings.options.tasks.field >= 0) make_tasks(column_of);
    if (Streams::needed(settings.options)) make_streams(std::move(column_of));
  } catch (...) {
    this->device().release(memory_);
    throw;
  }
}

Replay::~Replay() { device().release(memory_); }

bool Replay::overflows(float error) const {
  return scaled_priority(replay_, raw_priority(replay_, error)) * kPowerMargin > kLargestDouble;
}

void Replay::place_columns() {
  const auto slots = static_cast<std::size_t>(capacity());
  std::size_t used = 0;
  const auto take = [&](std::size_t bytes) {
    std::byte* at = memory_ + used;
    used += padded(bytes, kAlignment);
    return at;
  };
  replay_.state = reinterpret_cast<ReplayState*>(take(sizeof(ReplayState)));
  replay_.raw = reinterpret_cast<float*>(take(slots * sizeof(float)));
  std::byte* rows = take(slots * row_bytes_);
  for (Column& column : columns_) {
    if (column.packed) {
      column.data = rows + column.stride;
      column.stride = row_bytes_;
    } else {
      column.data = take(slots * column.stride);
    }
  }
}

void Replay::make_tasks(const std::vector<int>& column_of) {
  const auto field = static_cast<std::size_t>(settings_.options.tasks.field);
  const Column& column = columns_[static_cast<std::size_t>(column_of[field])];
  tasks_ = std::make_unique<ReplayTasks>(device(), settings_.options, !settings_.uniform, tree_.arrays(),
                                         &replay_.state->written, column.data, column.stride);
}

void Replay::make_streams(std::vector<int> column_of) {
  ReplayArrays arrays{tree_.arrays(), replay_, tasks_ != nullptr ? tasks_->arrays() : DeviceTasks{}, {}};
  for (const Column& column : columns_) arrays.columns.push_back({column.data, column.stride, column.bytes});
  streams_ = std::make_unique<ReplayStreams>(device(), settings_.options, std::move(column_of), std::move(arrays));
}

// Leaves without mass are drawn by their rank, all alike.
float Replay::first_priority() const {
  return settings_.uniform ? 0.0f : std::max(settings_.eps, std::min(1.0f, settings_.max_priority));
}

ReplayState Replay::new_state(float running_max) const {
  ReplayState state{};
  state.epoch = next_epoch();
  state.running_max = running_max;
  state.running_max_scaled = scaled_priority(replay_, running_max);
  return state;
}

CopyCall Replay::copy_call(CopyKind kind, std::int64_t n) const {
  CopyCall call{};
  call.kind = kind;
  call.n = n;
  call.capacity = capacity();
  call.replay = replay_.state;
  call.tree = tree_.arrays().state;
  return call;
}

std::vector<FieldCopy> Replay::field_copies(std::byte* const* rows) const {
  std::vector<FieldCopy> copies;
  for (std::size_t f = 0; f < columns_.size(); ++f) {
    const Column& column = columns_[f];
    copies.push_back({column.data, column.stride, rows[f], column.bytes, 0, column.bytes});
  }
  return copies;
}

void Replay::add(const std::byte* const* fields, std::int64_t n, Stream stream) {
  Timeline& timeline = *tree_.timeline();
  timeline.follow(stream);
  if (streams_ != nullptr) {
    streams_->add(fields, n, stream);
  } else {
    add_alone(fields, n, stream);
  }
  timeline.end_call(stream);
}

void Replay::add_alone(const std::byte* const* fields, std::int64_t n, Stream stream) {
  const std::int64_t dropped = std::max<std::int64_t>(n - capacity(), 0);  // the rest would overwrite them
  const std::byte* task_rows = tasks_ != nullptr ? fields[settings_.options.tasks.field] : nullptr;
  // Before the first launch: where there is no memory for it nothing has changed.
  const std::vector<FieldCopy> copies = field_copies(const_cast<std::byte* const*>(fields));
  if (tasks_ != nullptr) tasks_->order(task_rows, n, stream);
  CopyCall copy = copy_call(CopyKind::scatter, n - dropped);
  copy.dropped = dropped;
  // The kernel reads these.
  start_copies(device(), copy, copies, stream);
  PriorityCall call{};
  call.tree = tree_.arrays();
  call.replay = replay_;
  call.n = n - dropped;
  call.kind = SetKind::set;
  call.change = ReplayChange::add;
  call.dropped = dropped;
  call.task_rows = task_rows;
  if (tasks_ != nullptr) call.tasks = tasks_->arrays();
  device().start(call, stream);
  if (tasks_ != nullptr) tasks_->refresh(stream);
}

// What draws from all slots and draws by task have in common.
template <typename Call>
Call Replay::call_of(const ReplayDraw& draw) const {
  Call call{};
  call.key = tree_.key();
  call.n = draw.n;
  call.mode = draw.mode;
  call.normalization = settings_.normalization;
  call.beta = draw.beta;
  call.beta_memory = draw.beta_memory;
  call.indices = draw.indices;
  call.weights = draw.weights;
  call.probabilities = draw.probabilities;
  return call;
}

void Replay::draw(const ReplayDraw& draw, Stream stream) {
  if (draw.tasks != nullptr) return tasks_->sample(call_of<TaskSampleCall>(draw), *draw.tasks, stream);
  auto call = call_of<SampleCall>(draw);
  call.tree = tree_.arrays();
  call.tag = settings_.uniform ? kTagUniformSample : kTagTreeSample;
  device().start(call, stream);
}

void Replay::sample(const ReplayDraw& draw, Stream stream) {
  Timeline& timeline = *tree_.timeline();
  timeline.follow(stream);
  this->draw(draw, stream);
  if (streams_ != nullptr) {
    streams_->gather(draw, stream);
  } else {
    CopyCall copy = copy_call(CopyKind::gather, draw.n);
    copy.indices = draw.indices;
    copy.mark = draw.mark;
    start_copies(device(), copy, field_copies(draw.fields), stream);
  }
  timeline.end_call(stream);
}

void Replay::update(const PriorityUpdate& update, Stream stream) {
  if (update.n == 0) return;
  Timeline& timeline = *tree_.timeline();
  timeline.follow(stream);
  PriorityCall call{};
  call.tree = tree_.arrays();
  call.replay = replay_;
  call.n = update.n;
  call.kind = SetKind::set;
  call.change = settings_.uniform ? ReplayChange::check : ReplayChange::update;
  call.strict = update.strict;
  call.indices = update.indices;
  call.errors = update.errors;
  call.wide_errors = update.wide_errors;
  call.mark = update.mark;
  if (update.of_steps) {
    const StreamOptions& streams = settings_.options.streams;
    call.length = streams.sequence_length;
    call.burn_in = streams.burn_in;
    call.priority_mix = streams.priority_mix;
    call.steps_mask = update.steps_mask;
  }
  device().start(call, stream);
  if (tasks_ != nullptr && !settings_.uniform) tasks_->refresh(update.indices, update.n, stream);
  timeline.end_call(stream);
}

Replay::State Replay::state(Stream stream) {
  State state{};
  state.tree = tree_.state(stream);
  device().read(&state.replay, replay_.state, sizeof state.replay, stream);
  const auto slots = static_cast<std::uint64_t>(capacity());
  state.slots_used = static_cast<std::int64_t>(std::min(state.replay.written, slots));
  return state;
}

void Replay::clear(Stream stream) {
  Content empty{};
  empty.tree = state(stream).tree;
  empty.tree.changes = 0;
  empty.tree.scale_exponent = 0;
  ++empty.tree.rescales;
  empty.stale_updates = state(stream).replay.stale_updates;
  empty.running_max = first_priority();
  if (streams_ != nullptr) {
    empty.streams = streams_->empty_tables();
    empty.streams.pending = read_streams(stream).pending;  // as on the CPU
  }
  load(empty, stream);
}

void Replay::read_field(std::size_t f, std::int64_t n, std::byte* rows, Stream stream) {
  const Column& column = columns_[f];
  const std::int64_t part = std::max<std::int64_t>(static_cast<std::int64_t>(kStagingBytes / column.stride), 1);
  std::vector<std::byte> staged;
  tree_.timeline()->follow(stream);
  for (std::int64_t begin = 0; begin < n; begin += part) {
    const auto count = static_cast<std::size_t>(std::min(part, n - begin));
    // The last slot's other fields lie before or behind this one's.
    staged.resize((count - 1) * column.stride + column.bytes);
    device().read(staged.data(), column.data + static_cast<std::size_t>(begin) * column.stride, staged.size(), stream);
    for (std::size_t i = 0; i < count; ++i) {
      std::memcpy(rows + (static_cast<std::size_t>(begin) + i) * column.bytes, staged.data() + i * column.stride,
                  column.bytes);
    }
  }
}

void Replay::write_field(const Column& column, std::int64_t n, const std::byte* rows, Stream stream) {
  const std::int64_t part = std::max<std::int64_t>(static_cast<std::int64_t>(kStagingBytes / column.stride), 1);
  std::vector<std::byte> staged;
  for (std::int64_t begin = 0; begin < n; begin += part) {
    const auto count = static_cast<std::size_t>(std::min(part, n - begin));
    staged.resize((count - 1) * column.stride + column.bytes);
    std::byte* at = column.data + static_cast<std::size_t>(begin) * column.stride;
    // What lies between: the slots' other fields.
    if (column.packed) device().read(staged.data(), at, staged.size(), stream);
    for (std::size_t i = 0; i < count; ++i) {
      std::memcpy(staged.data() + i * column.stride, rows + (static_cast<std::size_t>(begin) + i) * column.bytes,
                  column.bytes);
    }
    device().write(at, staged.data(), staged.size(), stream);
  }
}

void Replay::read_priorities(std::int64_t n, float* raw, Stream stream) {
  tree_.timeline()->follow(stream);
  if (n > 0) device().read(raw, replay_.raw, static_cast<std::size_t>(n) * sizeof *raw, stream);
}

StreamTables Replay::read_streams(Stream stream) {
  tree_.timeline()->follow(stream);
  return streams_->read(stream);
}

std::vector<ReplayTasks::Summary> Replay::task_summaries(Stream stream) {
  tree_.timeline()->follow(stream);
  return tasks_->summaries(stream);
}

std::vector<TaskEntry> Replay::read_tasks(std::int64_t n, Stream stream) {
  tree_.timeline()->follow(stream);
  return tasks_->read(n, stream);
}

std::int64_t Replay::clear_task(int task, Stream stream) {
  Timeline& timeline = *tree_.timeline();
  timeline.follow(stream);
  std::vector<std::int64_t> slots = tasks_->slots_of(task, stream);
  const auto n = static_cast<std::int64_t>(slots.size());
  if (n == 0) return 0;
  std::reverse(slots.begin(), slots.end());  // nothing moves when the last ones leave
  const std::size_t bytes = slots.size() * sizeof(std::int64_t);
  const std::shared_ptr<void> memory = tree_.pool().take(bytes, stream, "the slots of a task");
  auto* on_device = static_cast<std::int64_t*>(memory.get());
  device().write(on_device, slots.data(), bytes, stream);
  tree_.invalidate(on_device, n, stream);
  tasks_->remove(on_device, n, stream);
  tasks_->refresh(stream);
  timeline.end_call(stream);
  return n;
}

void Replay::load(const Content& content, Stream stream) {
  tree_.load(content.tree, content.n, content.masses, content.valid, stream);
  for (std::size_t f = 0; f < content.fields.size(); ++f) {
    write_field(columns_[f], content.n, content.fields[f], stream);
  }
  if (content.n > 0) {
    device().write(replay_.raw, content.raw, static_cast<std::size_t>(content.n) * sizeof *content.raw, stream);
  }
  ReplayState state = new_state(content.running_max);
  state.written = content.written;
  state.stale_updates = content.stale_updates;
  device().write(replay_.state, &state, sizeof state, stream);
  if (streams_ != nullptr) streams_->write(content.streams, stream);
  if (tasks_ != nullptr) tasks_->write(content.tasks, stream);
  tree_.timeline()->end_call(stream);
}

}  // namespace metarl::cuda
