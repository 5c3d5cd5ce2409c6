// The fixed parts of a checkpoint file (docs/checkpoint-format.md). Internal to the core.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace metarl::checkpoint {

static_assert(std::endian::native == std::endian::little, "sections are written as they lie in memory");

// The prologue: magic, version, flags (0), header_bytes, file_bytes, CRC of the header with its padding, CRC of these
// 36 bytes. It will stay the same in later versions.
constexpr unsigned char kMagic[8] = {0x89, 'M', 'E', 'T', 'A', 'R', 'L', '\n'};
constexpr std::size_t kPrologueBytes = 40;
constexpr std::size_t kVersionAt = 8;
constexpr std::size_t kFlagsAt = 12;
constexpr std::size_t kHeaderBytesAt = 16;
constexpr std::size_t kFileBytesAt = 24;
constexpr std::size_t kHeaderChecksumAt = 32;
constexpr std::size_t kPrologueChecksumAt = 36;

// Sections start at multiples of this; the padding is zero.
constexpr std::uint64_t kAlignment = 64;
constexpr std::uint64_t padded(std::uint64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }
constexpr std::uint64_t footer_bytes(std::uint64_t num_sections) { return 4 * (num_sections + 1); }

// Data move, and are summed while they are in the cache, in pieces of this size.
constexpr std::size_t kPiece = std::size_t{256} << 10;

}  // namespace metarl::checkpoint
