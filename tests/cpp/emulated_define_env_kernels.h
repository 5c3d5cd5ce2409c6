// Stands for cuda/define_env_kernels.h where the same bodies run on the emulator. A stream is its device there.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cuda/env_bodies.h"
#include "cuda/env_library.h"
#include "simt/emulator.h"

namespace metarl::cuda {
namespace {

using EmulatedBody = void (*)(simt::Context&, const EnvCall&);

int load_emulated(const void*) { return 0; }

int launch_emulated(const void* kernel, const EnvCall& call, void* stream) {
  constexpr std::int64_t kThreads = 8;  // several blocks of few rows
  const auto blocks = static_cast<int>(std::min<std::int64_t>((call.num_envs + kThreads - 1) / kThreads, 16));
  const auto body = reinterpret_cast<EmulatedBody>(const_cast<void*>(kernel));
  static_cast<simt::Device*>(stream)->launch<char>("environments", blocks, kThreads,
                                                   [&](simt::Context& context, char*) { body(context, call); });
  return 0;
}

constexpr EnvRuntime kLibraryRuntime{0, nullptr, load_emulated, launch_emulated};

const void* address(EmulatedBody body) { return reinterpret_cast<const void*>(body); }

template <class Rows>
EnvKernels env_kernels_of(const char* name, const EnvRuntime* runtime) {
  return {name, address(reset_envs<Rows, simt::Context>), address(step_envs<Rows, simt::Context>),
          address(roll_out_envs<Rows, simt::Context>), runtime};
}

}  // namespace
}  // namespace metarl::cuda
