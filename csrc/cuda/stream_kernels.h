// What links transitions, on a stream; as replay_kernels.h.
#pragma once

#include <cuda_runtime_api.h>

#include "cuda/plans.h"

namespace metarl::cuda {

cudaError_t launch_rows(const StreamCall& call, cudaStream_t stream);
cudaError_t launch_returns(const ReturnCall& call, cudaStream_t stream);
cudaError_t launch_sequences(const SequenceCall& call, cudaStream_t stream);
cudaError_t launch_assembly(const AssembleCall& call, cudaStream_t stream);

cudaError_t load_stream_kernels();

}  // namespace metarl::cuda
