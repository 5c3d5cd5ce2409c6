// METARL_HD marks arithmetic that the CPU kernels and the CUDA kernels share.
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

// METARL_HD_CALL marks what is rare on a GPU: a call there, so that the code is there once.
#if defined(__CUDACC__)
#define METARL_HD_CALL static __host__ __device__ __noinline__
#else
#define METARL_HD_CALL [[maybe_unused]] static
#endif

// METARL_HOST_DEVICE marks member functions of what the kernel files keep in unnamed namespaces: they need no more on
// the CPU, and a GPU must be able to call them, too.
#if defined(__CUDACC__)
#define METARL_HOST_DEVICE __host__ __device__
#else
#define METARL_HOST_DEVICE
#endif

// METARL_KERNEL_TEMPLATE marks templates over how memory is reached: a GPU's kernels call them with what is theirs
// alone.
#if defined(__CUDACC__)
#define METARL_KERNEL_TEMPLATE __device__
#else
#define METARL_KERNEL_TEMPLATE
#endif
