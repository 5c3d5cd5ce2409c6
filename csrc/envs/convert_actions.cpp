#include <cstdint>

#include "envs/kernels.h"
#include "metarl/detail/hd.h"

namespace metarl::METARL_ISA_NS {
namespace {

// A second pass looks for the culprit only when there is one, which keeps the first free of branches.
template <class T>
METARL_HD std::int64_t convert_discrete(const T* actions, int num_actions, std::uint8_t* out, std::int64_t begin,
                                        std::int64_t end) {
  T all = 0;
  bool bad = false;
  const T limit = static_cast<T>(num_actions);
  if ((num_actions & (num_actions - 1)) == 0) {
    // A power of two: the action is legal when no bit above is set.
    for (std::int64_t i = begin; i < end; ++i) {
      all = static_cast<T>(all | actions[i]);
      out[i] = static_cast<std::uint8_t>(actions[i]);
    }
    bad = (all & static_cast<T>(~(limit - 1))) != 0;
  } else {
    std::uint8_t any = 0;
    for (std::int64_t i = begin; i < end; ++i) {
      any = static_cast<std::uint8_t>(any | !((actions[i] >= T{0}) & (actions[i] < limit)));
      out[i] = static_cast<std::uint8_t>(actions[i]);
    }
    bad = any != 0;
  }
  if (!bad) return -1;
  for (std::int64_t i = begin; i < end; ++i) {
    if (!((actions[i] >= T{0}) & (actions[i] < limit))) return i;
  }
  return -1;
}

template <class T>
METARL_HD std::int64_t convert_continuous(const T* actions, float* out, std::int64_t begin, std::int64_t end) {
  float sum = 0;
  for (std::int64_t i = begin; i < end; ++i) {
    out[i] = static_cast<float>(actions[i]);
    sum += out[i] - out[i];  // 0, or NaN for NaN and infinities
  }
  if (sum == 0) return -1;
  for (std::int64_t i = begin; i < end; ++i) {
    if (!(out[i] - out[i] == 0)) return i;
  }
  return -1;
}

}  // namespace

std::int64_t convert_actions(const void* actions, ActionType type, int num_actions, void* out, std::int64_t begin,
                             std::int64_t end) {
  auto* const discrete = static_cast<std::uint8_t*>(out);
  switch (type) {
    case ActionType::int8:
      return convert_discrete(static_cast<const std::int8_t*>(actions), num_actions, discrete, begin, end);
    case ActionType::int16:
      return convert_discrete(static_cast<const std::int16_t*>(actions), num_actions, discrete, begin, end);
    case ActionType::int32:
      return convert_discrete(static_cast<const std::int32_t*>(actions), num_actions, discrete, begin, end);
    case ActionType::int64:
      return convert_discrete(static_cast<const std::int64_t*>(actions), num_actions, discrete, begin, end);
    case ActionType::uint8:
      return convert_discrete(static_cast<const std::uint8_t*>(actions), num_actions, discrete, begin, end);
    case ActionType::uint16:
      return convert_discrete(static_cast<const std::uint16_t*>(actions), num_actions, discrete, begin, end);
    case ActionType::uint32:
      return convert_discrete(static_cast<const std::uint32_t*>(actions), num_actions, discrete, begin, end);
    case ActionType::uint64:
      return convert_discrete(static_cast<const std::uint64_t*>(actions), num_actions, discrete, begin, end);
    case ActionType::float32:
      return convert_continuous(static_cast<const float*>(actions), static_cast<float*>(out), begin, end);
    case ActionType::float64:
      return convert_continuous(static_cast<const double*>(actions), static_cast<float*>(out), begin, end);
  }
  return begin;
}

}  // namespace metarl::METARL_ISA_NS
