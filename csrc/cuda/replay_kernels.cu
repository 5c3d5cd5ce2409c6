// The kernels of the replay buffer besides those of its tree, and the one of weights of given probabilities.
#include "cuda/kernel_launch.h"
#include "cuda/replay_kernels.h"

namespace metarl::cuda {
namespace {

__global__ void __launch_bounds__(most_threads(Kernel::copy_rows)) copy_kernel(const __grid_constant__ CopyCall call) {
  GpuContext ctx;
  copy_rows(ctx, call);
}

__global__ void __launch_bounds__(most_threads(Kernel::weigh_probabilities))
    weight_kernel(const __grid_constant__ WeightCall call) {
  __shared__ WeightShared shared;
  GpuContext ctx;
  weigh_probabilities(ctx, call, &shared);
}

}  // namespace

cudaError_t launch_priorities(const PriorityCall& call, cudaStream_t stream) {
  return run_plan(plan_set(call.tree, call.n), [&](const Launch& launch) { return start_set(launch, call, stream); });
}

cudaError_t launch_copy(const CopyCall& call, cudaStream_t stream) {
  return run_plan(plan_copy(call), [&](const Launch& launch) { return start(copy_kernel, launch, call, stream); });
}

cudaError_t launch_weights(const WeightCall& call, cudaStream_t stream) {
  return run_plan(plan_weights(call), [&](const Launch& launch) { return start(weight_kernel, launch, call, stream); });
}

cudaError_t load_replay_kernels() {
  cudaError_t error = load_set_kernels<PriorityCall>();
  if (error == cudaSuccess) error = load(copy_kernel);
  if (error == cudaSuccess) error = load(weight_kernel);
  return error;
}

}  // namespace metarl::cuda
