// Numbers in messages. Internal to the core.
#pragma once

#include <cmath>
#include <string>

namespace metarl {

// Of a number that is not finite, as Python writes it.
inline std::string text_of_infinite(float x) {
  if (std::isnan(x)) return "nan";
  return x > 0 ? "inf" : "-inf";
}

}  // namespace metarl
