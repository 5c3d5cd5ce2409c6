// What the links of a slot mean. Internal to the core; see metarl/streams.h.
#pragma once

#include <cstdint>

namespace metarl::links {

// A next link: two bits of kind, 30 bits of value.
constexpr std::uint32_t kValueMask = (1u << 30) - 1;
constexpr std::uint32_t kKindMask = ~kValueMask;
constexpr std::uint32_t kNext = 0u << 30;    // value: the slot of the next transition
constexpr std::uint32_t kTail = 1u << 30;    // the chain ends; value: the hidden slot with its last observation
constexpr std::uint32_t kNewest = 2u << 30;  // newest transition of an open chain; value: its stream
constexpr std::uint32_t kEnd = 3u << 30;     // the chain ends
// A previous link: a slot, or this.
constexpr std::uint32_t kNoPrevious = 0xFFFFFFFFu;

inline std::uint32_t kind(std::uint32_t link) { return link & kKindMask; }
inline std::int64_t value(std::uint32_t link) { return static_cast<std::int64_t>(link & kValueMask); }
inline std::uint32_t make(std::uint32_t kind, std::int64_t value) { return kind | static_cast<std::uint32_t>(value); }

}  // namespace metarl::links
