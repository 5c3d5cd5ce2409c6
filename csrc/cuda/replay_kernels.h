// The replay buffer's operations on a stream, and weights of given probabilities; as tree_kernels.h.
#pragma once

#include <cuda_runtime_api.h>

#include "cuda/plans.h"

namespace metarl::cuda {

cudaError_t launch_priorities(const PriorityCall& call, cudaStream_t stream);
cudaError_t launch_copy(const CopyCall& call, cudaStream_t stream);
cudaError_t launch_weights(const WeightCall& call, cudaStream_t stream);

cudaError_t load_replay_kernels();

}  // namespace metarl::cuda
