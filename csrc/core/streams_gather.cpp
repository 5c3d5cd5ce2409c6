// What is assembled from chains of slots while sampling: n-step returns, next observations, frame stacks, sequences.
#include <algorithm>
#include <cstring>
#include <vector>

#include "metarl/detail/prefetch.h"
#include "metarl/detail/stream_links.h"
#include "metarl/streams.h"

namespace metarl {
namespace {

constexpr std::int64_t kChunk = 128;  // slots whose rows are fetched together

}  // namespace

std::int64_t Streams::follow(std::int64_t slot) const { return links::follow(next_link(slot)); }

// The last transition that an n-step return takes in: fewer than n steps at the end of a chain and at the newest one.
// R = sum of gamma^j r_j over k steps in double precision; discount = gamma^k, 0 after a termination.
template <typename T>
void Streams::walk(const std::int64_t* slots, std::int64_t n, std::int64_t* last, T* rewards, float* discounts) const {
  const auto reward = static_cast<std::size_t>(column_of_[static_cast<std::size_t>(options_.reward)]);
  const std::size_t items = store_->fields()[reward].bytes / sizeof(T);
  const auto terminated = static_cast<std::size_t>(column_of_[static_cast<std::size_t>(options_.terminated)]);
  std::vector<double> sums(static_cast<std::size_t>(kChunk) * items);
  double gammas[kChunk];
  std::int64_t at[kChunk];
  for (std::int64_t first = 0; first < n; first += kChunk) {
    const std::int64_t count = std::min(kChunk, n - first);
    std::copy_n(slots + first, count, at);
    std::fill_n(gammas, count, 1.0);
    std::fill(sums.begin(), sums.end(), 0.0);
    for (int step = 0; step < options_.n_step; ++step) {
      store_->prefetch_rows(at, count);
      bool any = false;
      for (std::int64_t i = 0; i < count; ++i) {
        if (at[i] < 0) continue;
        any = true;
        last[first + i] = at[i];
        const std::byte* r = store_->at(reward, at[i]);
        for (std::size_t k = 0; k < items; ++k) {
          T value;
          std::memcpy(&value, r + k * sizeof(T), sizeof(T));
          double& sum = sums[static_cast<std::size_t>(i) * items + k];
          sum = links::add_reward(sum, gammas[i], static_cast<double>(value));
        }
        const bool ends = *store_->at(terminated, at[i]) != std::byte{0};
        gammas[i] = links::next_discount(gammas[i], options_.gamma, ends);
        at[i] = ends ? -1 : follow(at[i]);  // after a truncation there is none to follow
      }
      if (!any) break;
    }
    for (std::int64_t i = 0; i < count; ++i) discounts[first + i] = static_cast<float>(gammas[i]);
    for (std::size_t k = 0; k < static_cast<std::size_t>(count) * items; ++k) {
      rewards[static_cast<std::size_t>(first) * items + k] = static_cast<T>(sums[k]);
    }
  }
}

// The slots of sequences, -1 where a chain was over.
void Streams::unroll(const std::int64_t* slots, std::int64_t n, std::int64_t* steps, std::uint8_t* mask) const {
  const std::int64_t length = options_.sequence_length;
  std::int64_t at[kChunk];
  for (std::int64_t first = 0; first < n; first += kChunk) {
    const std::int64_t count = std::min(kChunk, n - first);
    std::copy_n(slots + first, count, at);
    for (std::int64_t t = 0; t < length; ++t) {
      for (std::int64_t i = 0; i < count; ++i) {
        const std::int64_t slot = at[i];
        steps[(first + i) * length + t] = slot;
        mask[(first + i) * length + t] = slot >= 0 ? 1 : 0;
        if (slot >= 0) at[i] = follow(slot);
        if (at[i] >= 0) prefetch(&next_link(at[i]));
      }
    }
  }
}

// The frames of a slot and of those before it, the newest one last; the oldest is repeated where there are none before.
void Streams::copy_history(const Pair& pair, std::int64_t slot, int frames, std::byte* out) const {
  const auto column = static_cast<std::size_t>(column_of_[static_cast<std::size_t>(pair.field)]);
  for (int k = frames - 1; k >= 0; --k) {
    std::memcpy(out + static_cast<std::size_t>(k) * pair.frame, store_->at(column, slot), pair.frame);
    if (k > 0 && previous_link(slot) != links::kNoPrevious) slot = static_cast<std::int64_t>(previous_link(slot));
  }
}

void Streams::gather_stack(const Pair& pair, const std::int64_t* slots, std::int64_t n, std::byte* out) const {
  store_->for_rows(n, pair.bytes, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      std::byte* to = out + static_cast<std::size_t>(i) * pair.bytes;
      if (slots[i] < 0) {
        std::memset(to, 0, pair.bytes);
      } else {
        copy_history(pair, slots[i], pair.stack, to);
      }
    }
  });
}

