// Random numbers that a task is generated from: those of its seed, or without one those of the episode. Included by
// kernel files only.
#pragma once

#include <cstdint>

#include "envs/driver.h"

namespace metarl {

// No row has this stream: a seed shares no numbers with the episodes of an environment that has the same seed.
constexpr std::uint32_t kTaskStream = 0xFFFFFFFFu;

struct TaskSource {
  std::uint64_t seed;
  std::uint32_t stream;
  std::uint32_t episode;
};

// task_seed: an integer; a new task every episode if it is negative.
METARL_HD TaskSource task_source(const EnvBatch& b, std::int64_t row, double task_seed) {
  if (task_seed >= 0) return {static_cast<std::uint64_t>(task_seed), kTaskStream, 0};
  return {b.seed[row], b.stream[row], b.episode[row]};
}

METARL_HD PhiloxBlock generate(const TaskSource& source, std::uint32_t block) {
  return philox(source.seed, source.stream, source.episode, kTagEnvGenerate + 256 * block);
}

// An integer in [0, count), from 32 random bits.
METARL_HD std::int32_t index_below(std::uint32_t word, std::int32_t count) {
  return static_cast<std::int32_t>(std::uint64_t{word} * static_cast<std::uint32_t>(count) >> 32);
}

// The parameters of one row: those of its task, or everyone's.
template <class Model>
METARL_HD typename Model::TaskParams task_of(const EnvBatch& b, const typename Model::Params& p, std::int64_t row) {
  if (b.task_values == nullptr) return p.own;
  return Model::row_params(p, static_cast<const TaskReal<Model>*>(b.task_values), b.stride, row);
}

}  // namespace metarl
