// Environments on a stream. Host code of the CUDA build; no call allocates, waits or reads back.
#pragma once

#include <cuda_runtime_api.h>

#include "cuda/env_library.h"

namespace metarl::cuda {

// Of the package's own environments. Null: there is no such name.
const EnvKernels* find_env_kernels(const char* name);

// Loads an environment's kernels, and those that all share, onto the current device, which is `device`.
cudaError_t load_env_kernels(const EnvKernels& kernels, int device);

// The error of the launches, for the caller to raise; what is wrong with the data shows in EnvStatus::error later.
// `device` is the current one.
cudaError_t launch_seeds(const SeedCall& call, cudaStream_t stream);
cudaError_t launch_reset(const EnvKernels& kernels, const EnvCall& call, int device, cudaStream_t stream);
cudaError_t launch_step(const EnvKernels& kernels, const EnvCall& call, int device, cudaStream_t stream);
cudaError_t launch_rollout(const EnvKernels& kernels, const EnvCall& call, int device, cudaStream_t stream);

struct EnvKernelList {
  const EnvKernels* kernels;
  int count;
};
EnvKernelList bsuite_kernels();
EnvKernelList classic_control_kernels();
EnvKernelList meta_kernels();
EnvKernelList minatar_kernels();
EnvKernelList minigrid_kernels();
EnvKernelList toy_text_kernels();

}  // namespace metarl::cuda
