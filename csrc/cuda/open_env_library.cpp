#include "cuda/open_env_library.h"

#include <dlfcn.h>

#include <stdexcept>

namespace metarl::cuda {
namespace {

// Two builds that disagree on these would misread each other: raise kEnvKernelsVersion with any change.
static_assert(kEnvKernelsVersion != 1 || sizeof(void*) != 8 ||
                  (sizeof(EnvCall) == 432 && sizeof(EnvStatus) == 72 && sizeof(EnvBatch) == 224),
              "EnvCall has changed: raise kEnvKernelsVersion in cuda/env_library.h, then this line");

constexpr std::uint32_t kMostKernels = 4096;  // more is a damaged description

[[noreturn]] void fail(const std::string& path, const std::string& what) {
  throw std::invalid_argument(path + " " + what);
}

const EnvKernelLibrary& kernels_of_library(const std::string& path) {
  // It is loaded by now. Its path may be another file's meanwhile, which is none of this process's.
  void* const handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
  if (handle == nullptr) fail(path, "is not loaded; metarl_core.load_env_library loads it");
  using Entry = const EnvKernelLibrary* (*)();
  const auto entry = reinterpret_cast<Entry>(dlsym(handle, "metarl_cuda_env_library"));
  if (entry == nullptr) {
    fail(path,
         "has no kernels for GPUs; build it with metarl_add_environment(... CUDA file.cu) where nvcc is found, or use "
         "device='cpu'");
  }
  const EnvKernelLibrary* const library = entry();
  if (library == nullptr) fail(path, "has a function metarl_cuda_env_library() that returns null");
  if (library->version != kEnvKernelsVersion) {
    fail(path, "has kernels for version " + std::to_string(library->version) +
                   " of the interface for GPUs; this metarl_core has version " + std::to_string(kEnvKernelsVersion) +
                   ": build it again");
  }
  if (library->call_size != sizeof(EnvCall) || library->status_size != sizeof(EnvStatus) ||
      library->kernels_size != sizeof(EnvKernels)) {
    fail(path,
         "has kernels that lay out structures otherwise than this metarl_core: build it again, with the installed "
         "headers");
  }
  if (library->num_kernels > kMostKernels || (library->num_kernels > 0 && library->kernels == nullptr)) {
    fail(path, "describes its kernels for GPUs wrongly: there are said to be " + std::to_string(library->num_kernels) +
                   ": build it again");
  }
  return *library;
}

bool is_complete(const EnvKernels& k) {
  return k.name != nullptr && k.reset != nullptr && k.step != nullptr && k.roll_out != nullptr &&
         k.runtime != nullptr && k.runtime->load != nullptr && k.runtime->launch != nullptr;
}

}  // namespace

const EnvKernels& find_library_kernels(const std::string& path, const std::string& name) {
  const EnvKernelLibrary& library = kernels_of_library(path);
  for (std::uint32_t k = 0; k < library.num_kernels; ++k) {
    const EnvKernels& kernels = library.kernels[k];
    if (!is_complete(kernels))
      fail(path, "lacks a function among its kernels for GPUs, number " + std::to_string(k) + ": build it again");
    if (name == kernels.name) return kernels;
  }
  fail(path, "has kernels for GPUs, but none called '" + name +
                 "'; name the model in METARL_CUDA_ENVIRONMENTS, or use device='cpu'");
}

}  // namespace metarl::cuda
