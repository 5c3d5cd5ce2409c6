#include "metarl/task_index.h"

#include <algorithm>
#include <bit>
#include <stdexcept>
#include <string>

#include "core/distinct_draws.h"
#include "core/prefetch.h"
#include "core/tree_kernels.h"
#include "metarl/detail/philox.h"

namespace metarl {
namespace {

constexpr std::int64_t kMinRoom = kTreeFanout;
constexpr std::int64_t kAhead = 8;  // entries fetched before they are needed

template <typename T>
void make_room(std::vector<T>* scratch, std::int64_t n) {
  if (scratch->size() < static_cast<std::size_t>(n)) scratch->resize(static_cast<std::size_t>(n));
}

// The purpose in the low 8 bits, the task above: every task has random numbers of its own.
std::uint32_t task_tag(PhiloxTag purpose, int task) { return purpose | static_cast<std::uint32_t>(task) << 8; }

}  // namespace

TaskIndex::TaskIndex(std::int64_t capacity, bool weighted)
    : capacity_(capacity <= kMaxCapacity ? capacity
                                         : throw std::invalid_argument("capacity is " + std::to_string(capacity) +
                                                                       "; with task_field it must be at most " +
                                                                       std::to_string(kMaxCapacity))),
      weighted_(weighted),
      memory_(static_cast<std::size_t>(capacity) * sizeof(Entry)) {}

const TaskIndex::Task* TaskIndex::find(int task) const {
  if (task < 0 || static_cast<std::size_t>(task) >= by_id_.size()) return nullptr;
  return by_id_[static_cast<std::size_t>(task)].get();
}

std::int64_t TaskIndex::count(int task) const { return static_cast<std::int64_t>(slots(task).size()); }

std::uint64_t TaskIndex::total(int task) const {
  const Task* found = find(task);
  return found != nullptr && found->masses ? found->masses->total() : 0;
}

std::uint32_t TaskIndex::smallest(int task) {
  const Task* found = find(task);
  return found != nullptr && found->masses ? by_id_[static_cast<std::size_t>(task)]->masses->smallest() : 0;
}

const std::vector<std::uint32_t>& TaskIndex::slots(int task) const {
  static const std::vector<std::uint32_t> none;
  const Task* found = find(task);
  return found != nullptr ? found->slots : none;
}

// Room for as many positions; the ones in use must fit.
void TaskIndex::resize(Task* task, std::int64_t room) {
  room = std::min(std::max(room, kMinRoom), std::max(capacity_, kMinRoom));
  if (weighted_) {
    MassTree masses(room);
    make_room(&rebuild_scratch_, masses.scratch_size());
    if (!task->slots.empty()) {
      std::copy_n(task->masses->leaves(), task->slots.size(), masses.raw_leaves());
      masses.rebuild(rebuild_scratch_.data());
    }
    task->masses.emplace(std::move(masses));
  }
  std::vector<std::uint32_t> slots;
  slots.reserve(static_cast<std::size_t>(room));
  slots.assign(task->slots.begin(), task->slots.end());
  task->slots = std::move(slots);
  task->room = room;
}

void TaskIndex::add(std::int64_t slot, std::uint16_t id, std::uint32_t mass) {
  if (by_id_.size() <= id) by_id_.resize(std::size_t{id} + 1);
  std::unique_ptr<Task>& task = by_id_[id];
  if (task == nullptr) {
    present_.insert(std::lower_bound(present_.begin(), present_.end(), id), id);
    task = std::make_unique<Task>();
  }
  const auto position = static_cast<std::int64_t>(task->slots.size());
  if (position == task->room) {
    resize(task.get(), static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(position + 1))));
  }
  task->slots.push_back(static_cast<std::uint32_t>(slot));
  if (weighted_) task->masses->set(&position, &mass, 1);
  entries()[slot] = {static_cast<std::uint32_t>(position), id, 1};
}

void TaskIndex::take_out(std::int64_t slot) {
  Entry& entry = entries()[slot];
  Task& task = *by_id_[entry.task];
  const std::int64_t last = static_cast<std::int64_t>(task.slots.size()) - 1;
  const std::uint32_t moved = task.slots.back();
  if (weighted_) {
    // If it is the last itself, the second of the equal positions wins.
    const std::int64_t positions[2] = {entry.position, last};
    const std::uint32_t masses[2] = {task.masses->leaves()[last], 0};
    task.masses->set(positions, masses, 2);
  }
  task.slots[entry.position] = moved;
  entries()[moved].position = entry.position;
  task.slots.pop_back();
  const std::uint16_t id = entry.task;
  entry = {0, 0, 0};
  if (last == 0) {
    drop(id);
  } else if (task.room > kMinRoom && last <= task.room / 4) {
    resize(&task, task.room / 2);
  }
}

