// Included by the .cu file of a family of environments: METARL_DEFINE_ENV_KERNELS(family, list of its rows.h).
#pragma once

#include "cuda/env_bodies.h"
#include "cuda/env_kernels.h"

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

template <class Rows>
constexpr EnvKernels env_kernels_of(const char* name) {
  return {name, reset_kernel<Rows>, step_kernel<Rows>, rollout_kernel<Rows>};
}

}  // namespace
}  // namespace metarl::cuda

#define METARL_ENV_KERNELS_OF(name, ...) metarl::cuda::env_kernels_of<__VA_ARGS__>(#name),

// Defines metarl::cuda::family_kernels(), which env_kernels.h declares for the library's own.
#define METARL_DEFINE_ENV_KERNELS(family, ROWS)                                                                     \
  namespace metarl::METARL_ISA_NS {                                                                                 \
  namespace {                                                                                                       \
  const cuda::EnvKernels kEnvKernels[] = {ROWS(METARL_ENV_KERNELS_OF)};                                             \
  }                                                                                                                 \
  }                                                                                                                 \
  namespace metarl::cuda {                                                                                          \
  EnvKernelList family##_kernels() {                                                                                \
    return {METARL_ISA_NS::kEnvKernels, static_cast<int>(sizeof(METARL_ISA_NS::kEnvKernels) / sizeof(EnvKernels))}; \
  }                                                                                                                 \
  }
