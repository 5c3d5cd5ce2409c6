// CRC-32C (Castagnoli polynomial, RFC 3720 appendix B.4), the checksum of checkpoint files. Internal to the core.
#pragma once

#include <cstddef>
#include <cstdint>

#include "metarl/isa.h"

namespace metarl {

// Continues a register over n bytes, without the inversions at both ends. The same at every instruction-set level.
METARL_DECLARE_KERNEL(std::uint32_t crc32c_register, (std::uint32_t state, const std::byte* data, std::size_t n))

// Checksum of n bytes that follow bytes of checksum `before` (0 at the start).
inline std::uint32_t crc32c(const std::byte* data, std::size_t n, std::uint32_t before = 0) {
  return ~METARL_SELECT_KERNEL(crc32c_register)(~before, data, n);
}

}  // namespace metarl
