#include "metarl/task_index.h"

#include <algorithm>
#include <bit>
#include <stdexcept>
#include <string>

#include "core/distinct_draws.h"
#include "core/poll.h"
#include "core/tree_kernels.h"
#include "metarl/detail/philox.h"
#include "metarl/detail/prefetch.h"

namespace metarl {
namespace {

constexpr std::int64_t kMostScanned = 256;       // positions without a tree
constexpr std::uint32_t kUnknown = 0xFFFFFFFFu;  // no mass; also no slot
constexpr std::int64_t kAhead = 8;               // entries fetched before they are needed

template <typename T>
void make_room(std::vector<T>* scratch, std::int64_t n) {
  if (scratch->size() < static_cast<std::size_t>(n)) scratch->resize(static_cast<std::size_t>(n));
}

// The next of 1, 2, 3, 4, 6, 8, 12, ... from `count` on.
std::int64_t room_for(std::int64_t count) {
  const auto power = static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(count)));
  return power / 4 * 3 >= count ? power / 4 * 3 : power;
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

TaskIndex::Task* TaskIndex::find(int task) const {
  if (task < 0 || static_cast<std::size_t>(task) >= by_id_.size()) return nullptr;
  return by_id_[static_cast<std::size_t>(task)].get();
}

std::int64_t TaskIndex::count(int task) const {
  const Task* found = find(task);
  return found != nullptr ? found->count : 0;
}

std::uint64_t TaskIndex::total(int task) const {
  const Task* found = find(task);
  if (found == nullptr) return 0;
  return found->tree != nullptr ? found->tree->total() : found->total;
}

std::uint32_t TaskIndex::smallest(int task) {
  Task* found = find(task);
  if (found == nullptr || !weighted_) return 0;
  if (found->tree != nullptr) return found->tree->smallest();
  if (found->smallest == kUnknown) {
    std::uint32_t least = kUnknown;  // minus one, so that zero does not count
    for (std::uint32_t k = 0; k < found->count; ++k) least = std::min(least, found->masses()[k] - 1);
    found->smallest = least + 1;
  }
  return found->smallest;
}

std::span<const std::uint32_t> TaskIndex::slots(int task) const {
  Task* found = find(task);
  return found != nullptr ? std::span<const std::uint32_t>(found->slots(), found->count)
                          : std::span<const std::uint32_t>();
}

// Room for as many positions; the ones in use must fit.
void TaskIndex::resize(TaskPointer* task, std::int64_t room) {
  room = std::min(room, capacity_);
  const bool scanned = room <= kMostScanned;
  const std::size_t numbers = static_cast<std::size_t>(room) * (weighted_ && scanned ? 2 : 1) * sizeof(std::uint32_t);
  const std::size_t tree = weighted_ && !scanned ? sizeof(MassTree) : 0;
  TaskPointer bigger(new (::operator new(sizeof(Task) + tree + numbers)) Task);
  bigger->room = static_cast<std::uint32_t>(room);
  if (tree > 0) {
    bigger->tree = new (bigger.get() + 1) MassTree(room);  // nothing to delete yet if that throws
    make_room(&rebuild_scratch_, bigger->tree->scratch_size());
  }
  if (Task* old = task->get(); old != nullptr) {
    std::copy_n(old->slots(), old->count, bigger->slots());
    bigger->count = old->count;
    bigger->touched = old->touched;
    if (weighted_) {
      std::copy_n(old->masses(), old->count, bigger->masses());
      if (bigger->tree != nullptr) {
        bigger->tree->rebuild(rebuild_scratch_.data());
      } else {
        bigger->total = old->tree != nullptr ? old->tree->total() : old->total;
        bigger->smallest = kUnknown;
      }
    }
  }
  *task = std::move(bigger);
}

// Of a task without a tree.
void TaskIndex::set_mass(Task* task, std::uint32_t position, std::uint32_t mass) {
  std::uint32_t& stored = task->masses()[position];
  task->total += std::uint64_t{mass} - std::uint64_t{stored};
  if (task->smallest != kUnknown) {
    if (mass > 0 && (task->smallest == 0 || mass < task->smallest)) {
      task->smallest = mass;
    } else if (stored == task->smallest && mass != stored) {
      task->smallest = kUnknown;
    }
  }
  stored = mass;
}

void TaskIndex::set_masses(Task* task, const std::int64_t* positions, const std::uint32_t* masses, std::int64_t n) {
  if (task->tree != nullptr) return task->tree->set(positions, masses, n);
  for (std::int64_t i = 0; i < n; ++i) set_mass(task, static_cast<std::uint32_t>(positions[i]), masses[i]);
}

void TaskIndex::add(std::int64_t slot, std::uint16_t id, std::uint32_t mass) {
  if (by_id_.size() <= id) by_id_.resize(std::bit_ceil(std::size_t{id} + 1));
  TaskPointer& task = by_id_[id];
  if (task == nullptr) {
    TaskPointer made;
    resize(&made, 1);
    present_.insert(std::lower_bound(present_.begin(), present_.end(), id), id);
    task = std::move(made);
  } else if (task->count == task->room) {
    resize(&task, room_for(std::int64_t{task->count} + 1));
  }
  const std::int64_t position = task->count++;
  task->slots()[position] = static_cast<std::uint32_t>(slot);
  if (weighted_) {
    if (task->tree == nullptr) task->masses()[position] = 0;
    set_masses(task.get(), &position, &mass, 1);
  }
  entries()[slot] = {static_cast<std::uint32_t>(position), id, 1};
}

void TaskIndex::take_out(std::int64_t slot) {
  Entry& entry = entries()[slot];
  TaskPointer& task = by_id_[entry.task];
  const std::int64_t last = std::int64_t{task->count} - 1;
  const std::uint32_t moved = task->slots()[last];
  if (weighted_) {
    // If it is the last itself, the second of the equal positions wins.
    const std::int64_t positions[2] = {entry.position, last};
    const std::uint32_t masses[2] = {task->masses()[last], 0};
    set_masses(task.get(), positions, masses, 2);
  }
  task->slots()[entry.position] = moved;
  entries()[moved].position = entry.position;
  --task->count;
  const std::uint16_t id = entry.task;
  entry = {0, 0, 0};
  if (last == 0) {
    drop(id);
  } else if (2 * last <= std::int64_t{task->room}) {
    resize(&task, room_for(last + last / 4));
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
        set_masses(by_id_[entry.task].get(), &position, &mass, 1);
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
    std::uint32_t begin = 0;
    for (const std::uint16_t id : touched_) {
      std::uint32_t& touched = by_id_[id]->touched;
      begin += touched;
      touched = begin - touched;
    }
    for (std::int64_t i = 0; i < n; ++i) {
      Task& task = *by_id_[entries()[slots[i]].task];
      const std::size_t k = task.touched++;
      grouped_[k] = positions_[static_cast<std::size_t>(i)];
      masses_[k] = leaves[slots[i]];
      if (task.tree != nullptr) task.tree->prefetch(grouped_[k]);  // small groups would wait for each of their lines
    }
    begin = 0;
    for (const std::uint16_t id : touched_) {
      Task& task = *by_id_[id];
      set_masses(&task, grouped_.data() + begin, masses_.data() + begin, task.touched - begin);
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
    std::uint32_t* own = task.masses();
    std::uint64_t total = 0;
    for (std::uint32_t k = 0; k < task.count; ++k) {
      own[k] = leaves[task.slots()[k]];
      total += own[k];
    }
    task.total = total;
    task.smallest = kUnknown;
    if (task.tree != nullptr) task.tree->rebuild(rebuild_scratch_.data());  // has room for every task
  }
}

void TaskIndex::rebuild(const SlotSet& valid, const std::uint16_t* tasks, const std::uint32_t* leaves,
                        const std::uint32_t* positions, const Poll& poll) {
  std::vector<TaskPointer> by_id;
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
    for (std::int64_t rank = 0; rank < n; ++rank) {
      if (poll && rank % kPollItems == 0) poll();
      ++counts[tasks[valid.at_rank(rank)]];
    }
    for (int id = 0; id <= kMaxTask; ++id) {
      const std::int64_t count = counts[static_cast<std::size_t>(id)];
      if (count == 0) continue;
      if (by_id_.size() <= static_cast<std::size_t>(id)) by_id_.resize(std::bit_ceil(static_cast<std::size_t>(id) + 1));
      present_.push_back(static_cast<std::uint16_t>(id));
      TaskPointer& task = by_id_[static_cast<std::size_t>(id)];
      resize(&task, room_for(count));
      task->count = static_cast<std::uint32_t>(count);
      std::fill_n(task->slots(), count, kUnknown);
    }
    std::fill(counts.begin(), counts.end(), 0);
    for (std::int64_t rank = 0; rank < n; ++rank) {
      if (poll && rank % kPollItems == 0) poll();
      const std::int64_t slot = valid.at_rank(rank);
      Task& task = *by_id_[tasks[slot]];
      const std::int64_t position = positions != nullptr ? positions[slot] : counts[tasks[slot]]++;
      if (position >= std::int64_t{task.count} || task.slots()[position] != kUnknown) {
        throw std::invalid_argument("slot " + std::to_string(slot) + " of task " + std::to_string(tasks[slot]) +
                                    " has position " + std::to_string(position) +
                                    ", which is another slot's or not below " + std::to_string(task.count));
      }
      task.slots()[position] = static_cast<std::uint32_t>(slot);
    }
  } catch (...) {
    restore();
    throw;
  }
  lost_ = false;
  // Only what was in use: the rest is zero, and its pages may never have been touched.
  for (const std::uint16_t id : present) {
    Task& task = *by_id[id];
    for (std::uint32_t k = 0; k < task.count; ++k) entries()[task.slots()[k]] = {0, 0, 0};
  }
  for (const std::uint16_t id : present_) {
    Task& task = *by_id_[id];
    for (std::uint32_t k = 0; k < task.count; ++k) entries()[task.slots()[k]] = {k, id, 1};
  }
  reload(leaves);
}

void TaskIndex::read_positions(std::int64_t n, std::uint32_t* positions) const {
  for (std::int64_t slot = 0; slot < n; ++slot) positions[slot] = entries()[slot].position;
}

// The positions that contain the prefix masses in draws_, and their masses.
void TaskIndex::descend(Task* task, std::int64_t n, std::int64_t* positions, std::uint32_t* masses, const Poll& poll) {
  if (task->tree != nullptr) {
    return in_parts(n, poll, [&](std::int64_t begin, std::int64_t end) {
      task->tree->descend(draws_.data() + begin, end - begin, positions + begin, masses + begin);
    });
  }
  sums_.resize(task->count);
  const std::uint32_t* own = task->masses();
  std::uint64_t sum = 0;
  for (std::uint32_t k = 0; k < task->count; ++k) sums_[k] = sum += own[k];
  in_parts(n, poll, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      positions[i] = std::upper_bound(sums_.begin(), sums_.end(), draws_[static_cast<std::size_t>(i)]) - sums_.begin();
      masses[i] = own[positions[i]];
    }
  });
}

