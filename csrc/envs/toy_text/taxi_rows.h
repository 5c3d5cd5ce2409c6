// Taxi's rows: the code that the CPU's kernels and the CUDA kernels share; see envs/driver.h.
#pragma once

#include "envs/toy_text/tabular_driver.h"
#include "envs/toy_text/taxi.h"

namespace metarl::METARL_ISA_NS {
namespace {

struct Taxi {
  using Real = std::int32_t;
  using Params = taxi::Params;
  using TaskParams = taxi::Task;
  using TaskReal = double;
  using State = taxi::State;
  static constexpr int kDraws = 2;

  // In the order of the definition's task_parameters.
  METARL_HOST_DEVICE static TaskParams row_params(const Params& p, const double* t, std::int64_t stride,
                                                  std::int64_t row) {
    return {taxi::rain_chances(t[row]), p.fickle, t[stride + row]};
  }
  METARL_HOST_DEVICE static const auto& task_table(const Params& p) { return p.table; }
  METARL_HOST_DEVICE static State load(const Real* f, std::int64_t stride, std::int64_t row) {
    return {f[row], f[stride + row]};
  }
  METARL_HOST_DEVICE static void store(const State& s, Real* f, std::int64_t stride, std::int64_t row) {
    f[row] = s.state;
    f[stride + row] = s.fickle;
  }
  template <class P>
  METARL_HOST_DEVICE static State reset(const P& p, const PhiloxBlock& random, const Real*, std::int64_t,
                                        std::int64_t) {
    return taxi::reset(p, random);
  }
  // Word 2 of the step's random numbers, or its second draw, makes the new destination.
  METARL_HOST_DEVICE static std::int32_t after(const EnvBatch& b, const Params& p, std::int64_t row, std::int32_t state,
                                               std::int32_t next) {
    if (!p.fickle) return next;
    std::int32_t& fickle = static_cast<std::int32_t*>(b.state)[b.stride + row];
    if (!fickle || taxi::passenger_of(state) != taxi::kInTaxi || taxi::cell_of(state) == taxi::cell_of(next)) {
      return next;
    }
    fickle = 0;
    const auto rank = b.draws != nullptr
                          ? static_cast<std::int32_t>(b.draws[row * kDraws + 1] * 3.0)
                          : static_cast<std::int32_t>((std::uint64_t{step_random(b, row).v[2]} * 3) >> 32);
    return taxi::with_other_destination(next, rank);
  }
  METARL_HOST_DEVICE static void write_obs(const Params&, const State& s, void* obs, std::int64_t row) {
    static_cast<std::int64_t*>(obs)[row] = s.state;
  }
  METARL_HOST_DEVICE static std::size_t obs_bytes(const Params&) { return sizeof(std::int64_t); }
};

struct TaxiRows {
  using Model = Taxi;
  METARL_HD void step(const EnvBatch& b, std::int64_t begin, std::int64_t end) {
    step_tabular_rows<Taxi>(b, begin, end);
  }
  METARL_HD void reset(const EnvBatch& b, const std::uint8_t* mask, std::int64_t begin, std::int64_t end) {
    reset_rows<Taxi>(b, mask, begin, end);
  }
};

}  // namespace
}  // namespace metarl::METARL_ISA_NS
