// The operations on a replay buffer's tasks on a stream; as tree_kernels.h.
#pragma once

#include <cuda_runtime_api.h>

#include "cuda/plans.h"

namespace metarl::cuda {

cudaError_t launch_order(const TaskOrderCall& call, cudaStream_t stream);
cudaError_t launch_refresh(const TaskRefreshCall& call, cudaStream_t stream);
cudaError_t launch_task_sample(const TaskSampleCall& call, cudaStream_t stream);

cudaError_t load_task_kernels();

}  // namespace metarl::cuda
