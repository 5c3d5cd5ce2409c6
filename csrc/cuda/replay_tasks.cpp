#include "cuda/replay_tasks.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "metarl/detail/add_portions.h"

namespace metarl::cuda {
namespace {

constexpr std::size_t kAlignment = 256;

// Rows of a portion of the CPU's buffer, or 0 if n rows are added at once.
std::int64_t portion_of(const std::vector<FieldSpec>& fields, std::int64_t n) {
  SlotBytes slot;
  std::size_t row = 0;
  for (const FieldSpec& field : fields) {
    row += field.bytes;
    slot.add(field.bytes, field.alignment);
  }
  return adds_in_portions(n, static_cast<std::size_t>(n) * row) ? rows_of_portion(slot.row() + slot.large) : 0;
}

}  // namespace

std::vector<ListedTask> listed_tasks(const TaskMix& mix) {
  std::vector<ListedTask> listed;
  const double largest = *std::max_element(mix.weights.begin(), mix.weights.end());
  for (std::size_t i = 0; i < mix.tasks.size(); ++i) {
    if (mix.weights[i] > 0.0) listed.push_back({mix.tasks[i], integer_weight(mix.weights[i], largest)});
  }
  std::sort(listed.begin(), listed.end(), [](const ListedTask& a, const ListedTask& b) { return a.task < b.task; });
  for (std::size_t i = 1; i < listed.size(); ++i) {
    if (listed[i].task != listed[i - 1].task) continue;
    throw std::invalid_argument("task_weights has the task " + std::to_string(listed[i].task) +
                                " twice; each must be there once");
  }
  return listed;
}

ReplayTasks::ReplayTasks(Device& device, const ReplayOptions& options, bool weighted, const DeviceTree& tree,
                         const std::uint64_t* written, std::byte* stored, std::size_t stride)
    : device_(device), options_(options), tree_(tree), written_(written) {
  tasks_.stored = stored;
  tasks_.stored_stride = static_cast<std::int64_t>(stride);
  tasks_.bytes = static_cast<int>(options.tasks.bytes);
  tasks_.is_signed = options.tasks.is_signed;
  tasks_.weighted = weighted;
  place_memory();
  memory_ = static_cast<std::byte*>(
      device_.allocate(num_bytes_, "the tasks of " + std::to_string(options.capacity) + " transitions"));
  try {
    place_memory();
    device_.fill_with_zeros(memory_, num_bytes_);
  } catch (...) {
    device_.release(memory_);
    throw;
  }
}

ReplayTasks::~ReplayTasks() { device_.release(memory_); }

// First sizes, as memory_ is null, then places.
void ReplayTasks::place_memory() {
  num_bytes_ = 0;
  place_tasks(&tasks_, options_.capacity, tasks_.weighted, [this](std::size_t bytes, const char*) -> void* {
    void* at = memory_ == nullptr ? nullptr : memory_ + num_bytes_;
    num_bytes_ += padded(bytes, kAlignment);
    return at;
  });
}

void ReplayTasks::order(const std::byte* rows, std::int64_t n, Stream stream) {
  TaskOrderCall call{};
  call.tree = tree_;
  call.written = written_;
  call.tasks = tasks_;
  call.change = TaskChange::add;
  call.portion = portion_of(options_.fields, n);
  const std::int64_t slots = options_.capacity;
  if (n > slots) call.dropped = call.portion != 0 ? (n / slots - 1) * slots : n - slots;
  call.n = n - call.dropped;
  call.rows = rows;
  device_.start(call, stream);
}

void ReplayTasks::refresh(Stream stream) { refresh(nullptr, 0, stream); }

void ReplayTasks::refresh(const std::int64_t* slots, std::int64_t n, Stream stream) {
  device_.start(TaskRefreshCall{tree_, tasks_, n, slots}, stream);
}

void ReplayTasks::remove(const std::int64_t* slots, std::int64_t n, Stream stream) {
  TaskOrderCall call{};
  call.tree = tree_;
  call.written = written_;
  call.tasks = tasks_;
  call.change = TaskChange::remove;
  call.n = n;
  call.slots = slots;
  device_.start(call, stream);
}

void ReplayTasks::sample(TaskSampleCall draw, const TaskDraw& mix, Stream stream) {
  draw.tree = tree_;
  draw.tasks = tasks_;
  draw.num_listed = static_cast<std::int64_t>(mix.listed.size());
  if (mix.balanced) {
    draw.mix = TaskMixKind::balanced;
  } else if (mix.short_weights != nullptr || mix.wide_weights != nullptr) {
    draw.mix = TaskMixKind::weighted;
    draw.short_weights = mix.short_weights;
    draw.wide_weights = mix.wide_weights;
    draw.num_listed = mix.num_weights;
  } else if (mix.uploaded != nullptr) {
    draw.mix = TaskMixKind::uploaded;
    draw.uploaded = mix.uploaded;
  } else {
    draw.mix = TaskMixKind::listed;
    std::copy(mix.listed.begin(), mix.listed.end(), draw.listed);
  }
  device_.start(draw, stream);
}

std::vector<ReplayTasks::Summary> ReplayTasks::summaries(Stream stream) {
  TaskSampleCall call{};  // no draw, only what it would look at
  TaskDraw all;
  all.balanced = true;
  sample(call, all, stream);
  TaskState state;
  device_.read(&state, tasks_.state, sizeof state, stream);
  std::vector<TaskShare> shares(state.num_shares);
  if (!shares.empty()) device_.read(shares.data(), tasks_.shares, shares.size() * sizeof(TaskShare), stream);
  std::vector<Summary> found;
  for (const TaskShare& share : shares) {
    found.push_back({static_cast<int>(share.task), share.count, tasks_.weighted ? share.total : 0});
  }
  return found;
}

std::vector<std::int64_t> ReplayTasks::slots_of(int task, Stream stream) {
  TaskRegion region{};
  if (task < tasks_.num_ids) device_.read(&region, tasks_.regions + task, sizeof region, stream);
  std::vector<std::uint32_t> owners(region.count);
  if (owners.empty()) return {};
  device_.read(owners.data(), tasks_.owners + region.begin, owners.size() * sizeof(std::uint32_t), stream);
  std::vector<std::int64_t> slots;
  for (const std::uint32_t owner : owners) slots.push_back(std::int64_t{owner} - 1);
  return slots;
}

std::vector<TaskEntry> ReplayTasks::read(std::int64_t n, Stream stream) {
  std::vector<TaskEntry> entries(static_cast<std::size_t>(n));
  if (n > 0) device_.read(entries.data(), tasks_.entries, entries.size() * sizeof(TaskEntry), stream);
  return entries;
}

void ReplayTasks::write(const std::vector<TaskEntry>& entries, Stream stream) {
  device_.start_zeros(memory_, num_bytes_, stream);
  TaskState state{};
  std::vector<TaskRegion> regions;
  for (const TaskEntry& entry : entries) {
    if (entry.used == 0) continue;
    if (regions.size() <= entry.task) regions.resize(std::size_t{entry.task} + 1);
    ++regions[entry.task].count;
  }
  state.id_end = static_cast<std::uint32_t>(regions.size());
  state.slot_end = entries.size();
  device_.write(tasks_.state, &state, sizeof state, stream);
  if (regions.empty()) return;
  device_.write(tasks_.regions, regions.data(), regions.size() * sizeof(TaskRegion), stream);
  device_.write(tasks_.entries, entries.data(), entries.size() * sizeof(TaskEntry), stream);
  TaskOrderCall call{};
  call.tree = tree_;
  call.written = written_;
  call.tasks = tasks_;
  call.change = TaskChange::regions;
  device_.start(call, stream);
  refresh(stream);
}

}  // namespace metarl::cuda
