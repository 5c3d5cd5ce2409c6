#include "metarl/isa.h"

#include <cstdlib>
#include <cstring>

namespace metarl {

const char* isa_name(Isa level) noexcept {
  switch (level) {
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
    case Isa::baseline:
      break;
  }
  return "baseline";
}

std::vector<Isa> compiled_isa_levels() {
#if defined(METARL_HAVE_X86_LEVELS)
  return {Isa::baseline, Isa::avx2, Isa::avx512};
#else
  return {Isa::baseline};
#endif
}

namespace {

Isa supported_by_cpu() {
#if defined(METARL_HAVE_X86_LEVELS)
  // The builtins also ask the operating system (XGETBV) whether it saves the wide registers.
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512cd");
  if (avx512) return Isa::avx512;
  if (avx2) return Isa::avx2;
#endif
  return Isa::baseline;
}

Isa decide() {
  const Isa supported = supported_by_cpu();
  const char* cap = std::getenv("METARL_ISA");
  if (cap == nullptr || *cap == '\0') return supported;
  for (const Isa level : {Isa::baseline, Isa::avx2, Isa::avx512}) {
    if (std::strcmp(cap, isa_name(level)) == 0) return level < supported ? level : supported;
  }
  throw std::invalid_argument("METARL_ISA is '" + std::string(cap) + "'; must be baseline, avx2 or avx512");
}

}  // namespace

Isa active_isa() {
  static const Isa level = decide();
  return level;
}

}  // namespace metarl
