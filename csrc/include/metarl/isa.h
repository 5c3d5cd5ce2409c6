// Instruction-set levels of the hot loops, chosen once per process.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

namespace metarl {

enum class Isa { baseline = 0, avx2 = 1, avx512 = 2 };

const char* isa_name(Isa level) noexcept;

// Levels compiled into this library, lowest first.
std::vector<Isa> compiled_isa_levels();

// The level in use: the highest that is compiled in, that the CPU and operating system support, and that the
// environment variable METARL_ISA (baseline, avx2 or avx512) allows. Decided at the first call.
// Throws std::invalid_argument if METARL_ISA holds anything else.
Isa active_isa();

}  // namespace metarl

// Declares a kernel once per level and selects it by active_isa(). In a header:
//     METARL_DECLARE_KERNEL(void scale, (float* x, long n, float a))
// in the kernel file, inside namespace metarl::METARL_ISA_NS, the definition; at the call site:
//     METARL_SELECT_KERNEL(scale)(x, n, 2.0f);
#if defined(METARL_HAVE_X86_LEVELS)
#define METARL_DECLARE_KERNEL(result_and_name, args) \
  namespace baseline {                               \
  result_and_name args;                              \
  }                                                  \
  namespace avx2 {                                   \
  result_and_name args;                              \
  }                                                  \
  namespace avx512 {                                 \
  result_and_name args;                              \
  }
#define METARL_SELECT_KERNEL(name)                                          \
  (::metarl::active_isa() == ::metarl::Isa::avx512 ? ::metarl::avx512::name \
   : ::metarl::active_isa() == ::metarl::Isa::avx2 ? ::metarl::avx2::name   \
                                                   : ::metarl::baseline::name)
#else
#define METARL_DECLARE_KERNEL(result_and_name, args) \
  namespace baseline {                               \
  result_and_name args;                              \
  }
#define METARL_SELECT_KERNEL(name) (::metarl::baseline::name)
#endif
