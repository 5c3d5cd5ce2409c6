#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <exception>
#include <numeric>

#include "core/block_copy.h"
#include "metarl/detail/prefetch.h"
#include "metarl/errors.h"
#include "metarl/transition_store.h"

namespace metarl {
namespace {

// Sizes of several fields together; none is above PTRDIFF_MAX.
std::size_t checked_sum(std::size_t a, std::size_t b) {
  check_allocation(a, 1);
  check_allocation(b, 1);
  return a + b;
}

constexpr std::size_t kLine = 64;
constexpr std::int64_t kChunk = 128;  // rows whose lines are fetched together and then read field by field from L1

// Elements of at least this size, in a column larger than any cache, are written past the caches: the lines that a
// store overwrites need not be read first, and what the caches hold stays there.
constexpr std::size_t kStreamElement = 4096;
constexpr std::size_t kStreamColumn = std::size_t{64} << 20;

// Of files that fit into memory, elements of at least this size are fetched from the disk ahead.
constexpr std::size_t kFetchedElement = 4096;

// What a thread copies before it asks for more.
constexpr std::size_t kStepBytes = std::size_t{128} << 10;

// Copies n elements of a size known to the compiler.
template <std::size_t kBytes, typename Source, typename Target>
void copy_fixed(std::int64_t n, Source source, Target target) {
  for (std::int64_t i = 0; i < n; ++i) std::memcpy(target(i), source(i), kBytes);
}

template <typename Source, typename Target>
void copy_elements(std::size_t bytes, std::int64_t n, Source source, Target target) {
  switch (bytes) {
    case 1:
      return copy_fixed<1>(n, source, target);
    case 2:
      return copy_fixed<2>(n, source, target);
    case 4:
      return copy_fixed<4>(n, source, target);
    case 8:
      return copy_fixed<8>(n, source, target);
    case 12:
      return copy_fixed<12>(n, source, target);
    case 16:
      return copy_fixed<16>(n, source, target);
    case 20:
      return copy_fixed<20>(n, source, target);
    case 24:
      return copy_fixed<24>(n, source, target);
    case 32:
      return copy_fixed<32>(n, source, target);
    case 64:
      return copy_fixed<64>(n, source, target);
    default:
      for (std::int64_t i = 0; i < n; ++i) std::memcpy(target(i), source(i), bytes);
  }
}

}  // namespace

TransitionStore::TransitionStore(std::int64_t capacity, std::vector<FieldSpec> fields, Place where)
    : fields_(std::move(fields)), capacity_(capacity) {
  // Descending alignment leaves no holes inside the row.
  std::vector<std::size_t> order(fields_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [this](std::size_t a, std::size_t b) { return fields_[a].alignment > fields_[b].alignment; });
  columns_.resize(fields_.size());
  SlotBytes slot;
  std::size_t large = 0;
  for (const std::size_t f : order) {
    Column& column = columns_[f];
    column.bytes = fields_[f].bytes;
    field_bytes_ = checked_sum(field_bytes_, column.bytes);
    column.packed = column.bytes <= kMaxPackedBytes;
    column.offset = 0;
    if (column.packed) {
      column.offset = slot.packed;
    } else {
      column.stride = padded(column.bytes, kElementAlignment);
      large = checked_sum(large, column.stride);
    }
    slot.add(column.bytes, fields_[f].alignment);
  }
  row_bytes_ = slot.row();
  bytes_per_slot_ = checked_sum(row_bytes_, large);
  for (Column& column : columns_) {
    if (column.packed) column.stride = row_bytes_;
  }
  if (where == Place::files) return;
  check_allocation(static_cast<std::uint64_t>(capacity), bytes_per_slot_);  // of all, before the first is allocated
  place([this](const std::string&, std::size_t bytes) {
    memory_.emplace_back(bytes);
    return memory_.back().data();
  });
}

// Gives the rows and each large field what `allocate(name, bytes)` returns.
template <typename Allocate>
void TransitionStore::place(Allocate&& allocate) {
  const auto slots = static_cast<std::size_t>(capacity_);
  rows_ = allocate("rows", slots * row_bytes_);
  for (std::size_t f = 0; f < columns_.size(); ++f) {
    Column& column = columns_[f];
    column.data =
        column.packed ? rows_ + column.offset : allocate("column-" + std::to_string(f), slots * column.stride);
  }
}

void TransitionStore::map(MappedFiles* files) {
  if (bytes_per_slot_ > static_cast<std::size_t>(PTRDIFF_MAX) / static_cast<std::size_t>(capacity_)) {
    throw FileError(EFBIG, files->folder().path());
  }
  place([files](const std::string& name, std::size_t bytes) { return files->map(name, bytes); });
  files_ = files;
  // Asking takes a system call a slot. Of what is in memory anyway, that is much for a row and little for an image.
  fetched_bytes_ = files->mapped_bytes() > physical_memory() / 2 ? 1 : kFetchedElement;
  fetches_ = row_bytes_ >= fetched_bytes_;
  for (const Column& column : columns_) fetches_ |= !column.packed && column.bytes >= fetched_bytes_;
}

void TransitionStore::fetch(const std::int64_t* slots, std::int64_t n) const {
  if (!fetches()) return;
  for (std::int64_t i = 0; i < n; ++i) {
    if (slots[i] < 0) continue;
    if (row_bytes_ >= fetched_bytes_)
      files_->fetch(rows_ + static_cast<std::size_t>(slots[i]) * row_bytes_, row_bytes_);
    for (const Column& column : columns_) {
      if (!column.packed && column.bytes >= fetched_bytes_) files_->fetch(address(column, slots[i]), column.bytes);
    }
  }
}

void TransitionStore::set_num_threads(int num_threads) {
  pool_ = num_threads > 1 ? std::make_unique<ThreadPool>(num_threads) : nullptr;
}

int TransitionStore::num_threads() const { return pool_ == nullptr ? 1 : pool_->num_threads(); }

void TransitionStore::share_rows(std::int64_t n, std::size_t bytes_each,
                                 void (*work)(void*, std::int64_t, std::int64_t), void* context) const {
  const auto rows = static_cast<std::int64_t>(kStepBytes / std::max<std::size_t>(bytes_each, 1));
  const std::int64_t step = std::max<std::int64_t>(rows, 1);
  auto copy = [&](int k) { work(context, k * step, std::min((k + 1) * step, n)); };
  try {
    pool_->share(static_cast<int>((n + step - 1) / step), copy);
  } catch (const std::exception&) {  // no thread or no memory for it is to be had, and nothing is done yet
    work(context, 0, n);
  }
}

void TransitionStore::write(std::int64_t slot, const ColumnSource* columns, std::int64_t n) {
  for_rows(n, field_bytes_, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t first = begin; first < end; first += kChunk) {
      write_rows(slot, columns, first, std::min(kChunk, end - first));
    }
  });
}

