// What the agent sees: the 7 x 7 cells in front of it, turned so that it looks up from the middle of the bottom row,
// without those behind walls and doors (minigrid_env.py, gen_obs; core/grid.py, process_vis).
//
// A row of the view is eight cells in one 64-bit word, column 0 in the lowest byte, and the eighth is no part of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "envs/minigrid/level.h"

namespace metarl::minigrid {

constexpr std::int32_t kViewSize = 7;
constexpr std::int32_t kViewMiddle = 3;
constexpr std::size_t kImageBytes = kViewSize * kViewSize * 3;
constexpr std::uint64_t kEachByte = 0x0101010101010101u;

// Eight bytes, the first one lowest, on any machine: compilers make one load of it.
METARL_HD std::uint64_t load_word(const std::uint8_t* from) {
  std::uint64_t word = 0;
  for (int k = 0; k < 8; ++k) word |= std::uint64_t{from[k]} << (8 * k);
  return word;
}

METARL_HD void store_word(std::uint64_t word, std::uint8_t* to) {
  for (int k = 0; k < 8; ++k) to[k] = static_cast<std::uint8_t>(word >> (8 * k));
}

METARL_HD std::uint64_t reversed(std::uint64_t word) {  // columns 6 to 0
  std::uint64_t result = 0;
  for (int k = 0; k < 8; ++k) result |= ((word >> (8 * k)) & 0xFFu) << (8 * (7 - k));
  return result >> 8;
}

// The rows become the columns.
METARL_HD void transpose(std::uint64_t w[8]) {
  constexpr std::uint64_t kMask[3] = {0x00FF00FF00FF00FFu, 0x0000FFFF0000FFFFu, 0x00000000FFFFFFFFu};
  for (int stage = 0; stage < 3; ++stage) {
    const int apart = 1 << stage, bits = 8 << stage;
    for (int k = 0; k < 8; ++k) {
      if (k & apart) continue;
      const std::uint64_t changed = ((w[k] >> bits) ^ w[k + apart]) & kMask[stage];
      w[k] ^= changed << bits;
      w[k + apart] ^= changed;
    }
  }
}

// The grid's cells from (left, top) on, seven rows of seven; beyond the edges walls.
METARL_HD void load_window(const Params& p, const std::uint8_t* row, std::int32_t left, std::int32_t top,
                           std::uint64_t w[8]) {
  constexpr std::uint64_t kWalls = kEachByte * kGreyWall;
  const std::int32_t skip = left < 0 ? -left : 0;                                     // columns beyond the left edge
  const std::int32_t fill = p.width - left < kViewSize ? p.width - left : kViewSize;  // where those on the right begin
  const std::uint64_t inside = (~std::uint64_t{0} << (8 * skip)) & (~std::uint64_t{0} >> (8 * (8 - fill)));
  // The last words would end behind the row's state.
  const std::int32_t last = kHeader + p.width * p.height - 8;
  for (std::int32_t k = 0; k < kViewSize; ++k) {
    const std::int32_t y = top + k;
    const bool exists = (y >= 0) & (y < p.height);
    const std::int32_t from = kHeader + (exists ? y : 0) * p.width + left;
    const std::int32_t start = from < last ? from : last;
    const std::uint64_t word = load_word(row + start) >> (8 * (from - start));
    const std::uint64_t mask = exists ? inside : 0;
    w[k] = (word & mask) | (kWalls & ~mask);
  }
  w[7] = 0;
}

// The view's rows from the top, everything seen.
METARL_HD void load_view(const Params& p, const std::uint8_t* row, std::uint64_t view[8]) {
  const std::int32_t x = row[kAgentX], y = row[kAgentY];
  constexpr std::int32_t kFar = kViewSize - 1;
  std::uint64_t w[8];
  switch (row[kDirection]) {
    case 0:
      load_window(p, row, x, y - kViewMiddle, w);
      transpose(w);
      for (int k = 0; k < kViewSize; ++k) view[k] = w[kFar - k];
      break;
    case 1:
      load_window(p, row, x - kViewMiddle, y, w);
      for (int k = 0; k < kViewSize; ++k) view[k] = reversed(w[kFar - k]);
      break;
    case 2:
      load_window(p, row, x - kFar, y - kViewMiddle, w);
      transpose(w);
      for (int k = 0; k < kViewSize; ++k) view[k] = reversed(w[k]);
      break;
    default:
      load_window(p, row, x - kViewMiddle, y - kFar, view);
  }
}

// The highest bit of each byte, as bits 0 to 7.
METARL_HD std::uint32_t high_bits(std::uint64_t word) {
  return static_cast<std::uint32_t>((((word >> 7) & kEachByte) * 0x0102040810204080u) >> 56);
}

// A byte of ones for each of the bits 0 to 7.
METARL_HD std::uint64_t bytes_of(std::uint32_t bits) {
  const std::uint64_t spread = (bits * kEachByte) & 0x8040201008040201u;
  return (((spread + 0x7F * kEachByte) >> 7) & kEachByte) * 0xFF;
}

// Bits that light gets to from `lit` through neighbours that are `clear`, to higher columns.
METARL_HD std::uint32_t spread_up(std::uint32_t lit, std::uint32_t clear) {
  std::uint32_t way = clear << 1;
  lit |= way & (lit << 1);
  way &= way << 1;
  lit |= way & (lit << 2);
  way &= way << 2;
  return lit | (way & (lit << 4));
}
METARL_HD std::uint32_t spread_down(std::uint32_t lit, std::uint32_t clear) {
  std::uint32_t way = clear >> 1;
  lit |= way & (lit >> 1);
  way &= way >> 1;
  lit |= way & (lit >> 2);
  way &= way >> 2;
  return lit | (way & (lit >> 4));
}

constexpr std::uint32_t kColumns = (1u << kViewSize) - 1;

// Which columns of a row one can see through.
METARL_HD std::uint32_t clear_columns(std::uint64_t row) { return ~high_bits(row) & kColumns; }

struct Light {
  std::uint32_t seen;  // columns of this row
  std::uint32_t next;  // columns of the row beyond that light gets to from here
};

// Light spreads along a row to the right and then to the left, through what is clear, and from there to the next row's
// neighbours on that side.
METARL_HD Light light(std::uint32_t lit, std::uint32_t clear) {
  constexpr std::uint32_t kNotLast = kColumns >> 1, kNotFirst = kColumns & ~1u;
  const std::uint32_t right = spread_up(lit, clear & kNotLast) & kColumns;
  const std::uint32_t from_left = right & clear & kNotLast;
  const std::uint32_t both = spread_down(right, clear & kNotFirst);
  const std::uint32_t from_right = both & clear & kNotFirst;
  return {both, from_left | from_left << 1 | from_right | from_right >> 1};
}

// MiniGrid's three numbers of a cell: object, colour, state; zeros for one that is not seen, which is 0. Without
// branches or tables, so that many cells go side by side.
METARL_HD void write_numbers(Cell c, std::uint8_t* numbers) {
  constexpr std::uint32_t kDoorObject = 4;
  const std::uint32_t kind = kind_of(c);
  const std::uint32_t shut = (std::uint32_t{c} >> 7) & (std::uint32_t{c} >> 3) & 1u;  // a door: walls lack bit 3
  const std::uint32_t locked = shut & (kind >> 2);
  numbers[0] = static_cast<std::uint8_t>(shut ? kDoorObject : kind);
  numbers[1] = colour_of(c);
  numbers[2] = static_cast<std::uint8_t>(shut + locked);
}

constexpr std::int64_t kViewCells = kViewSize * kViewSize;
constexpr std::int64_t kBehindCells = 8 - kViewSize;  // bytes that columns_of writes too many

// The view's cells column by column, as MiniGrid's image has them; the agent's own cell shows what it carries.
METARL_HD void columns_of(std::uint64_t view[8], Cell carried, Cell* cells) {
  constexpr int kShift = 8 * kViewMiddle;
  std::uint64_t& agents = view[kViewSize - 1];
  agents = (agents & ~(std::uint64_t{0xFF} << kShift)) | std::uint64_t{carried} << kShift;
  view[kViewSize] = 0;
  transpose(view);
  for (int x = 0; x < kViewSize; ++x) store_word(view[x], cells + kViewSize * x);
}

METARL_HD void observe(const Params& p, const std::uint8_t* row, std::uint8_t* image) {
  std::uint64_t view[8];
  load_view(p, row, view);
  std::uint32_t lit = p.see_through_walls ? 0 : 1u << kViewMiddle;
  for (std::int32_t y = kViewSize - 1; y >= 0 && lit != 0; --y) {
    const Light l = light(lit, clear_columns(view[y]));
    view[y] &= bytes_of(l.seen);
    lit = l.next;
    if (lit == 0) std::memset(view, 0, sizeof(view[0]) * static_cast<std::size_t>(y));
  }
  Cell cells[kViewCells + kBehindCells];
  columns_of(view, row[kCarrying], cells);
  for (std::int64_t k = 0; k < kViewCells; ++k) write_numbers(cells[k], image + 3 * k);
}

}  // namespace metarl::minigrid
