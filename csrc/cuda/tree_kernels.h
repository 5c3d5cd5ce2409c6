// The device tree's operations on a stream. Host code of the CUDA build; no call allocates, waits or reads back.
#pragma once

#include <cuda_runtime_api.h>

#include "cuda/plans.h"

namespace metarl::cuda {

// The error of the launches, for the caller to raise; what is wrong with the data shows in TreeState::error later.
cudaError_t launch_set(const SetCall<double>& call, cudaStream_t stream);
cudaError_t launch_set(const SetCall<float>& call, cudaStream_t stream);
cudaError_t launch_sample(const SampleCall& call, cudaStream_t stream);
cudaError_t launch_find(const FindCall& call, cudaStream_t stream);
cudaError_t launch_get(const GetCall& call, cudaStream_t stream);

// Loads every kernel onto the current device: the driver may not do so while a stream records a graph.
cudaError_t load_tree_kernels();

}  // namespace metarl::cuda
