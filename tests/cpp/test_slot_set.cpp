#include <algorithm>
#include <cstdint>
#include <random>
#include <set>
#include <vector>

#include "check.h"
#include "metarl/slot_set.h"

using metarl::SlotSet;

namespace {

bool same_members(const SlotSet& slots, const std::set<std::int64_t>& model) {
  if (slots.size() != static_cast<std::int64_t>(model.size())) return false;
  std::int64_t rank = 0;
  for (const std::int64_t slot : model) {
    if (slots.at_rank(rank++) != slot) return false;
  }
  for (std::int64_t slot = 0; slot < slots.capacity(); ++slot) {
    if (slots.contains(slot) != (model.count(slot) == 1)) return false;
  }
  return true;
}

}  // namespace

TEST(members_and_ranks_agree_with_a_std_set) {
  std::mt19937_64 random(1);
  for (const std::int64_t capacity : {1, 2, 63, 64, 65, 511, 512, 513, 1024, 1025, 5000}) {
    const auto below = [&](std::int64_t n) {
      return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n));
    };
    SlotSet slots(capacity);
    std::set<std::int64_t> model;
    for (int round = 0; round < 12; ++round) {
      if (round == 6) {
        slots.clear();
        model.clear();
        CHECK(slots.is_prefix() && slots.size() == 0);
      }
      const std::int64_t begin = round % 6 == 0 ? 0 : below(capacity);
      const std::int64_t end = begin + below(capacity - begin + 1);
      slots.insert_range(begin, end);
      for (std::int64_t slot = begin; slot < end; ++slot) model.insert(slot);
      if (round % 6 == 0) CHECK(slots.is_prefix());
      CHECK(same_members(slots, model));
      for (int k = 0; k < 300; ++k) {
        const std::int64_t slot = below(capacity);
        if (random() % 2 == 0) {
          CHECK(slots.insert(slot) == model.insert(slot).second);
        } else {
          CHECK(slots.erase(slot) == (model.erase(slot) == 1));
        }
      }
      CHECK(same_members(slots, model));
      SlotSet copy(capacity);
      copy.assign(slots.words(), slots.capacity());
      CHECK(same_members(copy, model));
    }
  }
}

TEST(assign_ignores_bits_beyond_the_capacity) {
  SlotSet slots(70);
  const std::uint64_t words[2] = {~std::uint64_t{0}, ~std::uint64_t{0}};
  slots.assign(words, slots.capacity());
  CHECK(slots.size() == 70 && slots.is_prefix() && slots.at_rank(69) == 69);
  slots.erase(0);
  CHECK(slots.size() == 69 && !slots.is_prefix() && slots.at_rank(0) == 1 && slots.at_rank(68) == 69);
}

METARL_TEST_MAIN()
