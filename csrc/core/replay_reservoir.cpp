// Reservoir sampling: a uniform sample of everything that was ever added.
#include <algorithm>

#include "core/distinct_draws.h"
#include "core/poll.h"
#include "metarl/detail/fixed_point.h"
#include "metarl/detail/philox.h"
#include "metarl/replay_buffer.h"

namespace metarl {
namespace {

constexpr std::size_t kPollRows = 1 << 15;

}  // namespace

// Algorithm R (Vitter, "Random sampling with a reservoir", ACM TOMS 1985): item number t > capacity is kept with
// probability capacity / t, in place of a slot chosen uniformly.
void ReplayBuffer::add_to_reservoir(const ColumnSource* columns, std::int64_t n, std::int64_t* slots,
                                    const Poll& poll) {
  std::int64_t between = n;
  if (poll) {
    const std::size_t row_bytes = std::max(store_.bytes_per_slot(), kPollBytes / kPollRows);
    between = static_cast<std::int64_t>(std::max(kPollBytes / row_bytes, std::size_t{1}));
  }
  // What can fail comes first: nothing is written then.
  std::vector<ColumnSource> row(columns, columns + store_.fields().size());
  prepare_slots(1);
  for (std::int64_t i = 0; i < n; ++i) {
    if (poll && i % between == 0) poll();
    std::int64_t slot = static_cast<std::int64_t>(mark_.written);
    if (slot >= capacity_) {
      const std::uint64_t bits = RandomBits(key(), reservoir_draws_++, kTagReservoir).next();
      slot = static_cast<std::int64_t>(draw_uniform(bits, mark_.written + 1));
    }
    if (slot < capacity_) {
      on_write(slot, slot + 1);
      store_.write(slot, row.data(), 1);
      written_at_.as<std::uint64_t>()[slot] = mark_.written;
      if (tasks_ != nullptr) track(&slot, &new_tasks_[static_cast<std::size_t>(i)], 1);
    }
    slots[i] = slot < capacity_ ? slot : -1;
    ++mark_.written;
    for (ColumnSource& column : row) column.data += column.stride;
  }
}

}  // namespace metarl
