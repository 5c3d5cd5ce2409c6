#include "metarl/isa.h"

#include <cstdlib>
#include <cstring>
#if defined(METARL_HAVE_X86_LEVELS)
#include <cpuid.h>
#endif

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

#if defined(METARL_HAVE_X86_LEVELS)
// Asked of the processor, not of __builtin_cpu_supports: what stands behind that is the compiler's runtime library, and
// that of zig, which builds wheels for older systems, knows no feature.
Isa supported_by_cpu() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return Isa::baseline;
  constexpr unsigned kOsSavesState = 1u << 27, kAvx = 1u << 28;
  if ((ecx & kOsSavesState) == 0 || (ecx & kAvx) == 0) return Isa::baseline;
  // XGETBV: which registers the operating system saves.
  unsigned saved = 0, high = 0;
  __asm__("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
  constexpr unsigned kYmm = 0x6, kZmm = 0xe6;
  if ((saved & kYmm) != kYmm) return Isa::baseline;

  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return Isa::baseline;
  constexpr unsigned kBmi = 1u << 3, kAvx2 = 1u << 5, kBmi2 = 1u << 8;
  constexpr unsigned kAvx512f = 1u << 16, kAvx512dq = 1u << 17, kAvx512cd = 1u << 28, kAvx512bw = 1u << 30,
                     kAvx512vl = 1u << 31;
  const unsigned features = ebx;
  const auto has = [features](unsigned all) { return (features & all) == all; };
  if (!has(kAvx2 | kBmi | kBmi2)) return Isa::baseline;
  constexpr unsigned kLzcnt = 1u << 5;
  if (!__get_cpuid(0x80000001, &eax, &ebx, &ecx, &edx) || (ecx & kLzcnt) == 0) return Isa::baseline;
  const bool wide = (saved & kZmm) == kZmm && has(kAvx512f | kAvx512dq | kAvx512cd | kAvx512bw | kAvx512vl);
  return wide ? Isa::avx512 : Isa::avx2;
}
#else
Isa supported_by_cpu() { return Isa::baseline; }
#endif

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
