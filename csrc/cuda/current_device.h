// Makes a GPU the thread's current one for a while, as the runtime's calls have no argument for it.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <array>
#include <atomic>
#include <stdexcept>
#include <string>

namespace metarl::cuda {

constexpr int kMostDevices = 64;

[[noreturn]] inline void fail(const char* call, cudaError_t error) {
  throw std::runtime_error(std::string(call) + " failed: " + cudaGetErrorString(error) + " (CUDA error " +
                           std::to_string(static_cast<int>(error)) + ")");
}

inline void check(const char* call, cudaError_t error) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // or the next call reports it again
  fail(call, error);
}

// What only the driver can say and do: which context is the thread's current one, that of another library, or none. To
// go back to the device that cudaGetDevice names would make a context there, and take its memory, where the process
// uses another GPU alone.
struct DriverCalls {
  CUresult (*get_current)(CUcontext*);
  CUresult (*set_current)(CUcontext);

  // Throws std::runtime_error.
  static const DriverCalls& get() {
    static const DriverCalls calls{find<CUresult (*)(CUcontext*)>("cuCtxGetCurrent"),
                                   find<CUresult (*)(CUcontext)>("cuCtxSetCurrent")};
    return calls;
  }

 private:
  template <typename Function>
  static Function find(const char* name) {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult result{};
#if CUDART_VERSION >= 12050
    check(name, cudaGetDriverEntryPointByVersion(name, &function, 12000, cudaEnableDefault, &result));
#else
    check(name, cudaGetDriverEntryPoint(name, &function, cudaEnableDefault, &result));
#endif
    if (result != cudaDriverEntryPointSuccess) throw std::runtime_error(std::string("the driver has no ") + name);
    return reinterpret_cast<Function>(function);
  }
};

class CurrentDevice {
 public:
  // Throws std::runtime_error.
  explicit CurrentDevice(int number) {
    driver_.get_current(&before_);
    std::atomic<CUcontext>& context = contexts_[static_cast<std::size_t>(number)];
    const CUcontext known = context.load(std::memory_order_relaxed);
    if (known != nullptr && known == before_ && of_runtime_ == number) return;
    check("cudaSetDevice", cudaSetDevice(number));
    of_runtime_ = number;
    changed_ = true;
    CUcontext now = nullptr;
    if (driver_.get_current(&now) == CUDA_SUCCESS) context.store(now, std::memory_order_relaxed);
  }
  ~CurrentDevice() {
    if (changed_) driver_.set_current(before_);
  }
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;

 private:
  // The runtime's context of each device, once it was current.
  static inline std::array<std::atomic<CUcontext>, kMostDevices> contexts_{};

  // The runtime is linked into this module, so nobody else sets what it takes for this thread's device.
  static inline thread_local int of_runtime_ = -1;

  const DriverCalls& driver_ = DriverCalls::get();
  CUcontext before_ = nullptr;
  bool changed_ = false;
};

}  // namespace metarl::cuda
