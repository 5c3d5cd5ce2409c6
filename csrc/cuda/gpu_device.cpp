// A GPU, through CUDA's runtime.
#include <cuda_runtime_api.h>

#include <array>
#include <memory>
#include <mutex>
#include <stdexcept>

#include "cuda/current_device.h"
#include "cuda/device.h"
#include "cuda/env_kernels.h"
#include "cuda/replay_kernels.h"
#include "cuda/stream_kernels.h"
#include "cuda/task_kernels.h"
#include "cuda/tree_kernels.h"
#include "metarl/errors.h"

namespace metarl::cuda {
namespace {

cudaStream_t handle(Stream stream) { return reinterpret_cast<cudaStream_t>(stream); }

std::string version_text(int v) { return std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10); }

std::string mebibytes(std::size_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

class GpuDevice : public Device {
 public:
  explicit GpuDevice(int number) : number_(number) {
    const CurrentDevice current(number_);
    cudaError_t error = load_tree_kernels();
    if (error == cudaSuccess) error = load_replay_kernels();
    if (error == cudaSuccess) error = load_stream_kernels();
    if (error == cudaSuccess) error = load_task_kernels();
    check_loaded(error);
  }

  const EnvKernels* find_env(const std::string& name) override { return find_env_kernels(name.c_str()); }
  void load_env(const EnvKernels& kernels, const std::string& library) override {
    const CurrentDevice current(number_);
    const cudaError_t error = load_env_kernels(kernels, number_);
    if (error == cudaErrorInsufficientDriver && !library.empty()) {
      throw std::runtime_error(
          library + " was built with CUDA " + version_text(static_cast<int>(kernels.runtime->version)) +
          ", which the driver does not support; update the driver, or build it with an older nvcc");
    }
    check_loaded(error, library);
  }

  std::string name() const override { return "cuda:" + std::to_string(number_); }
  int number() const override { return number_; }
  int memory_type() const override { return kCudaMemory; }
  bool can_use(int memory_type, int number) const override {
    return (memory_type == kCudaMemory && number == number_) || memory_type == kCudaManagedMemory;
  }

  MemoryPlace place_of(const void* memory) override {
    const CurrentDevice current(number_);
    cudaPointerAttributes attributes{};
    check("cudaPointerGetAttributes", cudaPointerGetAttributes(&attributes, memory));
    if (attributes.type == cudaMemoryTypeDevice) return {kCudaMemory, attributes.device};
    if (attributes.type == cudaMemoryTypeManaged) return {kCudaManagedMemory, attributes.device};
    return {kHostMemory, 0};
  }

  void* allocate(std::size_t bytes, const std::string& purpose) override {
    const CurrentDevice current(number_);
    void* memory = nullptr;
    const cudaError_t error = cudaMalloc(&memory, bytes);
    if (error == cudaSuccess) return memory;
    cudaGetLastError();
    if (error != cudaErrorMemoryAllocation) fail("cudaMalloc", error);
    std::size_t free_bytes = 0, all_bytes = 0;
    std::string room;
    if (cudaMemGetInfo(&free_bytes, &all_bytes) == cudaSuccess) {
      room = "; " + mebibytes(free_bytes) + " of " + mebibytes(all_bytes) + " are free";
    }
    throw OutOfMemoryError("cannot allocate " + std::to_string(bytes) + " bytes on " + name() + " for " + purpose +
                           room);
  }
  // At exit the driver may be gone already: nothing to be done about an error.
  void release(void* memory) noexcept override {
    try {
      const CurrentDevice current(number_);
      cudaFree(memory);
    } catch (const std::exception&) {
    }
    cudaGetLastError();
  }
  void fill_with_zeros(void* memory, std::size_t bytes) override {
    const CurrentDevice current(number_);
    check("cudaMemset", cudaMemset(memory, 0, bytes));
    check("cudaStreamSynchronize", cudaStreamSynchronize(handle(kLegacyStream)));
  }
  void read(void* to, const void* from, std::size_t bytes, Stream stream) override {
    copy(to, from, bytes, cudaMemcpyDeviceToHost, stream);
  }
  void write(void* to, const void* from, std::size_t bytes, Stream stream) override {
    copy(to, from, bytes, cudaMemcpyHostToDevice, stream);
  }

  bool is_capturing(Stream stream) override {
    const CurrentDevice current(number_);
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    check("cudaStreamIsCapturing", cudaStreamIsCapturing(handle(stream), &status));
    return status != cudaStreamCaptureStatusNone;
  }
  void* make_event() override {
    const CurrentDevice current(number_);
    cudaEvent_t event = nullptr;
    check("cudaEventCreate", cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    return event;
  }
  void release_event(void* event) noexcept override {
    try {
      const CurrentDevice current(number_);
      cudaEventDestroy(static_cast<cudaEvent_t>(event));
    } catch (const std::exception&) {
    }
    cudaGetLastError();
  }
  void record(void* event, Stream stream) override {
    const CurrentDevice current(number_);
    check("cudaEventRecord", cudaEventRecord(static_cast<cudaEvent_t>(event), handle(stream)));
  }
  void wait(void* event, Stream stream) override {
    const CurrentDevice current(number_);
    check("cudaStreamWaitEvent", cudaStreamWaitEvent(handle(stream), static_cast<cudaEvent_t>(event), 0));
  }
  bool is_done(void* event) override {
    const CurrentDevice current(number_);
    const cudaError_t error = cudaEventQuery(static_cast<cudaEvent_t>(event));
    if (error != cudaErrorNotReady) check("cudaEventQuery", error);
    if (error == cudaErrorNotReady) cudaGetLastError();
    return error == cudaSuccess;
  }
  void finish(void* event) override {
    const CurrentDevice current(number_);
    check("cudaEventSynchronize", cudaEventSynchronize(static_cast<cudaEvent_t>(event)));
  }

  void start(const SetCall<double>& call, Stream stream) override { launch("set", launch_set, call, stream); }
  void start(const SetCall<float>& call, Stream stream) override { launch("set", launch_set, call, stream); }
  void start(const SampleCall& call, Stream stream) override { launch("sample", launch_sample, call, stream); }
  void start(const FindCall& call, Stream stream) override { launch("find", launch_find, call, stream); }
  void start(const GetCall& call, Stream stream) override { launch("get", launch_get, call, stream); }
  void start(const PriorityCall& call, Stream stream) override {
    launch("set priorities", launch_priorities, call, stream);
  }
  void start(const CopyCall& call, Stream stream) override { launch("copy", launch_copy, call, stream); }
  void start(const StreamCall& call, Stream stream) override { launch("add", launch_rows, call, stream); }
  void start(const ReturnCall& call, Stream stream) override { launch("returns", launch_returns, call, stream); }
  void start(const SequenceCall& call, Stream stream) override { launch("sequences", launch_sequences, call, stream); }
  void start(const AssembleCall& call, Stream stream) override { launch("assemble", launch_assembly, call, stream); }
  void start(const WeightCall& call, Stream stream) override { launch("weigh", launch_weights, call, stream); }
  void start(const TaskOrderCall& call, Stream stream) override { launch("order tasks", launch_order, call, stream); }
  void start(const TaskRefreshCall& call, Stream stream) override {
    launch("refresh tasks", launch_refresh, call, stream);
  }
  void start(const TaskSampleCall& call, Stream stream) override {
    launch("sample tasks", launch_task_sample, call, stream);
  }
  void start(EnvWork work, const EnvKernels& kernels, const EnvCall& call, Stream stream) override {
    const CurrentDevice current(number_);
    switch (work) {
      case EnvWork::reset:
        return check("reset", launch_reset(kernels, call, number_, handle(stream)));
      case EnvWork::step:
        return check("step", launch_step(kernels, call, number_, handle(stream)));
      case EnvWork::rollout:
        return check("rollout", launch_rollout(kernels, call, number_, handle(stream)));
    }
  }
  void start(const SeedCall& call, Stream stream) override { launch("seed", launch_seeds, call, stream); }
  void start_zeros(void* memory, std::size_t bytes, Stream stream) override {
    const CurrentDevice current(number_);
    check("cudaMemsetAsync", cudaMemsetAsync(memory, 0, bytes, handle(stream)));
  }

 private:
  // library: where the kernels are from; "": this build.
  void check_loaded(cudaError_t error, const std::string& library = {}) const {
    cudaGetLastError();
    if (error == cudaErrorNoKernelImageForDevice || error == cudaErrorUnsupportedPtxVersion) {
      cudaDeviceProp properties{};
      check("cudaGetDeviceProperties", cudaGetDeviceProperties(&properties, number_));
      const std::string capability = std::to_string(properties.major) + std::to_string(properties.minor);
      throw std::runtime_error(
          name() + " (" + properties.name + ", sm_" + capability + ") runs none of the kernels in " +
          (library.empty() ? "this build of metarl_core" : library) +
          "; build it with METARL_CUDA_ARCHITECTURES=" + capability + " or all, or update the driver");
    }
    check("loading the kernels", error);
  }
  template <typename Call>
  void launch(const char* what, cudaError_t (*start)(const Call&, cudaStream_t), const Call& call, Stream stream) {
    const CurrentDevice current(number_);
    check(what, start(call, handle(stream)));
  }
  void copy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, Stream stream) {
    const CurrentDevice current(number_);
    check("cudaMemcpyAsync", cudaMemcpyAsync(to, from, bytes, kind, handle(stream)));
    check("cudaStreamSynchronize", cudaStreamSynchronize(handle(stream)));
  }

  int number_;
};

// Why there is no device, and what to do about it.
std::string missing_device(cudaError_t error) {
  int driver = 0;
  int runtime = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  cudaGetLastError();
  const std::string code = " (CUDA error " + std::to_string(static_cast<int>(error)) + ")";
  if (driver == 0) return "no NVIDIA driver is installed" + code + "; install one";
  if (error == cudaErrorInsufficientDriver) {
    return "the NVIDIA driver supports CUDA " + version_text(driver) + ", this build needs " + version_text(runtime) +
           code + "; update the driver";
  }
  if (error == cudaErrorNoDevice) {
    return "the driver finds no GPU" + code + "; look at nvidia-smi and CUDA_VISIBLE_DEVICES";
  }
  return std::string("CUDA does not start: ") + cudaGetErrorString(error) + code;
}

// Their number, or -1 with the reason.
int count_devices(std::string* problem) {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  cudaGetLastError();
  if (error == cudaSuccess && count > 0) return count;
  *problem = missing_device(error == cudaSuccess ? cudaErrorNoDevice : error);
  return -1;
}

}  // namespace

std::shared_ptr<Device> open_device(int number) {
  static std::mutex mutex;
  // Never destroyed: the runtime may be gone by then.
  static auto& devices = *new std::array<std::shared_ptr<Device>, kMostDevices>();
  std::string problem;
  const int count = count_devices(&problem);
  if (count < 0) throw std::runtime_error(problem);
  if (number >= count || number >= kMostDevices) {
    throw std::runtime_error(
        "there is no cuda:" + std::to_string(number) + "; this process sees " +
        (count == 1 ? std::string("cuda:0 alone") : "cuda:0 ... cuda:" + std::to_string(count - 1)));
  }
  const std::lock_guard lock(mutex);
  auto& device = devices[static_cast<std::size_t>(number)];
  if (device == nullptr) device = std::make_shared<GpuDevice>(number);
  return device;
}

std::vector<std::string> list_devices(std::string* problem) {
  std::vector<std::string> lines;
  const int count = count_devices(problem);
  for (int number = 0; number < count; ++number) {
    cudaDeviceProp properties{};
    check("cudaGetDeviceProperties", cudaGetDeviceProperties(&properties, number));
    lines.push_back("cuda:" + std::to_string(number) + " " + properties.name + ", sm_" +
                    std::to_string(properties.major) + std::to_string(properties.minor) + ", " +
                    mebibytes(properties.totalGlobalMem));
  }
  return lines;
}

}  // namespace metarl::cuda
