// State of the streams as plain numbers, for checkpoints.
#include <algorithm>
#include <stdexcept>
#include <string>

#include "metarl/detail/stream_links.h"
#include "metarl/streams.h"

namespace metarl {
namespace {

using chains::kPerCandidate;
constexpr std::int64_t kNumbers = chains::kStreamNumbers;

}  // namespace

std::int64_t Streams::state_columns() const { return chains::state_columns(rules_.max_candidates); }

void Streams::read_state(std::int64_t* table, std::byte* pending) const {
  for (std::size_t e = 0; e < streams_.size(); ++e) {
    const Stream& stream = streams_[e];
    std::int64_t* row = table + static_cast<std::int64_t>(e) * state_columns();
    std::fill_n(row, state_columns(), 0);
    row[0] = stream.last;
    row[1] = stream.position;
    row[2] = stream.ended ? 1 : 0;
    row[3] = static_cast<std::int64_t>(stream.candidates.size());
    std::int64_t* next = row + kNumbers;
    for (const chains::Candidate& candidate : stream.candidates) {
      *next++ = candidate.slot;
      *next++ = static_cast<std::int64_t>(candidate.number);
      *next++ = candidate.position;
    }
  }
  std::copy_n(pending_.data(), pending_.size(), pending);
}

void Streams::check_state(const std::int64_t* table, std::uint64_t written) const {
  const auto used = static_cast<std::int64_t>(std::min(written, static_cast<std::uint64_t>(capacity_)));
  for (std::size_t e = 0; e < streams_.size(); ++e) {
    const std::int64_t* row = table + static_cast<std::int64_t>(e) * state_columns();
    bool good = row[0] >= -1 && row[0] < used && row[1] >= 0 && static_cast<std::uint64_t>(row[1]) <= written &&
                (row[2] == 0 || row[2] == 1) && row[3] >= 0 && row[3] <= (row[0] < 0 ? 0 : rules_.max_candidates);
    // Starts wait in the order of the chain, and no longer than their sequence takes.
    std::int64_t least = std::max<std::int64_t>(0, row[1] - options_.sequence_length + 1);
    for (std::int64_t c = 0; good && c < row[3]; ++c) {
      const std::int64_t* candidate = row + kNumbers + kPerCandidate * c;
      const std::int64_t position = candidate[2];
      good = candidate[0] >= 0 && candidate[0] < used && candidate[1] >= 0 &&
             static_cast<std::uint64_t>(candidate[1]) < written && position >= least && position < row[1] &&
             position % options_.stride == 0;
      least = position + 1;
    }
    if (!good) throw std::invalid_argument("stream " + std::to_string(e) + " is out of range");
  }
}

void Streams::restore_state(const std::int64_t* table, const std::byte* pending) {
  for (std::size_t e = 0; e < streams_.size(); ++e) {
    Stream& stream = streams_[e];
    const std::int64_t* row = table + static_cast<std::int64_t>(e) * state_columns();
    stream.last = row[0];
    stream.position = row[1];
    stream.ended = row[2] != 0;
    stream.candidates.clear();
    for (std::int64_t c = 0; c < row[3]; ++c) {
      const std::int64_t* candidate = row + kNumbers + kPerCandidate * c;
      stream.candidates.push_back({candidate[0], static_cast<std::uint64_t>(candidate[1]), candidate[2]});
    }
  }
  std::copy_n(pending, pending_.size(), pending_.data());
}

void Streams::forget(const SlotRange& lost, std::int64_t used, std::vector<std::int64_t>* dependents) {
  // Whether the newest `frames` frames up to that of `slot` hold a lost one.
  const auto needs_lost = [&](std::int64_t slot, int frames) {
    for (int k = 0; k < frames; ++k) {
      if (lost.contains(slot)) return true;
      if (rules_.stack == 1 || previous_link(slot) == links::kNoPrevious) return false;
      slot = static_cast<std::int64_t>(previous_link(slot));
    }
    return false;
  };
  for (Stream& stream : streams_) {
    // The next transition of its chain would need these.
    if (stream.last < 0 || !needs_lost(stream.last, std::max(rules_.stack - 1, 1))) continue;
    next_link(stream.last) = links::kEnd;
    stream.last = -1;
    stream.candidates.clear();
  }
  for (std::int64_t slot = 0; rules_.stack > 1 && slot < used; ++slot) {
    if (!lost.contains(slot) && needs_lost(slot, rules_.stack)) dependents->push_back(slot);
  }
  for (std::int64_t k = 0; k < lost.count; ++k) {
    const std::int64_t slot = (lost.first + k) % capacity_;
    next_link(slot) = links::kEnd;
    if (rules_.stack > 1) previous_link(slot) = links::kNoPrevious;
  }
}

bool Streams::links_are_safe(std::uint32_t next, std::uint32_t previous, std::int64_t used) const {
  const std::int64_t limit = links::kind(next) == links::kNewest ? options_.num_envs : used;
  return links::value(next) < limit && (previous == links::kNoPrevious || static_cast<std::int64_t>(previous) < used);
}

}  // namespace metarl
