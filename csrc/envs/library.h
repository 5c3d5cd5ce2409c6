// What a shared library that holds environments tells of them: plain C structures, installed as metarl/env/library.h.
//
// A library exports, for every instruction-set level it was compiled for,
//   extern "C" const metarl::env::LibraryInfo* metarl_env_library_LEVEL(void);   // baseline (always), avx2, avx512
// and metarl/env/environment.h writes it. The core reads abi_version and the three sizes first, and nothing more where
// they are not its own: kAbiVersion rises with every change to these structures, to EnvBatch or to what a kernel must
// do. All that is pointed to lives as long as the process: a library that was loaded is never unloaded.
#pragma once

#include <cstddef>
#include <cstdint>

#include "metarl/env_batch.h"

namespace metarl::env {

constexpr std::uint32_t kAbiVersion = 2;

// A number that make_vec takes by name and that may differ between the rows of a batch.
struct ParameterInfo {
  const char* name;
  const char* doc;
  double default_value;
  double low;  // -infinity: no bound
  double high;
  std::uint32_t low_is_excluded;
};

// The kernels for one type of the fields; they are called from any thread, several at a time on different rows.
struct KernelInfo {
  std::size_t params_size;
  std::size_t params_alignment;
  void (*fill_params)(const double* values, void* params);  // from the parameters' values, in their order
  void (*step)(const EnvBatch& batch, std::int64_t begin, std::int64_t end);
  void (*reset)(const EnvBatch& batch, const std::uint8_t* mask, std::int64_t begin, std::int64_t end);
  bool (*valid_state)(const void* params, const double* fields);
};

struct EnvironmentInfo {
  const char* id;
  const char* source;
  const char* state;
  const char* observation;
  const char* action;
  const char* reward;
  const char* ending;
  std::uint32_t max_episode_steps;  // 0: no limit
  std::uint32_t num_fields;
  const char* const* field_names;
  std::uint32_t num_parameters;
  const ParameterInfo* parameters;
  std::uint32_t num_actions;  // in [1, 256]; 0: one float in [action_low, action_high]
  float action_low;
  float action_high;
  std::uint32_t obs_size;  // float32 numbers
  const float* obs_low;    // obs_size of them; null: no bounds
  const float* obs_high;
  double nanoseconds_per_row;  // rough cost of a step, decides on threads
  KernelInfo float64;
  KernelInfo float32;
};

struct LibraryInfo {
  std::uint32_t abi_version;
  std::uint32_t batch_size;        // sizeof(EnvBatch)
  std::uint32_t environment_size;  // sizeof(EnvironmentInfo)
  std::uint32_t parameter_size;    // sizeof(ParameterInfo)
  std::uint32_t num_environments;
  const EnvironmentInfo* environments;
};

}  // namespace metarl::env