void TransitionStore::write_rows(std::int64_t slot, const ColumnSource* columns, std::int64_t first,
                                 std::int64_t count) {
  bool streamed = false;
  for (std::size_t f = 0; f < columns_.size(); ++f) {
    const Column& column = columns_[f];
    const ColumnSource& from = columns[f];
    if (from.data == nullptr) continue;
    std::byte* to = address(column, slot + first);
    const std::size_t stride = column.stride;
    if (column.bytes >= kStreamElement && column.stride * static_cast<std::size_t>(capacity_) >= kStreamColumn) {
      const auto copy = METARL_SELECT_KERNEL(copy_streaming);
      for (std::int64_t i = 0; i < count; ++i) {
        copy(to + static_cast<std::size_t>(i) * stride, from.data + (first + i) * from.stride, column.bytes);
      }
      streamed = true;
      continue;
    }
    copy_elements(
        column.bytes, count, [&from, first](std::int64_t i) { return from.data + (first + i) * from.stride; },
        [to, stride](std::int64_t i) { return to + static_cast<std::size_t>(i) * stride; });
  }
  if (streamed) METARL_SELECT_KERNEL(copy_fence)();
}

void TransitionStore::prefetch_rows(const std::int64_t* slots, std::int64_t n) const {
  if (row_bytes_ == 0) return;
  for (std::int64_t i = 0; i < n; ++i) {
    if (slots[i] < 0) continue;
    const std::byte* row = rows_ + static_cast<std::size_t>(slots[i]) * row_bytes_;
    for (std::size_t line = 0; line < row_bytes_; line += kLine) prefetch(row + line);
    prefetch(row + row_bytes_ - 1);
  }
}

