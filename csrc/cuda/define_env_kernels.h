// The kernels of environments and what launches them, as nvcc compiles both. Installed as
// metarl/cuda/define_env_kernels.h, which environments.h includes.
#pragma once

#include <cuda_runtime_api.h>

#include "env_bodies.h"
#include "env_library.h"

namespace metarl::cuda {
namespace {

template <class Rows>
__global__ void __launch_bounds__(kEnvThreads) reset_kernel(const __grid_constant__ EnvCall call) {
  GpuContext ctx;
  reset_envs<Rows>(ctx, call);
}

template <class Rows>
__global__ void __launch_bounds__(kEnvThreads) step_kernel(const __grid_constant__ EnvCall call) {
  GpuContext ctx;
  step_envs<Rows>(ctx, call);
}

template <class Rows>
__global__ void __launch_bounds__(kEnvThreads) rollout_kernel(const __grid_constant__ EnvCall call) {
  GpuContext ctx;
  roll_out_envs<Rows>(ctx, call);
}

// The runtime remembers an error, which a later call would report again.
int told_once(cudaError_t error) {
  cudaGetLastError();
  return error;
}

[[maybe_unused]] int use_device(int number) { return told_once(cudaSetDevice(number)); }

int load_kernel(const void* kernel) {
  cudaFuncAttributes attributes;
  return told_once(cudaFuncGetAttributes(&attributes, kernel));
}

int launch_kernel(const void* kernel, const EnvCall& call, void* stream) {
  void* arguments[] = {const_cast<EnvCall*>(&call)};
  return told_once(cudaLaunchKernel(kernel, dim3(env_blocks(call.num_envs)), dim3(kEnvThreads), arguments, 0,
                                    static_cast<cudaStream_t>(stream)));
}

constexpr EnvRuntime kLibraryRuntime{CUDART_VERSION, use_device, load_kernel, launch_kernel};

template <class Rows>
EnvKernels env_kernels_of(const char* name, const EnvRuntime* runtime) {
  return {name, reinterpret_cast<const void*>(reset_kernel<Rows>), reinterpret_cast<const void*>(step_kernel<Rows>),
          reinterpret_cast<const void*>(rollout_kernel<Rows>), runtime};
}

}  // namespace
}  // namespace metarl::cuda