MassTree TaskIndex::copy_masses(Task* task) {
  MassTree tree(task->count);
  make_room(&sums_, tree.scratch_size());
  std::copy_n(task->masses(), task->count, tree.raw_leaves());
  tree.rebuild(sums_.data());
  return tree;
}

bool TaskIndex::sample(int id, std::int64_t n, SamplingMode mode, std::uint64_t seed, std::uint64_t call,
                       std::int64_t* indices, std::uint32_t* masses, const Poll& poll) {
  Task& task = *by_id_[static_cast<std::size_t>(id)];
  const std::int64_t size = task.count;
  const bool proportional = mode != SamplingMode::uniform && total(id) > 0;
  if (mode == SamplingMode::without_replacement) {
    const RandomBits bits(seed, call, task_tag(kTagTaskDistinct, id));
    std::int64_t drawable = size;
    if (proportional) {
      const auto draw = [&](MassTree* tree) {
        return n > size ? 0 : draw_successive(tree, bits, n, &draws_, indices, masses, poll);
      };
      std::int64_t drawn = 0;
      if (task.tree != nullptr) {
        drawn = draw(task.tree);
      } else {
        MassTree copy = copy_masses(&task);
        drawn = draw(&copy);
      }
      if (drawn < n) {
        const std::uint32_t* own = task.masses();
        drawable = std::count_if(own, own + size, [](std::uint32_t mass) { return mass > 0; });
      }
    } else if (n <= size) {
      draw_distinct(size, bits, n, indices, poll);
    }
    if (n > drawable) {
      throw std::invalid_argument("batch_size asks for " + std::to_string(n) + " items of task " + std::to_string(id) +
                                  "; without replacement at most " + std::to_string(drawable) + " can be drawn");
    }
  } else {
    grow(&draws_, static_cast<std::size_t>(n), poll);
    const std::uint64_t range = proportional ? total(id) : static_cast<std::uint64_t>(size);
    in_parts(n, poll, [&](std::int64_t begin, std::int64_t end) {
      METARL_SELECT_KERNEL(tree_draws)
      (seed, call, task_tag(kTagTaskSample, id), range, n, mode == SamplingMode::stratified, begin, end, draws_.data());
    });
    if (proportional) {
      descend(&task, n, indices, masses, poll);
    } else {
      std::copy_n(draws_.data(), n, indices);
    }
  }
  if (!proportional) std::fill_n(masses, n, 0u);
  const std::uint32_t* slots = task.slots();
  in_parts(n, poll, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) indices[i] = slots[indices[i]];
  });
  return proportional;
}

}  // namespace metarl
