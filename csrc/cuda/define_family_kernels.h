// Included by the .cu file of a family of environments: METARL_DEFINE_ENV_KERNELS(family, list of its rows.h).
#pragma once

#include "cuda/define_env_kernels.h"
#include "cuda/env_kernels.h"

namespace metarl::cuda {
namespace {

// The kernels are linked with the runtime that all else here uses.
constexpr EnvRuntime kOwnRuntime{CUDART_VERSION, nullptr, load_kernel, launch_kernel};

}  // namespace
}  // namespace metarl::cuda

#define METARL_ENV_KERNELS_OF(name, ...) metarl::cuda::env_kernels_of<__VA_ARGS__>(#name, &metarl::cuda::kOwnRuntime),

// Defines metarl::cuda::family_kernels(), which env_kernels.h declares.
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
