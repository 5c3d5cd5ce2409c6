// CliffWalking's rows: the code that the CPU's kernels and the CUDA kernels share; see envs/driver.h.
#pragma once

#include "envs/toy_text/cliff_walking.h"
#include "envs/toy_text/tabular_driver.h"

namespace metarl::METARL_ISA_NS {
namespace {

struct CliffWalking {
  using Real = std::int32_t;
  using Params = cliff_walking::Params;
  using TaskParams = cliff_walking::Task;
  using State = std::int32_t;
  static constexpr int kDraws = 1;

  METARL_HOST_DEVICE static TaskParams row_params(const Params&, const Real* t, std::int64_t, std::int64_t row) {
    return {cliff_walking::slip_chances(t[row] != 0)};
  }
  METARL_HOST_DEVICE static const auto& task_table(const Params& p) { return p.slippery; }
  METARL_HOST_DEVICE static State load(const Real* f, std::int64_t, std::int64_t row) { return f[row]; }
  METARL_HOST_DEVICE static void store(State s, Real* f, std::int64_t, std::int64_t row) { f[row] = s; }
  template <class P>
  METARL_HOST_DEVICE static State reset(const P&, const PhiloxBlock&, const Real*, std::int64_t, std::int64_t) {
    return cliff_walking::kStart;
  }
  METARL_HOST_DEVICE static std::int32_t after(const EnvBatch&, const Params&, std::int64_t, std::int32_t,
                                               std::int32_t next) {
    return next;
  }
  METARL_HOST_DEVICE static void write_obs(const Params&, State s, void* obs, std::int64_t row) {
    static_cast<std::int64_t*>(obs)[row] = s;
  }
  METARL_HOST_DEVICE static std::size_t obs_bytes(const Params&) { return sizeof(std::int64_t); }
};

struct CliffWalkingRows {
  using Model = CliffWalking;
  METARL_HD void step(const EnvBatch& b, std::int64_t begin, std::int64_t end) {
    step_tabular_rows<CliffWalking>(b, begin, end);
  }
  METARL_HD void reset(const EnvBatch& b, const std::uint8_t* mask, std::int64_t begin, std::int64_t end) {
    reset_rows<CliffWalking>(b, mask, begin, end);
  }
};

}  // namespace
}  // namespace metarl::METARL_ISA_NS
