// The kernels of the device tree: one entry a phase, around the bodies that the emulator's tests run.
#include "cuda/tree_kernels.h"

namespace metarl::cuda {
namespace {

template <Kernel kKernel, typename Priority>
__global__ void __launch_bounds__(most_threads(kKernel)) set_kernel(const __grid_constant__ SetCall<Priority> call) {
  __shared__ SetShared shared;
  GpuContext ctx;
  run_set(kKernel, ctx, call, &shared);
}

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

template <typename Call>
cudaError_t start(void (*kernel)(Call), const Launch& launch, const Call& call, cudaStream_t stream) {
  kernel<<<static_cast<unsigned>(launch.num_blocks), static_cast<unsigned>(launch.block_threads), 0, stream>>>(call);
  return cudaGetLastError();
}

template <typename Priority>
cudaError_t start_set(const Launch& launch, const SetCall<Priority>& call, cudaStream_t stream) {
  switch (launch.kernel) {
    case Kernel::set_in_one_block:
      return start(set_kernel<Kernel::set_in_one_block, Priority>, launch, call, stream);
    case Kernel::check_items:
      return start(set_kernel<Kernel::check_items, Priority>, launch, call, stream);
    case Kernel::fit_masses:
      return start(set_kernel<Kernel::fit_masses, Priority>, launch, call, stream);
    case Kernel::apply_items:
      return start(set_kernel<Kernel::apply_items, Priority>, launch, call, stream);
    case Kernel::settle_extremes:
      return start(set_kernel<Kernel::settle_extremes, Priority>, launch, call, stream);
    case Kernel::raise_masses:
      return start(set_kernel<Kernel::raise_masses, Priority>, launch, call, stream);
    default:
      return start(set_kernel<Kernel::finish_set, Priority>, launch, call, stream);
  }
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

template <typename Start>
cudaError_t run_plan(const Plan& plan, Start start_one) {
  for (int i = 0; i < plan.count; ++i) {
    const cudaError_t error = start_one(plan.launches[i]);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
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

namespace {

template <typename Call>
cudaError_t load(void (*kernel)(Call)) {
  cudaFuncAttributes attributes;
  return cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(kernel));
}

template <typename Priority>
cudaError_t load_set_kernels() {
  for (auto kernel : {set_kernel<Kernel::set_in_one_block, Priority>, set_kernel<Kernel::check_items, Priority>,
                      set_kernel<Kernel::fit_masses, Priority>, set_kernel<Kernel::apply_items, Priority>,
                      set_kernel<Kernel::settle_extremes, Priority>, set_kernel<Kernel::raise_masses, Priority>,
                      set_kernel<Kernel::finish_set, Priority>}) {
    const cudaError_t error = load(kernel);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace

cudaError_t load_kernels() {
  cudaError_t error = load_set_kernels<double>();
  if (error == cudaSuccess) error = load_set_kernels<float>();
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
