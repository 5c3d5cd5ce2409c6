#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <new>
#include <numeric>
#include <random>
#include <set>
#include <stdexcept>
#include <vector>

#include "check.h"
#include "metarl/sum_tree.h"
#include "metarl/task_index.h"

using metarl::SamplingMode;
using metarl::SumTree;
using metarl::TaskIndex;

namespace {

std::int64_t allocations_left = -1;  // then operator new fails; below 0 it does not

}  // namespace

void* operator new(std::size_t bytes) {
  if (allocations_left == 0) throw std::bad_alloc();
  if (allocations_left > 0) --allocations_left;
  if (void* memory = std::malloc(bytes)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

// A tree, its index and what the index should hold.
struct Fixture {
  explicit Fixture(std::int64_t n) : capacity(n), tree(n, 1), index(n, true), task_of(static_cast<std::size_t>(n)) {}

  void place(const std::vector<std::int64_t>& slots, const std::vector<std::uint16_t>& tasks, double priority) {
    const std::uint64_t before = tree.rescales();
    tree.fill_at(slots.data(), static_cast<std::int64_t>(slots.size()), priority);
    for (std::size_t i = 0; i < slots.size(); ++i) task_of[static_cast<std::size_t>(slots[i])] = tasks[i];
    index.place(slots.data(), tasks.data(), static_cast<std::int64_t>(slots.size()), tree.leaves());
    if (tree.rescales() != before) index.reload(tree.leaves());
  }
  void remove(const std::vector<std::int64_t>& slots) {
    tree.invalidate(slots.data(), static_cast<std::int64_t>(slots.size()));
    index.remove(slots.data(), static_cast<std::int64_t>(slots.size()));
  }
  void update(const std::vector<std::int64_t>& slots, const std::vector<double>& priorities) {
    const std::uint64_t before = tree.rescales();
    const auto n = static_cast<std::int64_t>(slots.size());
    tree.update(slots.data(), priorities.data(), n, *std::max_element(priorities.begin(), priorities.end()));
    if (tree.rescales() != before) {
      index.reload(tree.leaves());
    } else {
      index.update(slots.data(), n, tree.leaves());
    }
  }
  // The tasks partition the valid slots, with the tree's own masses.
  void check() {
    CHECK(!index.is_lost());
    std::map<int, std::set<std::int64_t>> expected;
    for (std::int64_t rank = 0; rank < tree.num_valid(); ++rank) {
      const std::int64_t slot = tree.valid().at_rank(rank);
      expected[task_of[static_cast<std::size_t>(slot)]].insert(slot);
    }
    CHECK(index.tasks().size() == expected.size());
    std::uint64_t total = 0;
    for (const auto& [task, slots] : expected) {
      CHECK(std::binary_search(index.tasks().begin(), index.tasks().end(), task));
      CHECK(index.count(task) == static_cast<std::int64_t>(slots.size()));
      CHECK(std::set<std::int64_t>(index.slots(task).begin(), index.slots(task).end()) == slots);
      std::uint64_t sum = 0;
      std::uint32_t smallest = 0;
      for (const std::int64_t slot : slots) {
        const std::uint32_t mass = tree.leaves()[slot];
        sum += mass;
        if (mass > 0) smallest = smallest == 0 ? mass : std::min(smallest, mass);
      }
      CHECK(index.total(task) == sum);
      CHECK(index.smallest(task) == smallest);
      total += sum;
    }
    CHECK(total == tree.total_mass());
  }

  std::int64_t capacity;
  SumTree tree;
  TaskIndex index;
  std::vector<std::uint16_t> task_of;
};

std::vector<std::int64_t> distinct(std::mt19937_64& random, std::int64_t capacity) {
  std::vector<std::int64_t> slots(static_cast<std::size_t>(capacity));
  std::iota(slots.begin(), slots.end(), std::int64_t{0});
  std::shuffle(slots.begin(), slots.end(), random);
  slots.resize(1 + random() % slots.size());
  return slots;
}

// Draws of every mode from every task.
std::vector<std::int64_t> draws(TaskIndex& index) {
  std::vector<std::int64_t> all;
  for (const int task : index.tasks()) {
    for (const auto mode : {SamplingMode::stratified, SamplingMode::independent, SamplingMode::uniform}) {
      std::vector<std::int64_t> slots(50);
      std::vector<std::uint32_t> masses(50);
      index.sample(task, 50, mode, 7, 3, slots.data(), masses.data());
      all.insert(all.end(), slots.begin(), slots.end());
    }
  }
  return all;
}

}  // namespace

TEST(tasks_partition_the_tree_at_all_times) {
  std::mt19937_64 random(1);
  for (const std::int64_t capacity : {1, 2, 16, 17, 100, 700}) {
    for (const int num_tasks : {1, 2, 7, 1000, 65536}) {
      Fixture f(capacity);
      for (int round = 0; round < 40; ++round) {
        const auto slots = distinct(random, capacity);
        switch (random() % 5) {
          case 0:
          case 1: {
            std::vector<std::uint16_t> tasks(slots.size());
            for (auto& task : tasks) task = static_cast<std::uint16_t>(random() % static_cast<unsigned>(num_tasks));
            // Now and then a change of scale.
            f.place(slots, tasks, random() % 4 == 0 ? std::ldexp(1.0, static_cast<int>(random() % 60)) : 1.0);
            break;
          }
          case 2:
            f.remove(slots);
            break;
          default: {
            std::vector<std::int64_t> valid;
            for (const auto slot : slots) {
              if (f.tree.valid().contains(slot)) valid.insert(valid.end(), 1 + random() % 2, slot);
            }
            if (valid.empty()) break;
            std::vector<double> priorities(valid.size());
            for (auto& p : priorities) p = random() % 4 == 0 ? 0.0 : std::ldexp(1.0, -static_cast<int>(random() % 9));
            f.update(valid, priorities);
          }
        }
        f.check();
      }
      // The order of positions is all that a copy needs.
      std::vector<std::uint32_t> positions(static_cast<std::size_t>(capacity));
      f.index.read_positions(capacity, positions.data());
      TaskIndex copy(capacity, true);
      copy.rebuild(f.tree.valid(), f.task_of.data(), f.tree.leaves(), positions.data());
      CHECK(copy.tasks() == f.index.tasks());
      CHECK(draws(copy) == draws(f.index));
      TaskIndex sorted(capacity, true);
      sorted.rebuild(f.tree.valid(), f.task_of.data(), f.tree.leaves(), nullptr);
      for (const int task : sorted.tasks()) {
        CHECK(std::is_sorted(sorted.slots(task).begin(), sorted.slots(task).end()));
        CHECK(sorted.total(task) == f.index.total(task) && sorted.smallest(task) == f.index.smallest(task));
      }
    }
  }
}

TEST(draws_stay_inside_the_task_and_follow_its_masses) {
  const std::int64_t capacity = 300;
  Fixture f(capacity);
  std::vector<std::int64_t> slots(static_cast<std::size_t>(capacity));
  std::iota(slots.begin(), slots.end(), std::int64_t{0});
  std::vector<std::uint16_t> tasks(slots.size());
  for (std::size_t i = 0; i < tasks.size(); ++i) tasks[i] = static_cast<std::uint16_t>(i % 3 * 100);
  f.place(slots, tasks, 1.0);
  std::vector<double> priorities(slots.size());
  for (std::size_t i = 0; i < priorities.size(); ++i)
    priorities[i] = i % 10 == 0 ? 0.0 : static_cast<double>(i % 7 + 1);
  f.update(slots, priorities);
  const std::int64_t n = 1 << 20;
  std::vector<std::int64_t> drawn(static_cast<std::size_t>(n));
  std::vector<std::uint32_t> masses(drawn.size());
  for (const int task : {0, 100, 200}) {
    for (const auto mode : {SamplingMode::stratified, SamplingMode::independent, SamplingMode::uniform}) {
      const bool proportional = f.index.sample(task, n, mode, 5, 9, drawn.data(), masses.data());
      CHECK(proportional == (mode != SamplingMode::uniform));
      std::vector<double> counts(slots.size());
      for (const auto slot : drawn) ++counts[static_cast<std::size_t>(slot)];
      double chi_square = 0.0;
      double cells = -1.0;
      for (std::size_t i = 0; i < slots.size(); ++i) {
        const double p = tasks[i] != task ? 0.0
                         : proportional   ? f.tree.leaves()[i] / static_cast<double>(f.index.total(task))
                                          : 1.0 / static_cast<double>(f.index.count(task));
        if (p == 0.0) {
          CHECK(counts[i] == 0.0);
          continue;
        }
        const double expected = p * static_cast<double>(n);
        chi_square += (counts[i] - expected) * (counts[i] - expected) / expected;
        cells += 1.0;
        if (mode == SamplingMode::stratified) CHECK(std::abs(counts[i] - expected) < 2.0);
      }
      CHECK(chi_square < cells + 6.0 * std::sqrt(2.0 * cells));
    }
    const std::int64_t drawable = std::count_if(f.index.slots(task).begin(), f.index.slots(task).end(),
                                                [&](std::uint32_t slot) { return f.tree.leaves()[slot] > 0; });
    f.index.sample(task, drawable, SamplingMode::without_replacement, 5, 9, drawn.data(), masses.data());
    CHECK(std::set<std::int64_t>(drawn.begin(), drawn.begin() + drawable).size() == static_cast<std::size_t>(drawable));
    CHECK_THROWS(
        f.index.sample(task, drawable + 1, SamplingMode::without_replacement, 5, 9, drawn.data(), masses.data()),
        std::invalid_argument);
    f.check();
  }
}

TEST(wrong_positions_are_refused_and_change_nothing) {
  Fixture f(20);
  f.place({0, 1, 2, 3, 4}, {5, 5, 6, 5, 6}, 1.0);
  const auto before = draws(f.index);
  std::vector<std::uint32_t> positions(20);
  f.index.read_positions(20, positions.data());
  for (const auto& [slot, wrong] : {std::pair{0, 1u}, std::pair{2, 2u}, std::pair{4, 0xFFFFFFFFu}}) {
    auto bad = positions;
    bad[static_cast<std::size_t>(slot)] = wrong;
    CHECK_THROWS(f.index.rebuild(f.tree.valid(), f.task_of.data(), f.tree.leaves(), bad.data()), std::invalid_argument);
    CHECK(draws(f.index) == before);
    f.check();
  }
}

TEST(an_index_that_ran_out_of_memory_can_be_rebuilt) {
  int lost = 0;
  for (std::int64_t allowed = 0; allowed < 160; ++allowed) {
    Fixture f(200);
    std::vector<std::int64_t> slots(200);
    std::iota(slots.begin(), slots.end(), std::int64_t{0});
    std::vector<std::uint16_t> tasks(200);
    for (std::size_t i = 0; i < 200; ++i) tasks[i] = static_cast<std::uint16_t>(i % 7);
    f.place(slots, tasks, 1.0);
    for (std::size_t i = 0; i < 200; ++i) f.task_of[i] = static_cast<std::uint16_t>(i % 3 * 1000);
    allocations_left = allowed;
    f.index.place(slots.data(), f.task_of.data(), 200, f.tree.leaves());
    f.index.update(slots.data(), 200, f.tree.leaves());
    f.index.remove(slots.data(), 0);
    allocations_left = -1;
    if (f.index.is_lost()) {
      ++lost;
      f.index.update(slots.data(), 200, f.tree.leaves());  // without effect
      f.index.rebuild(f.tree.valid(), f.task_of.data(), f.tree.leaves(), nullptr);
    }
    f.check();
    allocations_left = allowed;
    try {
      f.index.rebuild(f.tree.valid(), f.task_of.data(), f.tree.leaves(), nullptr);
    } catch (const std::bad_alloc&) {
    }
    allocations_left = -1;
    f.check();
  }
  CHECK(lost > 5 && lost < 160);
}

TEST(a_task_draws_the_same_with_and_without_a_tree) {
  Fixture f(400);
  std::vector<std::int64_t> slots(400);
  std::iota(slots.begin(), slots.end(), std::int64_t{0});
  std::shuffle(slots.begin(), slots.end(), std::mt19937(1));
  std::vector<double> priorities(400);
  for (std::size_t i = 0; i < 400; ++i) priorities[i] = i % 5 == 0 ? 0.0 : static_cast<double>(i * i);
  f.place(slots, std::vector<std::uint16_t>(400, 3), 1.0);
  f.update(slots, priorities);
  for (const std::size_t left : {300u, 260u, 210u, 200u, 140u, 60u, 7u, 2u, 1u}) {
    // What shrinks keeps its tree for a while; what is made anew for so few has none.
    f.remove({slots.begin() + static_cast<std::ptrdiff_t>(left), slots.end()});
    slots.resize(left);
    f.check();
    std::vector<std::uint32_t> positions(400);
    f.index.read_positions(400, positions.data());
    TaskIndex fresh(400, true);
    fresh.rebuild(f.tree.valid(), f.task_of.data(), f.tree.leaves(), positions.data());
    CHECK(fresh.total(3) == f.index.total(3) && fresh.smallest(3) == f.index.smallest(3));
    for (const auto mode : {SamplingMode::stratified, SamplingMode::independent, SamplingMode::uniform,
                            SamplingMode::without_replacement}) {
      const auto n =
          mode == SamplingMode::without_replacement ? static_cast<std::int64_t>(left / 2) : std::int64_t{500};
      std::vector<std::int64_t> drawn(500), expected(500);
      std::vector<std::uint32_t> masses(500), expected_masses(500);
      CHECK(f.index.sample(3, n, mode, 7, 1, drawn.data(), masses.data()) ==
            fresh.sample(3, n, mode, 7, 1, expected.data(), expected_masses.data()));
      CHECK(drawn == expected && masses == expected_masses);
    }
    f.check();
    fresh.place(slots.data(), f.task_of.data(), static_cast<std::int64_t>(left), f.tree.leaves());
    CHECK(fresh.total(3) == f.index.total(3) && fresh.smallest(3) == f.index.smallest(3));
  }
}

TEST(memory_does_not_grow_with_turnover) {
  // Every slot moves through every task in turn; what is left behind is given back.
  Fixture f(512);
  std::vector<std::int64_t> slots(512);
  std::iota(slots.begin(), slots.end(), std::int64_t{0});
  for (std::uint16_t task = 0; task < 2000; ++task) {
    f.place(slots, std::vector<std::uint16_t>(512, task), 1.0);
    CHECK(f.index.tasks().size() == 1 && f.index.count(task) == 512);
  }
  f.check();
  f.index.clear();
  f.tree.clear();
  f.check();
}

TEST(without_masses_every_slot_of_a_task_is_equally_likely) {
  TaskIndex index(10, false);
  const std::vector<std::int64_t> slots{2, 4, 6, 8};
  const std::vector<std::uint16_t> tasks{1, 1, 1, 9};
  index.place(slots.data(), tasks.data(), 4, nullptr);
  std::vector<std::int64_t> drawn(90000);
  std::vector<std::uint32_t> masses(90000);
  CHECK(!index.sample(1, 90000, SamplingMode::independent, 1, 1, drawn.data(), masses.data()));
  for (const std::int64_t slot : {2, 4, 6}) {
    CHECK(std::abs(static_cast<double>(std::count(drawn.begin(), drawn.end(), slot)) - 30000.0) < 6.0 * 142.0);
  }
  const std::int64_t gone = 4;
  index.remove(&gone, 1);
  CHECK(index.count(1) == 2 && index.total(1) == 0);
}

// Slots are kept as 32-bit numbers.
TEST(more_slots_than_fit_are_refused) {
  CHECK_THROWS(TaskIndex(TaskIndex::kMaxCapacity + 1, false), std::invalid_argument);
  CHECK_THROWS(TaskIndex(std::int64_t{1} << 40, true), std::invalid_argument);
}

METARL_TEST_MAIN()
