// What fuzz_checkpoint.cpp feeds: loaders, each with good files to start from.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

using FuzzBytes = std::vector<std::byte>;

struct FuzzTarget {
  const char* name;
  std::vector<FuzzBytes> corpus;
  std::size_t fixed_bytes;                     // a single allocation that needs no justification by the input's size
  std::function<void(const FuzzBytes&)> load;  // throws one of the checkpoint errors if the input is bad
};

std::vector<FuzzTarget> fuzz_targets();
