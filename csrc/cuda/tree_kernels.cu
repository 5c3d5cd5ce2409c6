// The kernels of the device tree: one entry a phase, around the bodies that the emulator's tests run.
#include "cuda/kernel_launch.h"
#include "cuda/tree_kernels.h"

namespace metarl::cuda {
namespace {

template <Kernel kKernel>
__global__ void __launch_bounds__(most_threads(kKernel)) sample_kernel(const __grid_constant__ SampleCall call) {
  __shared__ SampleShared shared;
  GpuContext ctx;
  run_sample(kKernel, ctx, call, &shared);
}

template <Kernel kKernel>
__global__ void __launch_bounds__(most_threads(kKernel)) find_kernel(const __grid_constant__ FindCall call) {
  GpuContext ctx;
  run_find(kKernel, ctx, call);
}

template <Kernel kKernel>
__global__ void __launch_bounds__(most_threads(kKernel)) get_kernel(const __grid_constant__ GetCall call) {
  GpuContext ctx;
  run_get(kKernel, ctx, call);
}

cudaError_t start_sample(const Launch& launch, const SampleCall& call, cudaStream_t stream) {
  switch (launch.kernel) {
    case Kernel::sample_in_one_block:
      return start(sample_kernel<Kernel::sample_in_one_block>, launch, call, stream);
    case Kernel::draw_items:
      return start(sample_kernel<Kernel::draw_items>, launch, call, stream);
    case Kernel::weigh_items:
      return start(sample_kernel<Kernel::weigh_items>, launch, call, stream);
    case Kernel::sum_weights:
      return start(sample_kernel<Kernel::sum_weights>, launch, call, stream);
    case Kernel::divide_weights:
      return start(sample_kernel<Kernel::divide_weights>, launch, call, stream);
    default:
      return start(sample_kernel<Kernel::finish_sample>, launch, call, stream);
  }
}

}  // namespace

cudaError_t launch_set(const SetCall<double>& call, cudaStream_t stream) {
  return run_plan(plan_set(call.tree, call.n), [&](const Launch& launch) { return start_set(launch, call, stream); });
}

cudaError_t launch_set(const SetCall<float>& call, cudaStream_t stream) {
  return run_plan(plan_set(call.tree, call.n), [&](const Launch& launch) { return start_set(launch, call, stream); });
}

cudaError_t launch_sample(const SampleCall& call, cudaStream_t stream) {
  return run_plan(plan_sample(call), [&](const Launch& launch) { return start_sample(launch, call, stream); });
}

cudaError_t launch_find(const FindCall& call, cudaStream_t stream) {
  return run_plan(plan_find(call.n), [&](const Launch& launch) {
    return launch.kernel == Kernel::find_items ? start(find_kernel<Kernel::find_items>, launch, call, stream)
                                               : start(find_kernel<Kernel::finish_find>, launch, call, stream);
  });
}

cudaError_t launch_get(const GetCall& call, cudaStream_t stream) {
  return run_plan(plan_get(call.n), [&](const Launch& launch) {
    return launch.kernel == Kernel::get_items ? start(get_kernel<Kernel::get_items>, launch, call, stream)
                                              : start(get_kernel<Kernel::finish_get>, launch, call, stream);
  });
}

cudaError_t load_tree_kernels() {
  cudaError_t error = load_set_kernels<SetCall<double>>();
  if (error == cudaSuccess) error = load_set_kernels<SetCall<float>>();
  for (auto kernel : {sample_kernel<Kernel::sample_in_one_block>, sample_kernel<Kernel::draw_items>,
                      sample_kernel<Kernel::weigh_items>, sample_kernel<Kernel::sum_weights>,
                      sample_kernel<Kernel::divide_weights>, sample_kernel<Kernel::finish_sample>}) {
    if (error == cudaSuccess) error = load(kernel);
  }
  for (auto kernel : {find_kernel<Kernel::find_items>, find_kernel<Kernel::finish_find>}) {
    if (error == cudaSuccess) error = load(kernel);
  }
  for (auto kernel : {get_kernel<Kernel::get_items>, get_kernel<Kernel::finish_get>}) {
    if (error == cudaSuccess) error = load(kernel);
  }
  return error;
}

}  // namespace metarl::cuda
