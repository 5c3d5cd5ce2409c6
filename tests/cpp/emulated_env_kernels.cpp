// The kernels of all environments on the emulator: the bodies that nvcc compiles, by the names that definitions have.
#define METARL_ONE_ROW 1

#include "emulated_env_kernels.h"

#include <stdexcept>

#include "emulated_define_env_kernels.h"
#include "envs/bsuite/rows.h"
#include "envs/classic_control/rows.h"
#include "envs/meta/rows.h"
#include "envs/minatar/rows.h"
#include "envs/minigrid/rows.h"
#include "envs/toy_text/rows.h"

namespace metarl::METARL_ISA_NS {
namespace {

#define METARL_EMULATE(name, ...) cuda::env_kernels_of<__VA_ARGS__>(#name, &cuda::kLibraryRuntime),
const cuda::EnvKernels kAll[] = {METARL_BSUITE_ROWS(METARL_EMULATE) METARL_CLASSIC_CONTROL_ROWS(METARL_EMULATE)
                                     METARL_META_ROWS(METARL_EMULATE) METARL_MINATAR_ROWS(METARL_EMULATE)
                                         METARL_MINIGRID_ROWS(METARL_EMULATE) METARL_TOY_TEXT_ROWS(METARL_EMULATE)};

}  // namespace
}  // namespace metarl::METARL_ISA_NS

namespace metarl_test {

const cuda::EnvKernels& find_emulated_kernels(const std::string& name) {
  for (const cuda::EnvKernels& kernels : metarl::METARL_ISA_NS::kAll) {
    if (name == kernels.name) return kernels;
  }
  throw std::out_of_range("no kernels are called '" + name + "'");
}

int num_emulated_kernels() { return static_cast<int>(std::size(metarl::METARL_ISA_NS::kAll)); }

void emulated_check(simt::Context& context, const cuda::EnvCall& call) { cuda::check_call(context, call); }
void emulated_tell(simt::Context& context, const cuda::EnvCall& call) { cuda::tell_call(context, call); }
void emulated_finish(simt::Context& context, const cuda::EnvCall& call) { cuda::finish_call(context, call); }
void emulated_seed(simt::Context& context, const cuda::SeedCall& call) { cuda::seed_rows(context, call); }

}  // namespace metarl_test