void TaskIndex::drop(std::uint16_t id) {
  by_id_[id].reset();
  present_.erase(std::lower_bound(present_.begin(), present_.end(), id));
}

void TaskIndex::lose() noexcept {
  clear();
  lost_ = true;
}

void TaskIndex::clear() noexcept {
  std::fill_n(memory_.data(), memory_.size(), std::byte{0});
  by_id_.clear();
  present_.clear();
  lost_ = false;
}

void TaskIndex::place(const std::int64_t* slots, const std::uint16_t* tasks, std::int64_t n,
                      const std::uint32_t* leaves) noexcept {
  if (lost_) return;
  try {
    // All that leave come first: a task that only exchanges slots needs no more room.
    for (std::int64_t i = 0; i < n; ++i) {
      const Entry& entry = entries()[slots[i]];
      if (entry.used != 0 && entry.task != tasks[i]) take_out(slots[i]);
    }
    for (std::int64_t i = 0; i < n; ++i) {
      const Entry& entry = entries()[slots[i]];
      const std::uint32_t mass = weighted_ ? leaves[slots[i]] : 0;
      if (entry.used == 0) {
        add(slots[i], tasks[i], mass);
      } else if (weighted_) {
        const std::int64_t position = entry.position;
        by_id_[entry.task]->masses->set(&position, &mass, 1);
      }
    }
  } catch (const std::bad_alloc&) {
    lose();
  }
}

void TaskIndex::remove(const std::int64_t* slots, std::int64_t n) noexcept {
  if (lost_) return;
  try {
    for (std::int64_t i = 0; i < n; ++i) {
      if (entries()[slots[i]].used != 0) take_out(slots[i]);
    }
  } catch (const std::bad_alloc&) {
    lose();
  }
}

void TaskIndex::clear_task(int id) noexcept {
  for (const std::uint32_t slot : slots(id)) entries()[slot] = {0, 0, 0};
  if (find(id) != nullptr) drop(static_cast<std::uint16_t>(id));
}

void TaskIndex::update(const std::int64_t* slots, std::int64_t n, const std::uint32_t* leaves) noexcept {
  if (lost_ || !weighted_) return;
  try {
    make_room(&positions_, n);
    make_room(&grouped_, n);
    make_room(&masses_, n);
    touched_.clear();
    for (std::int64_t i = 0; i < n; ++i) {
      if (i + kAhead < n) prefetch(entries() + slots[i + kAhead]);
      const Entry entry = entries()[slots[i]];
      positions_[static_cast<std::size_t>(i)] = entry.position;
      if (by_id_[entry.task]->touched++ == 0) touched_.push_back(entry.task);
    }
    // Each task's slots behind one another, so that every tree is updated in one go.
    std::int64_t begin = 0;
    for (const std::uint16_t id : touched_) {
      std::int64_t& touched = by_id_[id]->touched;
      begin += touched;
      touched = begin - touched;
    }
    for (std::int64_t i = 0; i < n; ++i) {
      Task& task = *by_id_[entries()[slots[i]].task];
      const auto k = static_cast<std::size_t>(task.touched++);
      grouped_[k] = positions_[static_cast<std::size_t>(i)];
      masses_[k] = leaves[slots[i]];
      task.masses->prefetch(grouped_[k]);  // small groups would wait for each of their lines
    }
    begin = 0;
    for (const std::uint16_t id : touched_) {
      Task& task = *by_id_[id];
      task.masses->set(grouped_.data() + begin, masses_.data() + begin, task.touched - begin);
      begin = task.touched;
      task.touched = 0;
    }
  } catch (const std::bad_alloc&) {
    lose();
  }
}

void TaskIndex::reload(const std::uint32_t* leaves) noexcept {
  if (lost_ || !weighted_) return;
  for (const std::uint16_t id : present_) {
    Task& task = *by_id_[id];
    std::uint32_t* own = task.masses->raw_leaves();
    for (std::size_t k = 0; k < task.slots.size(); ++k) own[k] = leaves[task.slots[k]];
    task.masses->rebuild(rebuild_scratch_.data());  // has room for every task
  }
}

