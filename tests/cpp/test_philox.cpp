#include "check.h"
#include "metarl/detail/philox.h"

using metarl::philox4x32;
using metarl::PhiloxBlock;

namespace {
bool equal(const PhiloxBlock& b, std::uint32_t v0, std::uint32_t v1, std::uint32_t v2, std::uint32_t v3) {
  return b.v[0] == v0 && b.v[1] == v1 && b.v[2] == v2 && b.v[3] == v3;
}
}  // namespace

// The known-answer vectors published with Random123 for philox4x32-10.
TEST(philox_known_answers) {
  CHECK(equal(philox4x32(0, 0, 0, 0, 0), 0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u));
  CHECK(equal(philox4x32(0xffffffffffffffffull, 0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu), 0x408f276du,
              0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu));
  CHECK(equal(philox4x32(0x299f31d0a4093822ull, 0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u), 0xd16cfe09u,
              0x94fdccebu, 0x5001e420u, 0x24126ea1u));
}

TEST(uniform53_stays_below_one) {
  CHECK(metarl::uniform53(0, 0) == 0.0);
  CHECK(metarl::uniform53(0xffffffffu, 0xffffffffu) < 1.0);
}

METARL_TEST_MAIN()
