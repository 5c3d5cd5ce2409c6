#include "core/distinct_draws.h"

#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>

#include "metarl/detail/fixed_point.h"

namespace metarl {

// Independent draws from which repetitions are dropped are successive draws. To stay fast when a few leaves hold nearly
// all the mass, leaves that were drawn are taken out of the tree after each round: every round draws at least one new
// leaf, and one in which repetitions prevail has removed most of the mass.
std::int64_t draw_successive(MassTree* tree, RandomBits bits, std::int64_t n, std::vector<std::uint64_t>* scratch,
                             std::int64_t* indices, std::uint32_t* masses) {
  if (scratch->size() < static_cast<std::size_t>(n)) scratch->resize(static_cast<std::size_t>(n));
  constexpr std::uint32_t kNone = 0;
  std::int64_t done = 0;
  while (done < n && tree->total() > 0) {
    const std::int64_t round = n - done;
    for (std::int64_t i = 0; i < round; ++i) {
      (*scratch)[static_cast<std::size_t>(i)] = draw_uniform(bits.next(), tree->total());
    }
    const std::int64_t first = done;
    tree->descend(scratch->data(), round, indices + first, masses + first);
    for (std::int64_t i = first; i < first + round; ++i) {
      const std::int64_t index = indices[i];
      if (tree->leaves()[index] == 0) continue;  // drawn before in this round
      tree->set(&index, &kNone, 1);
      indices[done] = index;
      masses[done++] = masses[i];
    }
  }
  tree->set(indices, masses, done);
  return done;
}

void refuse_batch_size(std::int64_t n, std::int64_t drawable) {
  throw std::invalid_argument("batch_size is " + std::to_string(n) + "; without replacement at most " +
                              std::to_string(drawable) + " items can be drawn");
}

// Fisher and Yates's shuffle of 0 ... total - 1, of which only the elements that moved are kept.
void draw_distinct(std::int64_t total, RandomBits bits, std::int64_t n, std::int64_t* out) {
  std::unordered_map<std::int64_t, std::int64_t> moved;
  moved.reserve(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t j =
        i + static_cast<std::int64_t>(draw_uniform(bits.next(), static_cast<std::uint64_t>(total - i)));
    const auto head = moved.find(i);
    const std::int64_t here = head == moved.end() ? i : head->second;
    if (j == i) {
      out[i] = here;
    } else {
      const auto [entry, fresh] = moved.try_emplace(j, j);
      out[i] = entry->second;
      entry->second = here;
    }
    if (head != moved.end()) moved.erase(head);  // never looked at again
  }
}

}  // namespace metarl
