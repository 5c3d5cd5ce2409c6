// Entry points around kernel bodies, and their launches: what the .cu files share. nvcc alone includes it.
#pragma once

#include <cuda_runtime_api.h>

#include "cuda/plans.h"

namespace metarl::cuda {

template <Kernel kKernel, typename Call>
__global__ void __launch_bounds__(most_threads(kKernel)) set_kernel(const __grid_constant__ Call call) {
  __shared__ SetShared shared;
  GpuContext ctx;
  run_set(kKernel, ctx, call, &shared);
}

template <typename Call>
cudaError_t start(void (*kernel)(Call), const Launch& launch, const Call& call, cudaStream_t stream) {
  kernel<<<static_cast<unsigned>(launch.num_blocks), static_cast<unsigned>(launch.block_threads), 0, stream>>>(call);
  return cudaGetLastError();
}

template <typename Call>
cudaError_t start_set(const Launch& launch, const Call& call, cudaStream_t stream) {
  switch (launch.kernel) {
    case Kernel::set_in_one_block:
      return start(set_kernel<Kernel::set_in_one_block, Call>, launch, call, stream);
    case Kernel::check_items:
      return start(set_kernel<Kernel::check_items, Call>, launch, call, stream);
    case Kernel::fit_masses:
      return start(set_kernel<Kernel::fit_masses, Call>, launch, call, stream);
    case Kernel::apply_items:
      return start(set_kernel<Kernel::apply_items, Call>, launch, call, stream);
    case Kernel::settle_extremes:
      return start(set_kernel<Kernel::settle_extremes, Call>, launch, call, stream);
    case Kernel::raise_masses:
      return start(set_kernel<Kernel::raise_masses, Call>, launch, call, stream);
    default:
      return start(set_kernel<Kernel::finish_set, Call>, launch, call, stream);
  }
}

template <typename Start>
cudaError_t run_plan(const Plan& plan, Start start_one) {
  for (int i = 0; i < plan.count; ++i) {
    const cudaError_t error = start_one(plan.launches[i]);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

template <typename Call>
cudaError_t load(void (*kernel)(Call)) {
  cudaFuncAttributes attributes;
  return cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(kernel));
}

template <typename Call>
cudaError_t load_set_kernels() {
  for (auto kernel : {set_kernel<Kernel::set_in_one_block, Call>, set_kernel<Kernel::check_items, Call>,
                      set_kernel<Kernel::fit_masses, Call>, set_kernel<Kernel::apply_items, Call>,
                      set_kernel<Kernel::settle_extremes, Call>, set_kernel<Kernel::raise_masses, Call>,
                      set_kernel<Kernel::finish_set, Call>}) {
    const cudaError_t error = load(kernel);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace metarl::cuda
