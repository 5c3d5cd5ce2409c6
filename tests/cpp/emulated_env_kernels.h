// The environments' kernels on the emulator.
#pragma once

#include <string>

#include "cuda/env_library.h"
#include "simt/emulator.h"

namespace metarl_test {

namespace cuda = metarl::cuda;

// Throws std::out_of_range for a name that is not there.
const cuda::EnvKernels& find_emulated_kernels(const std::string& name);
int num_emulated_kernels();
void emulated_check(simt::Context& context, const cuda::EnvCall& call);
void emulated_tell(simt::Context& context, const cuda::EnvCall& call);
void emulated_finish(simt::Context& context, const cuda::EnvCall& call);
void emulated_seed(simt::Context& context, const cuda::SeedCall& call);

}  // namespace metarl_test
