// The environments' kernels on the emulator.
#pragma once

#include <string>

#include "cuda/device_env.h"
#include "simt/emulator.h"

namespace metarl_test {

namespace cuda = metarl::cuda;

// The bodies of one environment's kernels.
struct EmulatedKernels {
  const char* name;
  void (*reset)(simt::Context&, const cuda::EnvCall&);
  void (*step)(simt::Context&, const cuda::EnvCall&);
  void (*roll_out)(simt::Context&, const cuda::EnvCall&);
};
// Throws std::out_of_range for a name that is not there.
const EmulatedKernels& find_emulated_kernels(const std::string& name);
int num_emulated_kernels();
void emulated_check(simt::Context& context, const cuda::EnvCall& call);
void emulated_tell(simt::Context& context, const cuda::EnvCall& call);
void emulated_finish(simt::Context& context, const cuda::EnvCall& call);
void emulated_seed(simt::Context& context, const cuda::SeedCall& call);

}  // namespace metarl_test
