#include "core/distinct_draws.h"

#include <algorithm>
#include <bit>
#include <stdexcept>
#include <string>

#include "core/poll.h"
#include "metarl/aligned_memory.h"
#include "metarl/detail/fixed_point.h"

namespace metarl {

namespace {

constexpr std::int64_t kPollDraws = 1 << 14;  // as each takes a descent and an update, or a look into a table

// Numbers by number: a table in one block of memory, which is given back at once however many there are.
class NumberMap {
 public:
  NumberMap(std::int64_t most, const Poll& poll)
      : mask_(std::bit_ceil(2 * static_cast<std::uint64_t>(most)) - 1), memory_((mask_ + 1) * sizeof(Entry)) {
    if (poll) touch(memory_.data(), memory_.size(), poll);  // or the first few thousand entries would, all of it
  }

  // What is stored under `key`, or `key` itself.
  std::int64_t get(std::int64_t key) const {
    const Entry& entry = find(key);
    return entry.key == 0 ? key : entry.value;
  }
  // Stores `value` and returns what get did.
  std::int64_t exchange(std::int64_t key, std::int64_t value) {
    Entry& entry = find(key);
    const std::int64_t before = entry.key == 0 ? key : entry.value;
    entry = {key + 1, value};
    return before;
  }

 private:
  struct Entry {
    std::int64_t key;  // plus one; 0: free
    std::int64_t value;
  };
  Entry& find(std::int64_t key) const {
    auto* entries = memory_.as<Entry>();
    std::uint64_t at = (static_cast<std::uint64_t>(key) * 0x9E3779B97F4A7C15ull >> 20) & mask_;
    while (entries[at].key != 0 && entries[at].key != key + 1) at = (at + 1) & mask_;
    return entries[at];
  }

  std::uint64_t mask_;
  AlignedMemory memory_;
};

}  // namespace

// Independent draws from which repetitions are dropped are successive draws. To stay fast when a few leaves hold nearly
// all the mass, leaves that were drawn are taken out of the tree after each round: every round draws at least one new
// leaf, and one in which repetitions prevail has removed most of the mass.
std::int64_t draw_successive(MassTree* tree, RandomBits bits, std::int64_t n, std::vector<std::uint64_t>* scratch,
                             std::int64_t* indices, std::uint32_t* masses, const Poll& poll) {
  grow(scratch, static_cast<std::size_t>(n), poll);
  std::vector<std::uint64_t> sums(poll ? static_cast<std::size_t>(tree->scratch_size()) : 0);
  constexpr std::uint32_t kNone = 0;
  std::int64_t done = 0;
  const auto put_back = [&] {
    if (!poll) return tree->set(indices, masses, done);
    // Of many leaves, a fraction of the time that taking them out took.
    for (std::int64_t i = 0; i < done; ++i) tree->raw_leaves()[indices[i]] = masses[i];
    tree->rebuild(sums.data());
  };
  const std::int64_t part = poll ? kPollDraws : n;
  try {
    while (done < n && tree->total() > 0) {
      const std::int64_t round = n - done;
      const std::int64_t first = done;
      const std::uint64_t total = tree->total();
      for (std::int64_t begin = 0; begin < round; begin += part) {
        if (poll) poll();
        const std::int64_t end = std::min(round, begin + part);
        for (std::int64_t i = begin; i < end; ++i) {
          (*scratch)[static_cast<std::size_t>(i)] = draw_uniform(bits.next(), total);
        }
        tree->descend(scratch->data() + begin, end - begin, indices + first + begin, masses + first + begin);
      }
      for (std::int64_t i = first; i < first + round; ++i) {
        if (poll && i % kPollDraws == 0) poll();
        const std::int64_t index = indices[i];
        if (tree->leaves()[index] == 0) continue;  // drawn before in this round
        tree->set(&index, &kNone, 1);
        indices[done] = index;
        masses[done++] = masses[i];
      }
    }
  } catch (...) {
    put_back();
    throw;
  }
  put_back();
  return done;
}

void refuse_batch_size(std::int64_t n, std::int64_t drawable) {
  throw std::invalid_argument("batch_size is " + std::to_string(n) + "; without replacement at most " +
                              std::to_string(drawable) + " items can be drawn");
}

// Fisher and Yates's shuffle of 0 ... total - 1, of which only the elements that moved are kept.
void draw_distinct(std::int64_t total, RandomBits bits, std::int64_t n, std::int64_t* out, const Poll& poll) {
  NumberMap moved(n, poll);
  for (std::int64_t i = 0; i < n; ++i) {
    if (poll && i % kPollDraws == 0) poll();
    const std::int64_t j =
        i + static_cast<std::int64_t>(draw_uniform(bits.next(), static_cast<std::uint64_t>(total - i)));
    const std::int64_t here = moved.get(i);
    out[i] = j == i ? here : moved.exchange(j, here);
  }
}

}  // namespace metarl
