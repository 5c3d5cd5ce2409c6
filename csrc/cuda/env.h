// A batch of environments as a host object: owns the memory, orders calls across streams, reads the status. What it is
// given are pointers to device memory; their content is checked on the device, by check().
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cuda/device.h"
#include "cuda/memory_pool.h"
#include "cuda/timeline.h"

namespace metarl::cuda {

// What a batch is, as the core has made it (EnvDefinition and the constructor's arguments of BatchEnv).
struct EnvDescription {
  std::string name;     // for messages
  std::string kernels;  // "": the environment has none for GPUs
  std::string library;  // "": the kernels are the package's; else the path of the loaded library that has them
  std::int64_t num_envs = 0;
  AutoresetMode mode = AutoresetMode::next_step;
  std::int32_t max_episode_steps = 0;
  int num_actions = 0;
  int action_size = 1;
  std::int64_t obs_row_bytes = 0;
  bool incremental_obs = false;
  int num_task_values = 0;
  std::int64_t layout_bytes = 0;
  std::vector<std::int8_t> action_masks;
  std::vector<std::byte> params;
  struct ParamsArray {
    std::size_t offset;  // of the pointer in the parameters
    std::vector<std::byte> bytes;
  };
  std::vector<ParamsArray> params_arrays;
};

// By the names that BatchEnv::arrays has.
using HostArrays = std::map<std::string, std::vector<std::byte>>;

// Not synchronised: the caller holds Python's lock. reset, step, rollout and observe neither allocate nor wait.
class Env {
 public:
  // arrays: those of a BatchEnv of that description, all of them. Throws std::invalid_argument if the environment has
  // no kernels for GPUs, or such as this build does not know, and OutOfMemoryError.
  Env(std::shared_ptr<Device> device, EnvDescription description, const HostArrays& arrays);
  ~Env();
  Env(const Env&) = delete;
  Env& operator=(const Env&) = delete;

  const EnvDescription& description() const { return description_; }
  std::size_t num_bytes() const { return num_bytes_; }
  Device& device() const { return *device_; }
  const std::shared_ptr<Timeline>& timeline() const { return timeline_; }
  MemoryPool& pool() const { return *pool_; }
  // Lives as long as one who holds it; null: the environment has no such array.
  std::shared_ptr<void> array(const std::string& name) const;

  bool has_tasks() const { return batch_.task_values != nullptr; }
  bool is_ready() const { return ready_; }
  void set_ready(bool ready) { ready_ = ready; }

  // Copies of host memory, so they wait: rows to seed before a reset, those in the mask (device memory) if there is
  // one.
  void seed(const std::int64_t* rows, const std::uint64_t* seeds, const std::uint32_t* streams, std::int64_t count,
            const std::uint8_t* mask, Stream stream);
  HostArrays read_arrays(Stream stream);
  // Some or all of them. Arrays of tasks may have another size, and then another place: graphs that were recorded
  // before know the old one. Throws std::invalid_argument, with nothing changed, for sizes that do not fit.
  void write_arrays(const HostArrays& arrays, Stream stream);

  // Of the call, what is the batch's own is filled in; outputs and inputs are the caller's. In same_step mode final_obs
  // and ended may be null: those of the batch.
  void reset(EnvCall call, Stream stream);
  void observe(void* obs, Stream stream);
  void step(EnvCall call, Stream stream);
  void rollout(EnvCall call, Stream stream);

  // Waits for the calls so far.
  EnvStatus status(Stream stream);
  // Forgets the error that status() shows.
  void clear_error(Stream stream);

 private:
  struct Block {
    std::shared_ptr<void> memory;
    std::size_t bytes = 0;
  };
  Block make_block(std::size_t bytes, const std::string& what);
  void place(const std::string& name, const std::byte* from, std::size_t bytes, Stream stream);
  void check_sizes(const HostArrays& arrays) const;
  void connect();
  EnvCall own(EnvCall call) const;
  void run(EnvWork work, const EnvCall& call, Stream stream);
  std::size_t bytes_of(const std::string& name) const;

  std::shared_ptr<Device> device_;
  EnvDescription description_;
  std::shared_ptr<Timeline> timeline_;
  std::shared_ptr<MemoryPool> pool_;
  const EnvKernels* kernels_ = nullptr;
  std::size_t num_bytes_ = 0;
  std::map<std::string, Block> arrays_;
  Block status_, converted_, no_rows_, masks_, params_;
  std::vector<Block> params_arrays_;
  EnvBatch batch_;
  bool ready_ = false;
};

}  // namespace metarl::cuda
