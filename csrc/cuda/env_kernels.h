// Environments on a stream. Host code of the CUDA build; no call allocates, waits or reads back.
#pragma once

#include <cuda_runtime_api.h>

#include "cuda/device_env.h"

namespace metarl::cuda {

// The kernels of one environment.
struct EnvKernels {
  const char* name;  // EnvDefinition::kernels
  void (*reset)(EnvCall);
  void (*step)(EnvCall);
  void (*roll_out)(EnvCall);
};

// Null: there is no such name.
const EnvKernels* find_env_kernels(const char* name);

// Loads an environment's kernels onto the current device, as load_tree_kernels does: where they are PTX
// alone, the driver compiles them now, unless it has them in its cache.
cudaError_t load_env_kernels(const EnvKernels& kernels);

// The error of the launches, for the caller to raise; what is wrong with the data shows in EnvStatus::error later.
cudaError_t launch_seeds(const SeedCall& call, cudaStream_t stream);
cudaError_t launch_reset(const EnvKernels& kernels, const EnvCall& call, cudaStream_t stream);
cudaError_t launch_step(const EnvKernels& kernels, const EnvCall& call, cudaStream_t stream);
cudaError_t launch_rollout(const EnvKernels& kernels, const EnvCall& call, cudaStream_t stream);

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