void TaskIndex::rebuild(const SlotSet& valid, const std::uint16_t* tasks, const std::uint32_t* leaves,
                        const std::uint32_t* positions) {
  std::vector<std::unique_ptr<Task>> by_id;
  std::vector<std::uint16_t> present;
  by_id.swap(by_id_);
  present.swap(present_);
  const bool was_lost = lost_;
  // What is here now is put back if anything fails.
  const auto restore = [&] {
    by_id_.swap(by_id);
    present_.swap(present);
    lost_ = was_lost;
  };
  try {
    std::vector<std::int64_t> counts(std::size_t{kMaxTask} + 1);
    const std::int64_t n = valid.size();
    for (std::int64_t rank = 0; rank < n; ++rank) ++counts[tasks[valid.at_rank(rank)]];
    for (int id = 0; id <= kMaxTask; ++id) {
      const std::int64_t count = counts[static_cast<std::size_t>(id)];
      if (count == 0) continue;
      by_id_.resize(static_cast<std::size_t>(id) + 1);
      present_.push_back(static_cast<std::uint16_t>(id));
      by_id_.back() = std::make_unique<Task>();
      resize(by_id_.back().get(), static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(count))));
      by_id_.back()->slots.assign(static_cast<std::size_t>(count), 0xFFFFFFFFu);
    }
    std::fill(counts.begin(), counts.end(), 0);
    for (std::int64_t rank = 0; rank < n; ++rank) {
      const std::int64_t slot = valid.at_rank(rank);
      Task& task = *by_id_[tasks[slot]];
      const std::int64_t position = positions != nullptr ? positions[slot] : counts[tasks[slot]]++;
      if (position >= static_cast<std::int64_t>(task.slots.size()) ||
          task.slots[static_cast<std::size_t>(position)] != 0xFFFFFFFFu) {
        throw std::invalid_argument("slot " + std::to_string(slot) + " of task " + std::to_string(tasks[slot]) +
                                    " has position " + std::to_string(position) +
                                    ", which is another slot's or not below " + std::to_string(task.slots.size()));
      }
      task.slots[static_cast<std::size_t>(position)] = static_cast<std::uint32_t>(slot);
    }
  } catch (...) {
    restore();
    throw;
  }
  lost_ = false;
  // Only what was in use: the rest is zero, and its pages may never have been touched.
  for (const std::uint16_t id : present) {
    for (const std::uint32_t slot : by_id[id]->slots) entries()[slot] = {0, 0, 0};
  }
  for (const std::uint16_t id : present_) {
    const std::vector<std::uint32_t>& slots = by_id_[id]->slots;
    for (std::size_t k = 0; k < slots.size(); ++k) entries()[slots[k]] = {static_cast<std::uint32_t>(k), id, 1};
  }
  reload(leaves);
}

void TaskIndex::read_positions(std::int64_t n, std::uint32_t* positions) const {
  for (std::int64_t slot = 0; slot < n; ++slot) positions[slot] = entries()[slot].position;
}

bool TaskIndex::sample(int id, std::int64_t n, SamplingMode mode, std::uint64_t seed, std::uint64_t call,
                       std::int64_t* indices, std::uint32_t* masses) {
  Task& task = *by_id_[static_cast<std::size_t>(id)];
  const auto size = static_cast<std::int64_t>(task.slots.size());
  const bool proportional = mode != SamplingMode::uniform && task.masses && task.masses->total() > 0;
  if (mode == SamplingMode::without_replacement) {
    const RandomBits bits(seed, call, task_tag(kTagTaskDistinct, id));
    std::int64_t drawable = size;
    if (proportional) {
      const std::uint32_t* leaves = task.masses->leaves();
      if (n > size || draw_successive(&*task.masses, bits, n, &draws_, indices, masses) < n) {
        drawable = std::count_if(leaves, leaves + size, [](std::uint32_t mass) { return mass > 0; });
      }
    } else if (n <= size) {
      draw_distinct(size, bits, n, indices);
    }
    if (n > drawable) {
      throw std::invalid_argument("batch_size asks for " + std::to_string(n) + " items of task " + std::to_string(id) +
                                  "; without replacement at most " + std::to_string(drawable) + " can be drawn");
    }
  } else {
    make_room(&draws_, n);
    METARL_SELECT_KERNEL(tree_draws)
    (seed, call, task_tag(kTagTaskSample, id), proportional ? task.masses->total() : static_cast<std::uint64_t>(size),
     n, mode == SamplingMode::stratified, draws_.data());
    if (proportional) {
      task.masses->descend(draws_.data(), n, indices, masses);
    } else {
      std::copy_n(draws_.data(), n, indices);
    }
  }
  if (!proportional) std::fill_n(masses, n, 0u);
  for (std::int64_t i = 0; i < n; ++i) indices[i] = task.slots[static_cast<std::size_t>(indices[i])];
  return proportional;
}

}  // namespace metarl