void Streams::gather_next(const Pair& pair, const std::int64_t* slots, std::int64_t n, std::byte* out) const {
  const auto column = static_cast<std::size_t>(column_of_[static_cast<std::size_t>(pair.field)]);
  store_->for_rows(n, pair.bytes, [&](std::int64_t from, std::int64_t until) {
    for (std::int64_t first = from; first < until; first += kChunk) {
      const std::int64_t count = std::min(kChunk, until - first);
      const std::int64_t* at = slots + first;
      std::byte* to = out + static_cast<std::size_t>(first) * pair.bytes;
      const std::byte* newest[kChunk];  // of a stack: its newest frame
      for (std::int64_t i = 0; i < count; ++i) {
        newest[i] = nullptr;
        if (at[i] < 0) continue;
        const std::uint32_t link = next_link(at[i]);
        newest[i] = links::kind(link) == links::kNewest ? pending(links::value(link), pair) + (pair.bytes - pair.frame)
                                                        : store_->at(column, links::value(link));
        prefetch(newest[i]);
      }
      if (pair.stack == 1) {
        TransitionStore::copy_from(pair.bytes, newest, count, to);
        continue;
      }
      for (std::int64_t i = 0; i < count; ++i, to += pair.bytes) {
        if (newest[i] == nullptr) {
          std::memset(to, 0, pair.bytes);
        } else if (links::kind(next_link(at[i])) == links::kNewest) {
          std::memcpy(to, newest[i] - (pair.bytes - pair.frame), pair.bytes);
        } else {
          std::memcpy(to + (pair.bytes - pair.frame), newest[i], pair.frame);
          copy_history(pair, at[i], pair.stack - 1, to);
        }
      }
    }
  });
}

void Streams::gather_field(std::size_t field, const std::int64_t* slots, std::int64_t n, std::byte* out) const {
  const int pair = pair_of_[field];
  if (column_of_[field] < 0) return gather_next(pairs_[static_cast<std::size_t>(pair)], slots, n, out);
  if (fields_[field].stack > 1) return gather_stack(pairs_[static_cast<std::size_t>(pair)], slots, n, out);
  store_->gather_field(static_cast<std::size_t>(column_of_[field]), slots, n, out);
}

// Everything that a batch reads besides the slots themselves: next observations, and the frames before.
void Streams::fetch_around(const std::int64_t* slots, std::int64_t n) const {
  store_->fetch(slots, n);
  std::vector<std::int64_t> others;
  for (std::int64_t i = 0; i < n; ++i) {
    std::int64_t slot = slots[i];
    if (slot < 0) continue;
    const std::uint32_t next = next_link(slot);
    if (options_.share_next && (links::kind(next) == links::kNext || links::kind(next) == links::kTail)) {
      others.push_back(links::value(next));
    }
    for (int back = 1; back < rules_.stack && previous_link(slot) != links::kNoPrevious; ++back) {
      slot = static_cast<std::int64_t>(previous_link(slot));
      others.push_back(slot);
    }
  }
  store_->fetch(others.data(), static_cast<std::int64_t>(others.size()));
}

void Streams::gather(const std::int64_t* slots, std::int64_t n, std::byte* const* columns, float* discounts,
                     std::uint8_t* mask) const {
  if (store_->fetches() && options_.sequence_length == 0) fetch_around(slots, n);  // also what walk needs
  if (options_.sequence_length > 0) {
    std::vector<std::int64_t> steps(static_cast<std::size_t>(n * options_.sequence_length));
    unroll(slots, n, steps.data(), mask);
    if (store_->fetches()) fetch_around(steps.data(), n * options_.sequence_length);
    for (std::size_t f = 0; f < fields_.size(); ++f) {
      const bool first_only = fields_[f].recurrent;
      gather_field(f, first_only ? slots : steps.data(), first_only ? n : n * options_.sequence_length, columns[f]);
    }
    return;
  }
  if (options_.n_step == 1) {
    store_->prefetch_rows(slots, n);
    for (std::size_t f = 0; f < fields_.size(); ++f) gather_field(f, slots, n, columns[f]);
    return;
  }
  std::vector<std::int64_t> last(static_cast<std::size_t>(n));
  std::byte* rewards = columns[options_.reward];
  if (options_.reward_type == RewardType::float32) {
    walk(slots, n, last.data(), reinterpret_cast<float*>(rewards), discounts);
  } else {
    walk(slots, n, last.data(), reinterpret_cast<double*>(rewards), discounts);
  }
  if (store_->fetches()) fetch_around(last.data(), n);
  for (std::size_t f = 0; f < fields_.size(); ++f) {
    const auto field = static_cast<int>(f);
    if (field == options_.reward) continue;
    const bool of_last = fields_[f].next_of >= 0 || field == options_.terminated || field == options_.truncated;
    gather_field(f, of_last ? last.data() : slots, n, columns[f]);
  }
}

}  // namespace metarl
