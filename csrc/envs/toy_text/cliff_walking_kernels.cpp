#include "envs/kernels.h"
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

  static TaskParams row_params(const Params&, const Real* t, std::int64_t, std::int64_t row) {
    return {cliff_walking::slip_chances(t[row] != 0)};
  }
  static const auto& task_table(const Params& p) { return p.slippery; }
  static State load(const Real* f, std::int64_t, std::int64_t row) { return f[row]; }
  static void store(State s, Real* f, std::int64_t, std::int64_t row) { f[row] = s; }
  template <class P>
  static State reset(const P&, const PhiloxBlock&, const Real*, std::int64_t, std::int64_t) {
    return cliff_walking::kStart;
  }
  static std::int32_t after(const EnvBatch&, const Params&, std::int64_t, std::int32_t, std::int32_t next) {
    return next;
  }
  static void write_obs(const Params&, State s, void* obs, std::int64_t row) {
    static_cast<std::int64_t*>(obs)[row] = s;
  }
  static std::size_t obs_bytes(const Params&) { return sizeof(std::int64_t); }
};

}  // namespace

void cliff_walking_step(const EnvBatch& b, std::int64_t begin, std::int64_t end) {
  step_tabular_rows<CliffWalking>(b, begin, end);
}

void cliff_walking_reset(const EnvBatch& b, const std::uint8_t* mask, std::int64_t begin, std::int64_t end) {
  reset_rows<CliffWalking>(b, mask, begin, end);
}

}  // namespace metarl::METARL_ISA_NS
