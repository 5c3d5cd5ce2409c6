// The slots of a replay buffer in device memory by task, and the calls that change them or draw from them; see
// metarl/task_index.h. Plain data, shared by the kernels and by who allocates.
//
// A task's slots have the positions 0 ... count - 1 that they have on the CPU, as these decide which slot a random
// number means. All tasks share one arena of two places for each slot of the ring: a task's region is a run of places
// with room for more positions. `owners` says which slot a place has, and one sum tree over the places holds copies of
// the slots' masses. A draw from a task adds the mass before its region and descends that tree: one descent, and no
// tree for each task. Sums are exact, so the places do not show in results.
//
// A region that is full makes all regions anew, with the room that is left shared out among them. Then, after a change
// of scale and after very many changes the places are filled again from the slots' entries; else only what changed.
//
// Least work: an add reads 8 bytes of each slot's entry, writes them, an owner and a mass, and adds to one sum a level
// of the tree; of a slot that leaves its task, one owner and one entry more. A draw reads what one from the whole
// buffer does, and an owner. A draw by all tasks reads 12 bytes for each number up to the largest task's.
// Memory: 8 bytes a slot, and for each of two places 4 bytes for its owner and, with priorities, 4.3 for the mass.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/device_tree.h"
#include "metarl/importance_weights.h"
#include "metarl/sampling_mode.h"

namespace metarl::cuda {

constexpr std::int64_t kMostTasks = 65536;
constexpr std::int64_t kPlacesPerSlot = 2;
// Of places whose mass may have changed; beyond, all are looked at.
constexpr std::int64_t kMostTouched = 12 * 1024;
constexpr std::uint32_t kNoPlace = 0xFFFFFFFFu;

// As TaskIndex::Entry.
struct alignas(8) TaskEntry {
  std::uint32_t position;
  std::uint16_t task;
  std::uint16_t used;  // 0 or 1
};

struct TaskRegion {
  std::uint32_t begin;
  std::uint32_t room;
  std::uint32_t count;
};

// A task's part of a draw.
struct TaskShare {
  std::uint64_t before;  // mass before its region; at first, its weight and those of the tasks before it
  std::uint64_t total;
  std::uint32_t task;
  std::uint32_t count;
  std::uint32_t weight;
  std::uint32_t end;  // its draws are those before this one, behind those of the share before
};

struct TaskState {
  std::uint64_t end;            // of all regions, the largest so far
  std::uint64_t seen_rescales;  // of the tree of slots
  std::uint64_t slot_end;       // no slot at or behind it has had a task
  std::uint32_t id_end;         // no task at or above it has had a slot

  // Of the change under way.
  std::uint32_t full;    // a region was too small: all are made anew, and then all places
  std::uint32_t reload;  // places are new
  std::uint64_t num_touched;

  // Of the draw under way.
  std::uint64_t weight_sum;
  std::uint64_t drawable;     // slots of its tasks
  std::uint64_t least_share;  // ~bits of the smallest probability of any slot that could be drawn
  std::uint64_t least_drawn;  // and of those drawn
  double total_weight;        // of importance weights that are divided by it
  std::int64_t error_index;
  double error_value;
  std::uint32_t error;
  std::uint32_t num_shares;
};

struct DeviceTasks {
  // Where slot 0 has its task, and the integer's type.
  std::byte* stored;
  std::int64_t stored_stride;
  int bytes;
  bool is_signed;
  bool weighted;  // whether slots have masses

