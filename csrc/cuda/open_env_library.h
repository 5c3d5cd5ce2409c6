// The kernels of a library of environments that this process has loaded (metarl_core.load_env_library).
#pragma once

#include <string>

#include "cuda/env_library.h"

namespace metarl::cuda {

// path: of the library, as it was given to dlopen. name: EnvKernels::name. Throws std::invalid_argument that names the
// library, says what is wrong with it, and what to do. Starts no driver.
const EnvKernels& find_library_kernels(const std::string& path, const std::string& name);

}  // namespace metarl::cuda
