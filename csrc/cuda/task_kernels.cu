// The kernels that keep the slots of replay buffers by task and draw from tasks.
#include "cuda/kernel_launch.h"
#include "cuda/task_kernels.h"

namespace metarl::cuda {
namespace {

__global__ void __launch_bounds__(most_threads(Kernel::order_tasks))
    order_kernel(const __grid_constant__ TaskOrderCall call) {
  __shared__ TaskShared shared;
  GpuContext ctx;
  order_tasks(ctx, call, &shared);
}

template <Kernel kKernel>
__global__ void __launch_bounds__(most_threads(kKernel)) refresh_kernel(const __grid_constant__ TaskRefreshCall call) {
  __shared__ SetShared shared;
  GpuContext ctx;
  run_refresh(kKernel, ctx, call, &shared);
}

template <Kernel kKernel>
__global__ void __launch_bounds__(most_threads(kKernel)) draw_kernel(const __grid_constant__ TaskSampleCall call) {
  __shared__ TaskSampleShared shared;
  GpuContext ctx;
  run_task_sample(kKernel, ctx, call, &shared);
}

cudaError_t start_refresh(const Launch& launch, const TaskRefreshCall& call, cudaStream_t stream) {
  switch (launch.kernel) {
    case Kernel::refresh_in_one_block:
      return start(refresh_kernel<Kernel::refresh_in_one_block>, launch, call, stream);
    case Kernel::clear_places:
      return start(refresh_kernel<Kernel::clear_places>, launch, call, stream);
    case Kernel::fill_places:
      return start(refresh_kernel<Kernel::fill_places>, launch, call, stream);
    case Kernel::refresh_masses:
      return start(refresh_kernel<Kernel::refresh_masses>, launch, call, stream);
    default:
      return start(refresh_kernel<Kernel::settle_masses>, launch, call, stream);
  }
}

cudaError_t start_draw(const Launch& launch, const TaskSampleCall& call, cudaStream_t stream) {
  switch (launch.kernel) {
    case Kernel::draw_in_one_block:
      return start(draw_kernel<Kernel::draw_in_one_block>, launch, call, stream);
    case Kernel::share_draws:
      return start(draw_kernel<Kernel::share_draws>, launch, call, stream);
    case Kernel::measure_shares:
      return start(draw_kernel<Kernel::measure_shares>, launch, call, stream);
    case Kernel::draw_from_tasks:
      return start(draw_kernel<Kernel::draw_from_tasks>, launch, call, stream);
    case Kernel::weigh_drawn:
      return start(draw_kernel<Kernel::weigh_drawn>, launch, call, stream);
    case Kernel::sum_drawn:
      return start(draw_kernel<Kernel::sum_drawn>, launch, call, stream);
    case Kernel::divide_drawn:
      return start(draw_kernel<Kernel::divide_drawn>, launch, call, stream);
    default:
      return start(draw_kernel<Kernel::finish_drawn>, launch, call, stream);
  }
}

}  // namespace

cudaError_t launch_order(const TaskOrderCall& call, cudaStream_t stream) {
  return run_plan(plan_order(call), [&](const Launch& launch) { return start(order_kernel, launch, call, stream); });
}

cudaError_t launch_refresh(const TaskRefreshCall& call, cudaStream_t stream) {
  return run_plan(plan_refresh(call), [&](const Launch& launch) { return start_refresh(launch, call, stream); });
}

cudaError_t launch_task_sample(const TaskSampleCall& call, cudaStream_t stream) {
  return run_plan(plan_task_sample(call), [&](const Launch& launch) { return start_draw(launch, call, stream); });
}

cudaError_t load_task_kernels() {
  cudaError_t error = load(order_kernel);
  for (auto kernel : {refresh_kernel<Kernel::refresh_in_one_block>, refresh_kernel<Kernel::clear_places>,
                      refresh_kernel<Kernel::fill_places>, refresh_kernel<Kernel::refresh_masses>,
                      refresh_kernel<Kernel::settle_masses>}) {
    if (error == cudaSuccess) error = load(kernel);
  }
  for (auto kernel :
       {draw_kernel<Kernel::draw_in_one_block>, draw_kernel<Kernel::share_draws>, draw_kernel<Kernel::measure_shares>,
        draw_kernel<Kernel::draw_from_tasks>, draw_kernel<Kernel::weigh_drawn>, draw_kernel<Kernel::sum_drawn>,
        draw_kernel<Kernel::divide_drawn>, draw_kernel<Kernel::finish_drawn>}) {
    if (error == cudaSuccess) error = load(kernel);
  }
  return error;
}

}  // namespace metarl::cuda
