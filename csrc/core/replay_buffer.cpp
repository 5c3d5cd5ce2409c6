#include "metarl/replay_buffer.h"

#include <algorithm>
#include <atomic>

#include "core/tree_kernels.h"
#include "metarl/detail/philox.h"
#include "metarl/errors.h"

namespace metarl {
namespace {

std::uint64_t next_epoch() {
  static std::atomic<std::uint64_t> count{0};
  return ++count;
}

}  // namespace

ReplayBuffer::ReplayBuffer(std::int64_t capacity, std::vector<FieldSpec> fields, std::uint64_t seed)
    : capacity_(capacity >= 1
                    ? capacity
                    : throw std::invalid_argument("capacity is " + std::to_string(capacity) + "; must be >= 1")),
      seed_(seed),
      store_(capacity, std::move(fields)) {
  mark_.epoch = next_epoch();
}

std::int64_t ReplayBuffer::size_unlocked() const {
  return mark_.written < static_cast<std::uint64_t>(capacity_) ? static_cast<std::int64_t>(mark_.written) : capacity_;
}

std::int64_t ReplayBuffer::size() const {
  const std::lock_guard lock(mutex_);
  return size_unlocked();
}

std::int64_t ReplayBuffer::add(const ColumnSource* columns, std::int64_t n) {
  const std::lock_guard lock(mutex_);
  const std::int64_t first = static_cast<std::int64_t>(mark_.written % static_cast<std::uint64_t>(capacity_));
  std::int64_t slot = first;
  std::int64_t done = 0;
  if (n > capacity_) {  // only the last ones stay
    done = n - capacity_;
    slot = (first + done) % capacity_;
  }
  std::vector<ColumnSource> shifted;
  while (done < n) {
    const std::int64_t count = std::min(n - done, capacity_ - slot);
    const ColumnSource* from = columns;
    if (done > 0) {
      shifted.assign(columns, columns + store_.fields().size());
      for (ColumnSource& column : shifted) column.data += done * column.stride;
      from = shifted.data();
    }
    store_.write(slot, from, count);
    on_write(slot, slot + count);
    done += count;
    slot = (slot + count) % capacity_;
  }
  mark_.written += static_cast<std::uint64_t>(n);
  return first;
}

void ReplayBuffer::clear() {
  const std::lock_guard lock(mutex_);
  mark_ = {next_epoch(), 0};
  on_clear();
}

WriteMark ReplayBuffer::sample(std::int64_t n, double beta, const SampleOutput& out) {
  const std::lock_guard lock(mutex_);
  if (mark_.written == 0) throw BufferEmptyError("cannot sample from an empty buffer");
  draw(n, beta, out);
  store_.gather(out.indices, n, out.columns);
  return mark_;
}

void ReplayBuffer::draw(std::int64_t n, double, const SampleOutput& out) {
  if (scratch_.size() < static_cast<std::size_t>(n)) scratch_.resize(static_cast<std::size_t>(n));
  const auto size = static_cast<std::uint64_t>(size_unlocked());
  if (n > 0) METARL_SELECT_KERNEL(tree_draws)(seed_, draws_++, kTagUniformSample, size, n, false, scratch_.data());
  std::copy_n(scratch_.data(), n, out.indices);
  std::fill_n(out.weights, n, 1.0f);
  std::fill_n(out.probabilities, n, 1.0 / static_cast<double>(size));
}

bool ReplayBuffer::snapshot(std::int64_t size, State* state, const Content& content) const {
  const std::lock_guard lock(mutex_);
  if (size != size_unlocked()) return false;
  state->written = mark_.written;
  state->draws = draws_;
  for (std::size_t f = 0; f < store_.fields().size(); ++f) store_.read(f, 0, size, content.columns[f]);
  on_snapshot(size, state, content);
  return true;
}

void ReplayBuffer::restore(const State& state, const ColumnSource* columns, const float* raw_priorities,
                           const std::uint32_t* masses) {
  const std::lock_guard lock(mutex_);
  mark_ = {next_epoch(), state.written};
  draws_ = state.draws;
  store_.write(0, columns, size_unlocked());
  on_restore(state, raw_priorities, masses, size_unlocked());
}

void ReplayBuffer::on_write(std::int64_t, std::int64_t) {}
void ReplayBuffer::on_clear() {}
void ReplayBuffer::on_snapshot(std::int64_t, State*, const Content&) const {}
void ReplayBuffer::on_restore(const State&, const float*, const std::uint32_t*, std::int64_t) {}

}  // namespace metarl
