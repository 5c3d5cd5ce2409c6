// The tasks of a replay buffer in device memory as a host object: owns what is kept by task, hands calls to the device.
// See device_tasks.h.
#pragma once

#include <cstdint>
#include <vector>

#include "cuda/device.h"
#include "metarl/replay_options.h"

namespace metarl::cuda {

// Which tasks a batch comes from: host memory with the list of a mixture, or weights in device memory.
struct TaskDraw {
  bool balanced = false;
  std::vector<ListedTask> listed;        // tasks ascend
  const ListedTask* uploaded = nullptr;  // not null: the list in device memory
  const float* short_weights = nullptr;  // not null: one of these two, by task, in place of a list
  const double* wide_weights = nullptr;
  std::int64_t num_weights = 0;
};

// A list from a mixture with weights. Throws std::invalid_argument if a task is there twice.
std::vector<ListedTask> listed_tasks(const TaskMix& mix);

// Not synchronised. order, refresh and draw neither allocate device memory nor wait.
class ReplayTasks {
 public:
  // `tree` is that of the buffer's slots, `written` its counter, `stored` where slot 0 has its task. The device must
  // outlive this. Throws OutOfMemoryError.
  ReplayTasks(Device& device, const ReplayOptions& options, bool weighted, const DeviceTree& tree,
              const std::uint64_t* written, std::byte* stored, std::size_t stride);
  ~ReplayTasks();
  ReplayTasks(const ReplayTasks&) = delete;
  ReplayTasks& operator=(const ReplayTasks&) = delete;

  std::size_t num_bytes() const { return num_bytes_; }
  const DeviceTasks& arrays() const { return tasks_; }

  // Before n rows are stored, of a buffer without links.
  void order(const std::byte* rows, std::int64_t n, Stream stream);
  // After what order did, the masses of slots included.
  void refresh(Stream stream);
  // After masses of slots changed.
  void refresh(const std::int64_t* slots, std::int64_t n, Stream stream);
  // Of slots that are hidden.
  void remove(const std::int64_t* slots, std::int64_t n, Stream stream);
  // Of `draw`, all but tree, tasks and mixture are filled in.
  void sample(TaskSampleCall draw, const TaskDraw& mix, Stream stream);

  // These wait. Tasks ascend; totals are 0 without masses.
  struct Summary {
    int task;
    std::int64_t count;
    std::uint64_t total;
  };
  std::vector<Summary> summaries(Stream stream);
  std::vector<std::int64_t> slots_of(int task, Stream stream);
  // Of the slots [0, n).
  std::vector<TaskEntry> read(std::int64_t n, Stream stream);
  // Replaces everything. Positions of a task are 0 ... count - 1.
  void write(const std::vector<TaskEntry>& entries, Stream stream);

 private:
  void place_memory();

  Device& device_;
  const ReplayOptions options_;
  DeviceTree tree_;
  const std::uint64_t* written_;
  DeviceTasks tasks_{};
  std::size_t num_bytes_ = 0;
  std::byte* memory_ = nullptr;
};

}  // namespace metarl::cuda
