// METARL_CUDA_ENVIRONMENTS(Model, ...): kernels for GPUs, in both precisions, of models that METARL_ENVIRONMENTS names;
// once a library, at global scope of the .cu file of metarl_add_environment(... CUDA file.cu). Installed as
// metarl/cuda/environments.h; docs/custom-environments.md explains it.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <string_view>

#if defined(__CUDACC__)
#include "define_env_kernels.h"
#endif  // else the tests have included what stands for it on their emulator
#include "env_library.h"
#include "metarl/env/environment.h"

namespace metarl::METARL_ISA_NS {
namespace {

template <template <class> class Environment, class Real>
constexpr auto kernels_name() {
  constexpr std::string_view id = Environment<Real>::kId;
  constexpr std::string_view precision = sizeof(Real) == sizeof(float) ? "/float32" : "/float64";
  std::array<char, id.size() + precision.size() + 1> name{};
  std::copy(precision.begin(), precision.end(), std::copy(id.begin(), id.end(), name.begin()));
  return name;
}
template <template <class> class Environment, class Real>
constexpr auto kKernelsName = kernels_name<Environment, Real>();

template <template <class> class Environment, class Real>
cuda::EnvKernels library_kernels() {
  return cuda::env_kernels_of<EnvironmentRows<Environment, Real>>(kKernelsName<Environment, Real>.data(),
                                                                  &cuda::kLibraryRuntime);
}

template <template <class> class... Environments>
const cuda::EnvKernelLibrary* kernel_library() {
  static const cuda::EnvKernels kernels[] = {library_kernels<Environments, double>()...,
                                             library_kernels<Environments, float>()...};
  static const cuda::EnvKernelLibrary library{cuda::kEnvKernelsVersion,
                                              sizeof(cuda::EnvCall),
                                              sizeof(cuda::EnvStatus),
                                              sizeof(cuda::EnvKernels),
                                              static_cast<std::uint32_t>(std::size(kernels)),
                                              kernels};
  return &library;
}

}  // namespace
}  // namespace metarl::METARL_ISA_NS

#define METARL_CUDA_ENVIRONMENTS(...)                                                                              \
  extern "C" __attribute__((visibility("default"))) const metarl::cuda::EnvKernelLibrary* metarl_cuda_env_library( \
      void);                                                                                                       \
  extern "C" const metarl::cuda::EnvKernelLibrary* metarl_cuda_env_library(void) {                                 \
    return metarl::METARL_ISA_NS::kernel_library<__VA_ARGS__>();                                                   \
  }
