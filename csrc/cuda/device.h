// What the host objects of this folder ask of a device. gpu_device.cpp answers with CUDA's runtime, the tests' emulator
// with host memory, so that everything above is the same code in both.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cuda/copy_bodies.h"
#include "cuda/device_env.h"
#include "cuda/device_streams.h"
#include "cuda/env_library.h"
#include "cuda/get_bodies.h"
#include "cuda/replay_bodies.h"
#include "cuda/sample_bodies.h"
#include "cuda/set_bodies.h"
#include "cuda/task_sample_bodies.h"
#include "cuda/weight_bodies.h"

namespace metarl::cuda {

// A stream as DLPack numbers it: 1 the legacy default stream, 2 the per-thread one, else a cudaStream_t.
using Stream = std::uintptr_t;
constexpr Stream kLegacyStream = 1;

// DLPack's device types.
constexpr int kHostMemory = 1;
constexpr int kCudaMemory = 2;
constexpr int kCudaManagedMemory = 13;

// As DLPack says where memory is.
struct MemoryPlace {
  int type;
  int number;
};

enum class EnvWork : std::uint8_t { reset, step, rollout };

// Errors of a device are thrown as std::runtime_error that names the call and CUDA's error.
class Device {
 public:
  virtual ~Device() = default;

  // As users name it: "cuda:0".
  virtual std::string name() const = 0;
  virtual int number() const = 0;
  virtual int memory_type() const = 0;
  // Whether kernels can read and write memory that DLPack describes so.
  virtual bool can_use(int memory_type, int number) const = 0;
  // Where an address lies; one that CUDA does not know is in host memory.
  virtual MemoryPlace place_of(const void* memory) = 0;

  // Throws OutOfMemoryError; `purpose` says for what. May wait for the device.
  virtual void* allocate(std::size_t bytes, const std::string& purpose) = 0;
  virtual void release(void* memory) noexcept = 0;
  virtual void fill_with_zeros(void* memory, std::size_t bytes) = 0;
  // Copies from and to host memory, after what the stream has to do, and wait for it.
  virtual void read(void* to, const void* from, std::size_t bytes, Stream stream) = 0;
  virtual void write(void* to, const void* from, std::size_t bytes, Stream stream) = 0;

  // Whether the stream records a graph in place of working.
  virtual bool is_capturing(Stream stream) = 0;
  virtual void* make_event() = 0;
  virtual void release_event(void* event) noexcept = 0;
  virtual void record(void* event, Stream stream) = 0;
  virtual void wait(void* event, Stream stream) = 0;
  virtual bool is_done(void* event) = 0;
  virtual void finish(void* event) = 0;

  // None of these allocates, waits or reads back.
  virtual void start(const SetCall<double>& call, Stream stream) = 0;
  virtual void start(const SetCall<float>& call, Stream stream) = 0;
  virtual void start(const SampleCall& call, Stream stream) = 0;
  virtual void start(const FindCall& call, Stream stream) = 0;
  virtual void start(const GetCall& call, Stream stream) = 0;
  virtual void start(const PriorityCall& call, Stream stream) = 0;
  virtual void start(const CopyCall& call, Stream stream) = 0;
  virtual void start(const StreamCall& call, Stream stream) = 0;
  virtual void start(const ReturnCall& call, Stream stream) = 0;
  virtual void start(const SequenceCall& call, Stream stream) = 0;
  virtual void start(const AssembleCall& call, Stream stream) = 0;
  virtual void start(const WeightCall& call, Stream stream) = 0;
  virtual void start(const TaskOrderCall& call, Stream stream) = 0;
  virtual void start(const TaskRefreshCall& call, Stream stream) = 0;
  virtual void start(const TaskSampleCall& call, Stream stream) = 0;
  virtual void start(EnvWork work, const EnvKernels& kernels, const EnvCall& call, Stream stream) = 0;
  virtual void start(const SeedCall& call, Stream stream) = 0;
  virtual void start_zeros(void* memory, std::size_t bytes, Stream stream) = 0;

  // The package's own kernels of an environment by EnvDefinition::kernels; null: there are none of that name.
  virtual const EnvKernels* find_env(const std::string& name) = 0;
  // Loads kernels before they are first started. library: where they are from, for messages; "": the package.
  virtual void load_env(const EnvKernels& kernels, const std::string& library) = 0;
};

// Device `number`, with its kernels loaded: one object each. Throws std::runtime_error if it cannot be used.
std::shared_ptr<Device> open_device(int number);

// What there is, one line each; empty if nothing can be used, and then `problem` says why: no driver, an old one, no
// GPU.
std::vector<std::string> list_devices(std::string* problem);

}  // namespace metarl::cuda
