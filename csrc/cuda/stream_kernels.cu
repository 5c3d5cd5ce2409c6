// The kernels of replay buffers that link transitions.
#include "cuda/kernel_launch.h"
#include "cuda/stream_kernels.h"

namespace metarl::cuda {
namespace {

template <Kernel kKernel>
__global__ void __launch_bounds__(most_threads(kKernel)) rows_kernel(const __grid_constant__ StreamCall call) {
  GpuContext ctx;
  if constexpr (kKernel == Kernel::plan_rows) {
    __shared__ RowsShared shared;
    plan_rows(ctx, call, &shared);
  } else {
    run_rows(kKernel, ctx, call, nullptr);
  }
}

__global__ void __launch_bounds__(most_threads(Kernel::follow_returns))
    returns_kernel(const __grid_constant__ ReturnCall call) {
  GpuContext ctx;
  follow_returns(ctx, call);
}

__global__ void __launch_bounds__(most_threads(Kernel::follow_sequences))
    sequences_kernel(const __grid_constant__ SequenceCall call) {
  GpuContext ctx;
  follow_sequences(ctx, call);
}

__global__ void __launch_bounds__(most_threads(Kernel::assemble_rows))
    assemble_kernel(const __grid_constant__ AssembleCall call) {
  GpuContext ctx;
  assemble_rows(ctx, call);
}

cudaError_t start_rows(const Launch& launch, const StreamCall& call, cudaStream_t stream) {
  switch (launch.kernel) {
    case Kernel::check_tasks:
      return start(rows_kernel<Kernel::check_tasks>, launch, call, stream);
    case Kernel::check_stacks:
      return start(rows_kernel<Kernel::check_stacks>, launch, call, stream);
    case Kernel::note_rows:
      return start(rows_kernel<Kernel::note_rows>, launch, call, stream);
    case Kernel::plan_rows:
      return start(rows_kernel<Kernel::plan_rows>, launch, call, stream);
    default:
      return start(rows_kernel<Kernel::write_frames>, launch, call, stream);
  }
}

}  // namespace

cudaError_t launch_rows(const StreamCall& call, cudaStream_t stream) {
  return run_plan(plan_rows_of(call), [&](const Launch& launch) { return start_rows(launch, call, stream); });
}

cudaError_t launch_returns(const ReturnCall& call, cudaStream_t stream) {
  return run_plan(plan_returns(call),
                  [&](const Launch& launch) { return start(returns_kernel, launch, call, stream); });
}

cudaError_t launch_sequences(const SequenceCall& call, cudaStream_t stream) {
  return run_plan(plan_sequences(call),
                  [&](const Launch& launch) { return start(sequences_kernel, launch, call, stream); });
}

cudaError_t launch_assembly(const AssembleCall& call, cudaStream_t stream) {
  return run_plan(plan_assembly(call),
                  [&](const Launch& launch) { return start(assemble_kernel, launch, call, stream); });
}

cudaError_t load_stream_kernels() {
  for (auto kernel :
       {rows_kernel<Kernel::check_tasks>, rows_kernel<Kernel::check_stacks>, rows_kernel<Kernel::note_rows>,
        rows_kernel<Kernel::plan_rows>, rows_kernel<Kernel::write_frames>}) {
    const cudaError_t error = load(kernel);
    if (error != cudaSuccess) return error;
  }
  cudaError_t error = load(returns_kernel);
  if (error == cudaSuccess) error = load(sequences_kernel);
  return error == cudaSuccess ? load(assemble_kernel) : error;
}

}  // namespace metarl::cuda
