// What the links of a slot mean; see metarl/streams.h. Shared by the CPU's buffer and the CUDA kernels.
#pragma once

#include <cstdint>

#include "metarl/detail/hd.h"

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

METARL_HD std::uint32_t kind(std::uint32_t link) { return link & kKindMask; }
METARL_HD std::int64_t value(std::uint32_t link) { return static_cast<std::int64_t>(link & kValueMask); }
METARL_HD std::uint32_t make(std::uint32_t kind, std::int64_t value) {
  return kind | static_cast<std::uint32_t>(value);
}
// The next transition of the chain, or -1.
METARL_HD std::int64_t follow(std::uint32_t link) { return kind(link) == kNext ? value(link) : -1; }

// An n-step return takes in one reward after the other: the sum of discounted ones, and what the next one counts.
METARL_HD double add_reward(double sum, double discount, double reward) { return sum + discount * reward; }
METARL_HD double next_discount(double discount, double gamma, bool terminated) {
  return terminated ? 0.0 : discount * gamma;
}

}  // namespace metarl::links
