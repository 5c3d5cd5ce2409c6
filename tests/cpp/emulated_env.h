// A batch of environments on the emulator, with the interface of BatchEnv as far as the comparison of both goes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "emulated_env_kernels.h"
#include "metarl/batch_env.h"

namespace metarl_test {

class EmulatedEnv {
 public:
  EmulatedEnv(const metarl::EnvDefinition& definition, std::int64_t num_envs, metarl::AutoresetMode mode,
              std::int32_t max_episode_steps, std::uint64_t seed, std::uint64_t order);

  void reset(const std::uint8_t* mask, void* obs, const metarl::RowSeeds& seeds = {});
  void step(const void* actions, metarl::ActionType type, const metarl::StepOutputs& out);
  void rollout(const metarl::RolloutActions& actions, std::int64_t begin, std::int64_t end,
               const metarl::RolloutOutputs& out);
  void set_tasks(const std::vector<double>& values, const std::vector<std::int32_t>& ids);
  void set_task_table(const std::vector<double>& values, std::int64_t count);

  const cuda::EnvStatus& status() const { return *status_; }
  cuda::EnvStatus* mutable_status() { return status_; }
  const std::vector<std::uint8_t>& ended() const { return ended_; }
  const std::vector<std::byte>& final_obs() const { return final_obs_; }
  const std::vector<std::uint8_t>& end_flags() const { return end_flag_; }
  std::int64_t obs_row_bytes() const { return obs_row_bytes_; }

  // As BatchEnv::get_state gives it.
  struct State {
    std::vector<double> fields;
    std::vector<std::int32_t> elapsed;
    std::vector<std::uint32_t> episode;
    std::vector<std::uint64_t> seed;
    std::vector<std::uint32_t> stream;
    std::vector<std::uint8_t> done;
    std::vector<double> tasks;
    std::vector<std::int32_t> task_id;
  };
  State state() const;

 private:
  cuda::EnvCall call();
  void launch(const void* kernel, const cuda::EnvCall& call);
  void check(const cuda::EnvCall& call);
  std::vector<std::byte> columns(const std::vector<double>& values, std::int64_t count) const;
  std::vector<std::uint8_t> layouts(const std::vector<double>& values, std::int64_t count) const;
  metarl::FieldType task_type() const;

  metarl::EnvDefinition definition_;
  const cuda::EnvKernels& kernels_;
  std::int64_t num_envs_;
  std::int64_t obs_row_bytes_;
  metarl::AutoresetMode mode_;
  std::int32_t max_episode_steps_;
  simt::Device device_;
  cuda::EnvStatus* status_;
  std::vector<std::byte> params_;
  std::vector<std::vector<std::byte>> params_arrays_;
  std::vector<std::byte> state_, final_obs_, converted_, task_values_, task_table_;
  std::vector<std::int32_t> elapsed_, task_id_;
  std::vector<std::uint32_t> episode_, stream_;
  std::vector<std::uint64_t> seed_;
  std::vector<std::uint8_t> done_, ended_, end_flag_, layouts_, table_layouts_;
  std::int64_t task_table_size_ = 0;
};

}  // namespace metarl_test