void TransitionStore::gather(const std::int64_t* slots, std::int64_t n, std::byte* const* columns) const {
  fetch(slots, n);
  for_rows(n, field_bytes_, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t first = begin; first < end; first += kChunk) {
      gather_rows(slots, first, std::min(kChunk, end - first), columns);
    }
  });
}

void TransitionStore::gather_rows(const std::int64_t* slots, std::int64_t first, std::int64_t count,
                                  std::byte* const* columns) const {
  const std::int64_t* at = slots + first;
  prefetch_rows(at, count);
  for (std::size_t f = 0; f < columns_.size(); ++f) {
    const Column& column = columns_[f];
    const std::byte* base = address(column, 0);
    const std::size_t stride = column.stride;
    const std::size_t bytes = column.bytes;
    std::byte* to = columns[f] + static_cast<std::size_t>(first) * bytes;
    copy_elements(
        bytes, count, [base, stride, at](std::int64_t i) { return base + static_cast<std::size_t>(at[i]) * stride; },
        [to, bytes](std::int64_t i) { return to + static_cast<std::size_t>(i) * bytes; });
  }
}

void TransitionStore::copy_from(std::size_t bytes, const std::byte* const* from, std::int64_t n, std::byte* out) {
  if (std::all_of(from, from + n, [](const std::byte* p) { return p != nullptr; })) {
    copy_elements(
        bytes, n, [from](std::int64_t i) { return from[i]; },
        [out, bytes](std::int64_t i) { return out + static_cast<std::size_t>(i) * bytes; });
    return;
  }
  for (std::int64_t i = 0; i < n; ++i) {
    std::byte* to = out + static_cast<std::size_t>(i) * bytes;
    if (from[i] == nullptr) {
      std::memset(to, 0, bytes);
    } else {
      std::memcpy(to, from[i], bytes);
    }
  }
}

void TransitionStore::gather_field(std::size_t f, const std::int64_t* slots, std::int64_t n, std::byte* out) const {
  const Column& column = columns_[f];
  const std::byte* base = address(column, 0);
  const std::size_t stride = column.stride;
  const std::size_t bytes = column.bytes;
  for_rows(n, bytes, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t first = begin; first < end; first += kChunk) {
      const std::int64_t count = std::min(kChunk, end - first);
      const std::int64_t* at = slots + first;
      std::byte* to = out + static_cast<std::size_t>(first) * bytes;
      if (std::all_of(at, at + count, [](std::int64_t slot) { return slot >= 0; })) {
        copy_elements(
            bytes, count,
            [base, stride, at](std::int64_t i) { return base + static_cast<std::size_t>(at[i]) * stride; },
            [to, bytes](std::int64_t i) { return to + static_cast<std::size_t>(i) * bytes; });
        continue;
      }
      for (std::int64_t i = 0; i < count; ++i) {
        std::byte* element = to + static_cast<std::size_t>(i) * bytes;
        if (at[i] < 0) {
          std::memset(element, 0, bytes);
        } else {
          std::memcpy(element, base + static_cast<std::size_t>(at[i]) * stride, bytes);
        }
      }
    }
  });
}

void TransitionStore::read(std::size_t f, std::int64_t slot, std::int64_t n, std::byte* out) const {
  const Column& column = columns_[f];
  const std::byte* from = address(column, slot);
  const std::size_t stride = column.stride;
  const std::size_t bytes = column.bytes;
  copy_elements(
      bytes, n, [from, stride](std::int64_t i) { return from + static_cast<std::size_t>(i) * stride; },
      [out, bytes](std::int64_t i) { return out + static_cast<std::size_t>(i) * bytes; });
}

}  // namespace metarl
