// A kernel's view of its thread on a GPU; tests/cpp/simt/emulator.h is the same without one. Kernel bodies are
// templates over it, and touch device memory, other lanes and other threads through it alone.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define METARL_KERNEL __device__ __forceinline__
// What is rare or large: a call, so that the code is there once.
#define METARL_KERNEL_CALL static __device__ __noinline__
#else
#define METARL_KERNEL inline
#define METARL_KERNEL_CALL [[maybe_unused]] static
#endif

namespace metarl::cuda {

constexpr int kWarp = 32;
constexpr std::uint32_t kAllLanes = 0xFFFFFFFFu;

#if defined(__CUDACC__)

template <typename T, int N>
struct Vector {
  T values[N];
  __device__ const T& operator[](int i) const { return values[i]; }
};

class GpuContext {
 public:
  __device__ int thread() const { return static_cast<int>(threadIdx.x); }
  __device__ int block() const { return static_cast<int>(blockIdx.x); }
  __device__ int block_threads() const { return static_cast<int>(blockDim.x); }
  __device__ int num_blocks() const { return static_cast<int>(gridDim.x); }
  __device__ int lane() const { return thread() % kWarp; }

  __device__ void sync() { __syncthreads(); }
  template <typename T>
  __device__ T shuffle(std::uint32_t mask, T value, int source) {
    return __shfl_sync(mask, value, source);
  }
  template <typename T>
  __device__ T shuffle_xor(std::uint32_t mask, T value, int lanes) {
    return __shfl_xor_sync(mask, value, lanes);
  }
  template <typename T>
  __device__ T shuffle_up(std::uint32_t mask, T value, int delta, int width) {
    return __shfl_up_sync(mask, value, static_cast<unsigned>(delta), width);
  }
  __device__ std::uint32_t ballot(std::uint32_t mask, bool predicate) { return __ballot_sync(mask, predicate); }

  template <typename T>
  __device__ T load(const T* from) {
    return *from;
  }
  // A load that may race with atomics of other threads.
  template <typename T>
  __device__ T peek(const T* from) {
    return *const_cast<const volatile T*>(from);
  }
  // N neighbours at an address aligned to 16 bytes, in one instruction.
  template <int N, typename T>
  __device__ Vector<T, N> load_vector(const T* from) {
    static_assert(N * sizeof(T) == 16);
    Vector<T, N> out;
    const uint4 words = *reinterpret_cast<const uint4*>(from);
    memcpy(&out, &words, 16);
    return out;
  }
  template <typename T, typename U>
  __device__ void store(T* to, U value) {
    *to = value;
  }
  template <int N, typename T>
  __device__ void store_vector(T* to, const Vector<T, N>& values) {
    static_assert(N * sizeof(T) == 16);
    uint4 words;
    memcpy(&words, &values, 16);
    *reinterpret_cast<uint4*>(to) = words;
  }
  __device__ void atomic_add(std::uint64_t* at, std::uint64_t value) { atomicAdd(word(at), value); }
  __device__ void atomic_add(std::uint32_t* at, std::uint32_t value) { atomicAdd(at, value); }
  __device__ void atomic_max(std::uint64_t* at, std::uint64_t value) { atomicMax(word(at), value); }
  __device__ void atomic_max(std::uint32_t* at, std::uint32_t value) { atomicMax(at, value); }
  __device__ std::uint32_t atomic_or(std::uint32_t* at, std::uint32_t value) { return atomicOr(at, value); }
  __device__ std::uint32_t atomic_exchange(std::uint32_t* at, std::uint32_t value) { return atomicExch(at, value); }

 private:
  // CUDA's atomics take unsigned long long, which is not the type behind uint64_t on Linux.
  static __device__ unsigned long long* word(std::uint64_t* at) { return reinterpret_cast<unsigned long long*>(at); }
};

#endif

// Threads of the whole grid, and this one's number among them.
template <typename Context>
METARL_KERNEL std::int64_t grid_threads(Context& ctx) {
  return std::int64_t{ctx.num_blocks()} * ctx.block_threads();
}
template <typename Context>
METARL_KERNEL std::int64_t grid_thread(Context& ctx) {
  return std::int64_t{ctx.block()} * ctx.block_threads() + ctx.thread();
}

// The largest value of a warp, in all of its lanes.
template <typename Context, typename T>
METARL_KERNEL T warp_max(Context& ctx, T value) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const T other = ctx.shuffle_xor(kAllLanes, value, step);
    value = other > value ? other : value;
  }
  return value;
}

}  // namespace metarl::cuda
