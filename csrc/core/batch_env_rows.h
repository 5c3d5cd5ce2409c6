// What the files of BatchEnv share: its guard against a second caller, and how the rows are split between threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <stdexcept>

#include "metarl/batch_env.h"

namespace metarl {

// Rows of different threads do not share cache lines, not even in the byte arrays.
constexpr std::int64_t kRowsPerLine = 64;
// Below this much work a thread costs more than it gives.
constexpr double kNanosecondsPerThread = 20000;
constexpr double kNanosecondsPerPoll = 20e6;

inline std::size_t field_bytes(FieldType type) {
  return type == FieldType::float64 ? 8 : type == FieldType::uint8 ? 1 : 4;
}

template <class Function>
void with_field_type(FieldType type, void* data, const Function& function) {
  switch (type) {
    case FieldType::float32:
      return function(static_cast<float*>(data));
    case FieldType::float64:
      return function(static_cast<double*>(data));
    case FieldType::int32:
      return function(static_cast<std::int32_t*>(data));
    case FieldType::uint8:
      return function(static_cast<std::uint8_t*>(data));
  }
}

class BatchEnv::InUse {
 public:
  explicit InUse(std::atomic<bool>& flag) : flag_(flag) {
    if (flag_.exchange(true, std::memory_order_acquire)) {
      throw std::runtime_error("this environment is in use by another thread; one caller at a time");
    }
  }
  ~InUse() { flag_.store(false, std::memory_order_release); }
  InUse(const InUse&) = delete;
  InUse& operator=(const InUse&) = delete;

 private:
  std::atomic<bool>& flag_;
};

// steps: how many of them function takes in every row.
template <class Function>
void BatchEnv::for_rows(std::int64_t begin, std::int64_t end, const Function& function, std::int64_t steps) {
  const std::int64_t rows = end - begin;
  const double work = static_cast<double>(rows) * static_cast<double>(steps) * definition_.nanoseconds_per_row;
  const int parts = std::min({pool_.num_threads(), static_cast<int>(std::min(work / kNanosecondsPerThread, 1e6)),
                              static_cast<int>(std::min<std::int64_t>(rows / kRowsPerLine, 1 << 20))});
  if (parts <= 1) {
    function(begin, end);
    return;
  }
  const std::int64_t lines = (rows + kRowsPerLine - 1) / kRowsPerLine;
  auto task = [&](int part) {
    const std::int64_t from = begin + lines * part / parts * kRowsPerLine;
    function(from, std::min(begin + lines * (part + 1) / parts * kRowsPerLine, end));
  };
  pool_.run(parts, task);
}

}  // namespace metarl
