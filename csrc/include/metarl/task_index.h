// The slots of a buffer by task: how many there are, their masses, draws from one task.
//
// The slots of a task are numbered 0 ... count - 1 without gaps ("positions"), and a MassTree of its own holds copies
// of their masses in this order. A removed slot's position goes to the task's last slot. Every slot that is in the
// index is in exactly one task, so the tasks' totals add up exactly to the total of the tree that the masses are copied
// from. Memory is O(capacity), whatever the number of tasks: 8 bytes a slot, and 8.6 bytes for each of at most twice
// (four times, while a task shrinks) as many positions as there are slots in the index.
//
// The order of positions decides which slot a random number means, and it depends on history: a state that is to go on
// with the same bits stores it (read_positions) and gives it back (rebuild). Nothing else needs to be stored.
//
// Memory that cannot be had never loses a slot: the index then gives up (is_lost) and must be rebuilt before it is
// used; positions are in the order of slots after that.
//
// Not synchronised: one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
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

  // Of memory, when every slot is in use and tasks have the most room they may have.
  std::size_t bytes_per_slot() const { return sizeof(Entry) + (weighted_ ? 17 : 8); }
  // Tasks with at least one slot, ascending.
  const std::vector<std::uint16_t>& tasks() const { return present_; }
  std::int64_t count(int task) const;
  std::uint64_t total(int task) const;
  std::uint32_t smallest(int task);  // positive mass, or 0
  // The slots of a task, in order of position; empty for a task without any.
  const std::vector<std::uint32_t>& slots(int task) const;

  // `leaves` (null if not weighted) is the array of all slots' masses, up to date. After a change of scale of the tree
  // it belongs to, reload must follow.
  // Slots join their task; one that was in another leaves it. Precondition: distinct.
  void place(const std::int64_t* slots, const std::uint16_t* tasks, std::int64_t n,
             const std::uint32_t* leaves) noexcept;
  // Slots leave the index. Others than those in it are ignored.
  void remove(const std::int64_t* slots, std::int64_t n) noexcept;
  // All slots of a task leave.
  void clear_task(int task) noexcept;
  // The masses of slots in the index changed; they may repeat.
  void update(const std::int64_t* slots, std::int64_t n, const std::uint32_t* leaves) noexcept;
  // Any mass may have changed.
  void reload(const std::uint32_t* leaves) noexcept;
  void clear() noexcept;

  bool is_lost() const { return lost_; }
  // Replaces everything by the slots of `valid`; tasks[slot] is each one's task, and positions[slot], if given, its
  // position. Throws std::invalid_argument if the positions of a task are not 0 ... count - 1, std::bad_alloc.
  void rebuild(const SlotSet& valid, const std::uint16_t* tasks, const std::uint32_t* leaves,
               const std::uint32_t* positions);
  // Position of each slot in [0, n), 0 for those that are not in the index.
  void read_positions(std::int64_t n, std::uint32_t* positions) const;

  // Draws n slots of one task; as SumTree::sample. The random numbers are those of (seed, call, task).
  // Preconditions: count(task) > 0. Throws std::invalid_argument if n slots cannot be drawn without replacement.
  bool sample(int task, std::int64_t n, SamplingMode mode, std::uint64_t seed, std::uint64_t call,
              std::int64_t* indices, std::uint32_t* masses);

 private:
  struct Entry {
    std::uint32_t position;
    std::uint16_t task;
    std::uint16_t used;  // 0 or 1
  };
  struct Task {
    std::vector<std::uint32_t> slots;  // by position
    std::optional<MassTree> masses;
    std::int64_t room = 0;     // positions that fit
    std::int64_t touched = 0;  // scratch of update
  };
  Entry* entries() const { return memory_.as<Entry>(); }
  const Task* find(int task) const;
  void add(std::int64_t slot, std::uint16_t task, std::uint32_t mass);
  void take_out(std::int64_t slot);
  void resize(Task* task, std::int64_t room);
  void drop(std::uint16_t task);
  void lose() noexcept;

  std::int64_t capacity_;
  bool weighted_;
  bool lost_ = false;
  AlignedMemory memory_;
  std::vector<std::unique_ptr<Task>> by_id_;
  std::vector<std::uint16_t> present_;
  std::vector<std::uint64_t> rebuild_scratch_;
  // Scratch of update and sample.
  std::vector<std::uint16_t> touched_;
  std::vector<std::int64_t> positions_;
  std::vector<std::int64_t> grouped_;
  std::vector<std::uint32_t> masses_;
  std::vector<std::uint64_t> draws_;
};

}  // namespace metarl
