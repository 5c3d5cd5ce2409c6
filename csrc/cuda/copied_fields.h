// In which units a field is copied between slots and dense rows.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "cuda/device_replay.h"

namespace metarl::cuda {

constexpr std::size_t kMaxUnit = 16;  // what one instruction copies

// The largest power of two that divides a number, at most 16.
inline std::size_t unit_of(std::size_t bytes) {
  return bytes == 0 ? kMaxUnit : std::min(kMaxUnit, std::size_t{1} << std::countr_zero(bytes));
}
inline std::size_t unit_of(const void* at) { return unit_of(reinterpret_cast<std::size_t>(at)); }

struct FieldCopy {
  std::byte* slots;       // of slot 0
  std::size_t stride;     // from slot to slot
  std::byte* rows;        // dense
  std::size_t row_bytes;  // from row to row
  std::size_t row_offset;
  std::size_t bytes;  // that are copied of a row
};

// n rows of a field, behind the *num_units of those before it; units also divide the numbers of `others`.
inline CopiedField copied_field(const FieldCopy& copy, std::int64_t n, std::int64_t* num_units,
                                std::initializer_list<std::size_t> others = {}) {
  std::size_t unit = std::min({unit_of(copy.bytes), unit_of(copy.stride), unit_of(copy.row_bytes),
                               unit_of(copy.row_offset), unit_of(copy.slots), unit_of(copy.rows)});
  for (const std::size_t other : others) unit = std::min(unit, unit_of(other));
  CopiedField field{};
  field.slots = copy.slots;
  field.stride = static_cast<std::int64_t>(copy.stride);
  field.rows = copy.rows;
  field.row_bytes = static_cast<std::int64_t>(copy.row_bytes);
  field.row_offset = static_cast<std::int64_t>(copy.row_offset);
  field.unit_bits = std::countr_zero(unit);
  field.units = copy.bytes / unit;
  field.reciprocal = ~std::uint64_t{0} / field.units;
  field.first_unit = *num_units;
  *num_units += n * static_cast<std::int64_t>(field.units);
  return field;
}

}  // namespace metarl::cuda
