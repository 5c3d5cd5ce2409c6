// Numbers as little-endian bytes, whatever the machine's own order. Internal to the core.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace metarl {

template <typename T>
void store_little_endian(std::byte* to, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) to[i] = static_cast<std::byte>((value >> (8 * i)) & 0xFF);
}

template <typename T>
T load_little_endian(const std::byte* from) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) value |= static_cast<T>(from[i]) << (8 * i);
  return value;
}

template <typename T>
void append_little_endian(std::vector<std::byte>& to, T value) {
  to.resize(to.size() + sizeof(T));
  store_little_endian(to.data() + to.size() - sizeof(T), value);
}

}  // namespace metarl