  std::int64_t capacity;
  std::int64_t num_ids;  // what the field can hold, at most kMostTasks
  std::int64_t num_places;
  std::int64_t max_touched;
  TaskEntry* entries;     // of each slot; null: the buffer has no tasks
  TaskRegion* regions;    // of each task
  std::uint32_t* owners;  // of each place: slot + 1, or 0
  std::uint32_t* touched;
  TaskShare* shares;
  DeviceTree masses;  // of places; leaves, sums, keys and dirty alone
  TaskState* state;
};

// allocate(bytes, name) as of make_device_tree. Needs 1 <= capacity <= kMaxTreeCapacity; bytes and is_signed are set.
template <typename Allocate>
void place_tasks(DeviceTasks* tasks, std::int64_t capacity, bool weighted, Allocate allocate) {
  const auto array = [&]<typename T>(T** to, std::int64_t count, const char* name) {
    *to = static_cast<T*>(allocate(static_cast<std::size_t>(count) * sizeof(T), name));
  };
  const std::int64_t blocks = (kPlacesPerSlot * capacity - 1) / kTreeBlockLeaves + 1;
  const std::int64_t ids = tasks->bytes == 1                       ? (tasks->is_signed ? 128 : 256)
                           : tasks->bytes == 2 && tasks->is_signed ? kMostTasks / 2
                                                                   : kMostTasks;
  tasks->weighted = weighted;
  tasks->capacity = capacity;
  tasks->num_ids = ids;
  tasks->num_places = blocks * kTreeBlockLeaves;
  tasks->max_touched = !weighted ? 0 : 3 * capacity < kMostTouched ? 3 * capacity : kMostTouched;
  array(&tasks->entries, capacity, "entries");
  array(&tasks->regions, ids, "regions");
  array(&tasks->owners, tasks->num_places, "owners");
  array(&tasks->touched, tasks->max_touched, "touched");
  array(&tasks->shares, ids < capacity ? ids : capacity, "shares");
  array(&tasks->state, 1, "state");
  tasks->masses = DeviceTree{};
  if (!weighted) return;
  place_masses(&tasks->masses, tasks->num_places, allocate);
  place_extremes(&tasks->masses, allocate);
}

// Slots join tasks or leave them, in order, as TaskIndex::place and remove do; by one block.
enum class TaskChange : std::uint8_t {
  add,      // the slots that are written next, to the tasks of rows; for a buffer without links
  remove,   // slots leave
  regions,  // none: all regions are made anew
};

struct TaskOrderCall {
  DeviceTree tree;
  const std::uint64_t* written;  // of the buffer, before the rows
  DeviceTasks tasks;
  TaskChange change;
  std::int64_t n;
  std::int64_t dropped;   // add: rows at the beginning that later ones overwrite
  std::int64_t portion;   // add: at most so many rows leave and join at a time, and none across the ring's end; 0: all
  const std::byte* rows;  // add: dense tasks
  const std::int64_t* slots;  // remove
};

// Then places and masses follow.
struct TaskRefreshCall {
  DeviceTree tree;
  DeviceTasks tasks;
  std::int64_t n;
  const std::int64_t* slots;  // whose masses may have changed; null: what the order has touched
};

// Which tasks a batch comes from.
enum class TaskMixKind : std::uint8_t {
  balanced,  // all tasks that have slots
  listed,    // those of the call
  uploaded,  // those of a list in device memory
  weighted,  // those with a weight in an array in device memory
};

constexpr int kMostListed = 128;

struct ListedTask {
  std::uint32_t task;
  std::uint32_t weight;  // >= 1
};

struct TaskSampleCall {
  DeviceTree tree;
  DeviceTasks tasks;
  std::uint64_t key;
  std::int64_t n;  // 0: only the shares are found, each with its count and total
  SamplingMode mode;
  WeightNormalization normalization;
  double beta;
  const double* beta_memory;  // not null: in place of beta
  std::int64_t* indices;
  float* weights;
  double* probabilities;
  TaskMixKind mix;
  std::int64_t num_listed;     // of the tasks of all kinds but balanced
  const ListedTask* uploaded;  // tasks ascend
  const float* short_weights;  // weighted: one of these two, by task
  const double* wide_weights;
  ListedTask listed[kMostListed];  // tasks ascend
};

}  // namespace metarl::cuda
