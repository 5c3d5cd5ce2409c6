// Kernels of environments as whoever has them hands them out: plain C structures, installed as
// metarl/cuda/env_library.h. Those of the package have the same form as those of a library of one's own.
//
// A library with kernels exports
//   extern "C" const metarl::cuda::EnvKernelLibrary* metarl_cuda_env_library(void);
// and metarl/cuda/environments.h writes it. Its version and sizes are read first, and nothing more where they are not
// the reader's own: kEnvKernelsVersion rises with every change to these structures, to EnvCall, EnvStatus or EnvBatch,
// or to what a kernel must do. All that is pointed to lives as long as the process.
#pragma once

#include <cstdint>

#include "device_env.h"

namespace metarl::cuda {

constexpr std::uint32_t kEnvKernelsVersion = 1;

// CUDA's runtime as it is linked into whoever has the kernels: it alone can launch them. Results are a cudaError_t, 0:
// all is well.
struct EnvRuntime {
  std::uint32_t version;  // CUDART_VERSION: 13000 is CUDA 13.0
  // Makes a device this thread's current one, for this runtime. Null: it is the reader's runtime, where it is already.
  int (*use_device)(int number);
  // Loads a kernel onto the current device. If it is PTX alone, the driver compiles it now, unless it has it in its
  // cache.
  int (*load)(const void* kernel);
  // Launches a kernel with a thread for each row, on a cudaStream_t. It neither allocates nor waits.
  int (*launch)(const void* kernel, const EnvCall& call, void* stream);
};

// The kernels of one environment, which nobody but their runtime can make anything of.
struct EnvKernels {
  const char* name;  // EnvDefinition::kernels; of a library "WindyLander-v0/float32"
  const void* reset;
  const void* step;
  const void* roll_out;
  const EnvRuntime* runtime;
};

struct EnvKernelLibrary {
  std::uint32_t version;       // kEnvKernelsVersion
  std::uint32_t call_size;     // sizeof(EnvCall)
  std::uint32_t status_size;   // sizeof(EnvStatus)
  std::uint32_t kernels_size;  // sizeof(EnvKernels)
  std::uint32_t num_kernels;
  const EnvKernels* kernels;
};

}  // namespace metarl::cuda
