// What is the same for all environments: checks, seeds, and which launches a call is.
#include <cstring>

#include "cuda/env_bodies.h"
#include "cuda/env_kernels.h"

namespace metarl::cuda {
namespace {

__global__ void __launch_bounds__(kEnvThreads) check_kernel(const __grid_constant__ EnvCall call) {
  GpuContext ctx;
  check_call(ctx, call);
}

__global__ void __launch_bounds__(kEnvThreads) tell_kernel(const __grid_constant__ EnvCall call) {
  GpuContext ctx;
  tell_call(ctx, call);
}

__global__ void __launch_bounds__(1) finish_kernel(const __grid_constant__ EnvCall call) {
  GpuContext ctx;
  finish_call(ctx, call);
}

__global__ void __launch_bounds__(kEnvThreads) seed_kernel(const __grid_constant__ SeedCall call) {
  GpuContext ctx;
  seed_rows(ctx, call);
}

template <class Call>
cudaError_t start(void (*kernel)(Call), std::int64_t items, const Call& call, cudaStream_t stream) {
  kernel<<<env_blocks(items), kEnvThreads, 0, stream>>>(call);
  return cudaGetLastError();
}

cudaError_t tell(const EnvCall& call, cudaStream_t stream) {
  const std::int64_t rows = told_rows(call);
  return rows == 0 ? cudaSuccess : start(tell_kernel, rows, call, stream);
}

// The device is this thread's current one, but maybe not for the runtime of the kernels.
cudaError_t use_device(const EnvRuntime& runtime, int device) {
  return runtime.use_device == nullptr ? cudaSuccess : static_cast<cudaError_t>(runtime.use_device(device));
}

cudaError_t start_rows(const EnvKernels& kernels, const void* kernel, const EnvCall& call, int device,
                       cudaStream_t stream) {
  const cudaError_t error = use_device(*kernels.runtime, device);
  return error != cudaSuccess ? error : static_cast<cudaError_t>(kernels.runtime->launch(kernel, call, stream));
}

// Checks, runs, tells and finishes.
cudaError_t run(const EnvKernels& kernels, const void* kernel, const EnvCall& call, int device, cudaStream_t stream) {
  cudaError_t error = start(check_kernel, call.num_envs, call, stream);
  if (error == cudaSuccess) error = start_rows(kernels, kernel, call, device, stream);
  if (error == cudaSuccess) error = tell(call, stream);
  if (error != cudaSuccess) return error;
  finish_kernel<<<1, 1, 0, stream>>>(call);
  return cudaGetLastError();
}

}  // namespace

const EnvKernels* find_env_kernels(const char* name) {
  for (const EnvKernelList list : {bsuite_kernels(), classic_control_kernels(), meta_kernels(), minatar_kernels(),
                                   minigrid_kernels(), toy_text_kernels()}) {
    for (int k = 0; k < list.count; ++k) {
      if (std::strcmp(list.kernels[k].name, name) == 0) return list.kernels + k;
    }
  }
  return nullptr;
}

cudaError_t load_env_kernels(const EnvKernels& kernels, int device) {
  for (const void* kernel :
       {reinterpret_cast<const void*>(check_kernel), reinterpret_cast<const void*>(tell_kernel),
        reinterpret_cast<const void*>(finish_kernel), reinterpret_cast<const void*>(seed_kernel)}) {
    cudaFuncAttributes attributes;
    const cudaError_t error = cudaFuncGetAttributes(&attributes, kernel);
    if (error != cudaSuccess) return error;
  }
  cudaError_t error = use_device(*kernels.runtime, device);
  for (const void* kernel : {kernels.reset, kernels.step, kernels.roll_out}) {
    if (error == cudaSuccess) error = static_cast<cudaError_t>(kernels.runtime->load(kernel));
  }
  return error;
}

cudaError_t launch_seeds(const SeedCall& call, cudaStream_t stream) {
  return call.count == 0 ? cudaSuccess : start(seed_kernel, call.count, call, stream);
}

cudaError_t launch_reset(const EnvKernels& kernels, const EnvCall& call, int device, cudaStream_t stream) {
  const cudaError_t error = start_rows(kernels, kernels.reset, call, device, stream);
  return error == cudaSuccess ? tell(call, stream) : error;
}

cudaError_t launch_step(const EnvKernels& kernels, const EnvCall& call, int device, cudaStream_t stream) {
  return run(kernels, kernels.step, call, device, stream);
}

cudaError_t launch_rollout(const EnvKernels& kernels, const EnvCall& call, int device, cudaStream_t stream) {
  return run(kernels, kernels.roll_out, call, device, stream);
}

}  // namespace metarl::cuda
