// The slots of a buffer by task: how many there are, their masses, draws from one task.
//
// The slots of a task are numbered 0 ... count - 1 without gaps ("positions"), and copies of their masses are kept in
// this order: in a MassTree of its own, or, of few, in an array that is scanned. A removed slot's position goes to the
// task's last slot. Every slot that is in the index is in exactly one task, so the tasks' totals add up exactly to the
// total of the tree that the masses are copied from. Memory: 8 bytes a slot; for each slot in the index room for at
// most two positions of 8 bytes, or of 9 in a task with a tree; 64 bytes a task, and 8 for each number up to the
// largest task's, rounded up to a power of two.
//
// The order of positions decides which slot a random number means, and it depends on history: a state that is to go on
// with the same bits stores it (read_positions) and gives it back (rebuild). Nothing else needs to be stored.
//
// Memory that cannot be had never loses a slot: the index then gives up (is_lost) and must be rebuilt before it is
// used; positions are in the order of slots after that.
//
// Not synchronised: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <span>
#include <vector>

#include "metarl/aligned_memory.h"
#include "metarl/mass_tree.h"
#include "metarl/sampling_mode.h"
#include "metarl/slot_set.h"

namespace metarl {

class TaskIndex {
 public:
  static constexpr int kMaxTask = 65535;
  static constexpr std::int64_t kMaxCapacity = (std::int64_t{1} << 31) - 1;

  // weighted: whether there are masses; without, every slot of a task is equally likely. Throws std::invalid_argument
  // if capacity is above kMaxCapacity, OutOfMemoryError.
  TaskIndex(std::int64_t capacity, bool weighted);

  // Of memory, when every slot is in use and tasks have the most room they may have; besides what a task takes.
  std::size_t bytes_per_slot() const { return sizeof(Entry) + 2 * (weighted_ ? 9 : 4); }
  // Tasks with at least one slot, ascending.
  const std::vector<std::uint16_t>& tasks() const { return present_; }
  std::int64_t count(int task) const;
  std::uint64_t total(int task) const;
  std::uint32_t smallest(int task);  // positive mass, or 0
  // The slots of a task, in order of position; empty for a task without any.
  std::span<const std::uint32_t> slots(int task) const;

  // `leaves` (null if not weighted) is the array of all slots' masses, up to date. After a change of scale of the tree
  // it belongs to, reload must follow.
  // Slots join their task; one that was in another leaves it. Precondition: distinct.
  void place(const std::int64_t* slots, const std::uint16_t* tasks, std::int64_t n,
             const std::uint32_t* leaves) noexcept;
  // Slots leave the index. Others than those in it are ignored.
  void remove(const std::int64_t* slots, std::int64_t n) noexcept;
  // All slots of a task leave.
  void clear_task(int task) noexcept;
  // The masses of slots in the index changed; they may repeat. Precondition: n < 2^32.
  void update(const std::int64_t* slots, std::int64_t n, const std::uint32_t* leaves) noexcept;
  // Any mass may have changed.
  void reload(const std::uint32_t* leaves) noexcept;
  void clear() noexcept;

  bool is_lost() const { return lost_; }
  // Replaces everything by the slots of `valid`; tasks[slot] is each one's task, and positions[slot], if given, its
  // position. Throws std::invalid_argument if the positions of a task are not 0 ... count - 1, std::bad_alloc, and what
  // `poll` throws, which is called every few milliseconds, if given; then the index is as before.
  void rebuild(const SlotSet& valid, const std::uint16_t* tasks, const std::uint32_t* leaves,
               const std::uint32_t* positions, const std::function<void()>& poll = {});
  // Position of each slot in [0, n), 0 for those that are not in the index.
  void read_positions(std::int64_t n, std::uint32_t* positions) const;

  // Draws n slots of one task; as SumTree::sample. The random numbers are those of (seed, call, task).
  // Preconditions: count(task) > 0. Throws std::invalid_argument if n slots cannot be drawn without replacement.
  // `poll`, if given, is called every few milliseconds; when it throws, the index is as before.
  bool sample(int task, std::int64_t n, SamplingMode mode, std::uint64_t seed, std::uint64_t call,
              std::int64_t* indices, std::uint32_t* masses, const std::function<void()>& poll = {});

 private:
  struct Entry {
    std::uint32_t position;
    std::uint16_t task;
    std::uint16_t used;  // 0 or 1
  };
  // In one block of memory with its tree, if any, the slots by position, and, without a tree, their masses.
  struct Task {
    std::uint32_t* slots() {
      auto* next = reinterpret_cast<std::byte*>(this + 1);
      return reinterpret_cast<std::uint32_t*>(next + (tree != nullptr ? sizeof(MassTree) : 0));
    }
    std::uint32_t* masses() { return tree != nullptr ? tree->raw_leaves() : slots() + room; }

    MassTree* tree = nullptr;
    std::uint64_t total = 0;  // of the masses, without a tree
    std::uint32_t smallest = 0;
    std::uint32_t count = 0;
    std::uint32_t room = 0;     // positions that fit
    std::uint32_t touched = 0;  // scratch of update
  };
  struct DeleteTask {
    void operator()(Task* task) const {
      if (task->tree != nullptr) task->tree->~MassTree();
      ::operator delete(task);
    }
  };
  using TaskPointer = std::unique_ptr<Task, DeleteTask>;
  Entry* entries() const { return memory_.as<Entry>(); }
  Task* find(int task) const;
  static void set_mass(Task* task, std::uint32_t position, std::uint32_t mass);
  void set_masses(Task* task, const std::int64_t* positions, const std::uint32_t* masses, std::int64_t n);
  void descend(Task* task, std::int64_t n, std::int64_t* positions, std::uint32_t* masses,
               const std::function<void()>& poll);
  MassTree copy_masses(Task* task);
  void add(std::int64_t slot, std::uint16_t task, std::uint32_t mass);
  void take_out(std::int64_t slot);
  void resize(TaskPointer* task, std::int64_t room);
  void drop(std::uint16_t task);
  void lose() noexcept;

  std::int64_t capacity_;
  bool weighted_;
  bool lost_ = false;
  AlignedMemory memory_;
  std::vector<TaskPointer> by_id_;
  std::vector<std::uint16_t> present_;
  std::vector<std::uint64_t> rebuild_scratch_;
  // Scratch of update and sample.
  std::vector<std::uint16_t> touched_;
  std::vector<std::int64_t> positions_;
  std::vector<std::int64_t> grouped_;
  std::vector<std::uint32_t> masses_;
  std::vector<std::uint64_t> draws_;
  std::vector<std::uint64_t> sums_;
};

}  // namespace metarl
