// Kernel body that copies transitions between slots and dense rows. Neighbouring threads copy neighbouring bytes of a
// row's field, so the dense side is read or written in whole lines; the fields of a packed slot share its lines in the
// cache.
#pragma once

#include "cuda/context.h"
#include "cuda/device_replay.h"
#include "metarl/detail/fixed_point.h"

namespace metarl::cuda {

template <typename T, typename Context>
METARL_KERNEL void copy_value(Context& ctx, const std::byte* from, std::byte* to, bool empty) {
  const T value = empty ? T{0} : ctx.load(reinterpret_cast<const T*>(from));
  ctx.store(reinterpret_cast<T*>(to), value);
}

// An empty source gives zeros.
template <typename Context>
METARL_KERNEL void copy_unit(Context& ctx, const std::byte* from, std::byte* to, int unit_bits, bool empty) {
  switch (unit_bits) {
    case 0:
      return copy_value<std::uint8_t>(ctx, from, to, empty);
    case 1:
      return copy_value<std::uint16_t>(ctx, from, to, empty);
    case 2:
      return copy_value<std::uint32_t>(ctx, from, to, empty);
    case 3:
      return copy_value<std::uint64_t>(ctx, from, to, empty);
    default:
      if (empty) {
        copy_value<std::uint64_t>(ctx, from, to, true);
        return copy_value<std::uint64_t>(ctx, from, to + 8, true);
      }
      const auto words = ctx.template load_vector<4>(reinterpret_cast<const std::uint32_t*>(from));
      ctx.store_vector(reinterpret_cast<std::uint32_t*>(to), words);
  }
}

// The row of a unit, and which of the row's units it is.
struct UnitPlace {
  std::uint64_t item;
  std::uint64_t part;
};

METARL_HD UnitPlace place_of(const CopiedField& field, std::int64_t unit) {
  const auto inside = static_cast<std::uint64_t>(unit - field.first_unit);
  std::uint64_t item = mul_high(inside, field.reciprocal);  // at most 2 below inside / units
  std::uint64_t part = inside - item * field.units;
  while (part >= field.units) {
    part -= field.units;
    ++item;
  }
  return UnitPlace{item, part};
}

template <typename Context>
METARL_KERNEL void copy_rows(Context& ctx, const CopyCall& call) {
  const std::uint64_t written = ctx.load(&call.replay->written);
  const auto capacity = static_cast<std::uint64_t>(call.capacity);
  const std::uint64_t start = (written + static_cast<std::uint64_t>(call.dropped)) % capacity;
  const bool gather = call.kind == CopyKind::gather;
  if (call.kind == CopyKind::scatter && ctx.load(&call.tree->bad) != 0) return;  // the add is refused
  // A draw from an empty buffer found nothing.
  const bool empty = gather && ctx.load(&call.tree->num_valid) == 0;
  int f = 0;
  for (std::int64_t unit = grid_thread(ctx); unit < call.num_units; unit += grid_threads(ctx)) {
    while (f + 1 < call.num_fields && unit >= call.fields[f + 1].first_unit) ++f;
    const CopiedField& field = call.fields[f];
    const UnitPlace place = place_of(field, unit);
    std::uint64_t slot = start + place.item;
    slot = slot >= capacity ? slot - capacity : slot;
    if (call.kind != CopyKind::scatter) {
      const std::int64_t given = ctx.load(call.indices + place.item);
      if (given < 0) continue;
      slot = static_cast<std::uint64_t>(given);
    }
    const std::uint64_t row = gather ? place.item : place.item + static_cast<std::uint64_t>(call.dropped);
    const std::uint64_t offset = place.part << field.unit_bits;
    std::byte* stored = field.slots + slot * static_cast<std::uint64_t>(field.stride) + offset;
    std::byte* dense = field.rows + row * static_cast<std::uint64_t>(field.row_bytes) +
                       static_cast<std::uint64_t>(field.row_offset) + offset;
    copy_unit(ctx, gather ? stored : dense, gather ? dense : stored, field.unit_bits, empty);
  }
  if (call.mark == nullptr || grid_thread(ctx) != 0) return;
  ctx.store(call.mark + kMarkEpoch, ctx.load(&call.replay->epoch));
  ctx.store(call.mark + kMarkWritten, written);
}

}  // namespace metarl::cuda
