// METARL_HD marks arithmetic that the CPU kernels and (later) the CUDA kernels share.
//
// It forces inlining and internal linkage. That is needed, not only fast: the kernel files are compiled once per
// instruction-set level, and an ordinary inline function would leave one merged copy for all levels, perhaps the
// AVX-512 one, which dies on an older CPU.
#pragma once

#if defined(__CUDACC__)
#define METARL_HD static __host__ __device__ __forceinline__
#elif defined(_MSC_VER)
#define METARL_HD static __forceinline
#else
#define METARL_HD [[maybe_unused]] static inline __attribute__((always_inline))
#endif
