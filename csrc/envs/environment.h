// An environment of your own from one class template: METARL_ENVIRONMENTS(Model, ...) in a source file that
// metarl_add_environment compiles. Installed as metarl/env/environment.h; docs/custom-environments.md explains it.
//
//   template <class Real> struct Model    Real is float or double
//     struct State, struct Params         members of type Real only
//     kId, kText                          "Name-v0"; metarl::env::Text, for the reader
//     kFields[], kParameters[]            metarl::env::Field<State, Real>, Parameter<Params, Real> (may be absent)
//     kObs                                float32 numbers of an observation; kObsLow[], kObsHigh[] may be absent
//     kActions                            integers from 0; or kActionLow and kActionHigh, one float
//     kMaxEpisodeSteps, kResetUniforms, kStepUniforms, kNanoseconds    may be absent
//     METARL_HD State reset(const Params&, const Real* uniforms);
//     METARL_HD bool step(const Params&, State&, action, Real& reward);   action: an integer, or Real
//     METARL_HD bool step(const Params&, State&, action, Real& reward, const Real* uniforms);  with kStepUniforms
//     METARL_HD void observe(const State&, float* obs);
//     METARL_HD bool valid(const Params&, const State&);                  may be absent
//
// A step sees the action and the parameters of its row; it returns whether the episode ended. uniforms: numbers in
// [0, 1), from the seed, the row, the episode and the step.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

#include "driver.h"
#include "library.h"
#include "metarl/detail/math.h"

#if !defined(METARL_ISA_NS)  // on a GPU driver.h defines it
#define METARL_ISA_NS baseline
#endif

namespace metarl::env {

template <class State, class Real>
struct Field {
  const char* name;
  Real State::* member;
};

template <class Params, class Real>
struct Parameter {
  const char* name;
  Real Params::* member;
  double value;
  const char* doc;
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_is_excluded = false;
};

struct Text {
  const char* source = "";
  const char* state = "";
  const char* observation = "";
  const char* action = "";
  const char* reward = "";
  const char* ending = "";
};

// yes or no, by masks: around arithmetic, or nested, a conditional expression would keep the loop over rows from being
// vectorised.
METARL_HD double select(bool condition, double yes, double no) {
  const std::uint64_t mask = std::uint64_t{0} - static_cast<std::uint64_t>(condition);
  return detail::from_bits((detail::as_bits(yes) & mask) | (detail::as_bits(no) & ~mask));
}
METARL_HD float select(bool condition, float yes, float no) {
  const std::uint32_t mask = std::uint32_t{0} - static_cast<std::uint32_t>(condition);
  return detail::from_bits((detail::as_bits(yes) & mask) | (detail::as_bits(no) & ~mask));
}

}  // namespace metarl::env

// Everything below has internal linkage: the linker must not merge what was compiled for different levels.
namespace metarl::METARL_ISA_NS {
namespace {

// What the driver wants, from what the user wrote.
template <template <class> class Environment, class Real_>
struct Adapter {
  using User = Environment<Real_>;
  using Real = Real_;
  using Int = typename IntOfWidth<Real>::type;
  using Params = typename User::Params;
  using TaskParams = Params;
  using State = typename User::State;
  static constexpr bool kDiscrete = requires { User::kActions; };
  using Action = std::conditional_t<kDiscrete, Int, Real>;
  using StoredAction = std::conditional_t<kDiscrete, std::uint8_t, float>;
  static constexpr int kObs = User::kObs;
  static constexpr std::size_t kNumFields = std::size(User::kFields);
  static_assert(sizeof(State) == kNumFields * sizeof(Real), "kFields must name every member of State");

  static constexpr std::size_t num_parameters() {
    if constexpr (requires { User::kParameters; }) {
      static_assert(sizeof(Params) == std::size(User::kParameters) * sizeof(Real),
                    "kParameters must name every member of Params");
      return std::size(User::kParameters);
    } else {
      static_assert(std::is_empty_v<Params>, "a member of Params is not in kParameters");
      return 0;
    }
  }
  static constexpr int reset_uniforms() {
    if constexpr (requires { User::kResetUniforms; }) return User::kResetUniforms;
    return 0;
  }
  static constexpr int step_uniforms() {
    if constexpr (requires { User::kStepUniforms; }) return User::kStepUniforms;
    return 0;
  }
  static constexpr int kResetUniforms = reset_uniforms();
  static constexpr int kStepUniforms = step_uniforms();

  // Members as template arguments: known to the compiler's first pass, which keeps the loops vectorisable.
  template <auto kMember>
  METARL_HD void set(auto& object, Real value) {
    object.*kMember = value;
  }
  template <auto kMember>
  METARL_HD Real get(const auto& object) {
    return object.*kMember;
  }
  template <std::size_t... k>
  METARL_HD State load_fields(std::index_sequence<k...>, const Real* f, std::int64_t stride, std::int64_t row) {
    State s{};
    (set<User::kFields[k].member>(s, f[static_cast<std::int64_t>(k) * stride + row]), ...);
    return s;
  }
  template <std::size_t... k>
  METARL_HD void store_fields(std::index_sequence<k...>, const State& s, Real* f, std::int64_t stride,
                              std::int64_t row) {
    ((f[static_cast<std::int64_t>(k) * stride + row] = get<User::kFields[k].member>(s)), ...);
  }
  template <class Number, std::size_t... k>
  METARL_HD Params load_params(std::index_sequence<k...>, [[maybe_unused]] const Number* values,
                               [[maybe_unused]] std::int64_t stride, [[maybe_unused]] std::int64_t row) {
    Params p{};
    (set<User::kParameters[k].member>(p, static_cast<Real>(values[static_cast<std::int64_t>(k) * stride + row])), ...);
    return p;
  }

  METARL_HD State load(const Real* f, std::int64_t stride, std::int64_t row) {
    return load_fields(std::make_index_sequence<kNumFields>{}, f, stride, row);
  }
  METARL_HD void store(const State& s, Real* f, std::int64_t stride, std::int64_t row) {
    store_fields(std::make_index_sequence<kNumFields>{}, s, f, stride, row);
  }
  METARL_HD Params row_params(const Params&, const Real* task_values, std::int64_t stride, std::int64_t row) {
    return load_params(std::make_index_sequence<num_parameters()>{}, task_values, stride, row);
  }

  // More than the four numbers of one block come from reset_more.
  METARL_HD State reset(const Params& p, const PhiloxBlock& random, const Real*, std::int64_t, std::int64_t) {
    if constexpr (kResetUniforms > 4) {
      return State{};
    } else {
      Real u[4];
      for (int j = 0; j < 4; ++j) u[j] = uniform32<Real>(random.v[j]);
      return User::reset(p, u);
    }
  }
  METARL_HD void reset_more(const EnvBatch& b, const Params& p, std::int64_t row)
    requires(kResetUniforms > 4)
  {
    Real u[(kResetUniforms + 3) / 4 * 4];
    for (int first = 0; first < kResetUniforms; first += 4) {
      const PhiloxBlock random = reset_random(b, row, static_cast<std::uint32_t>(first / 4));
      for (int j = 0; j < 4; ++j) u[first + j] = uniform32<Real>(random.v[j]);
    }
    const auto* const tasks = static_cast<const Real*>(b.task_values);
    const Params own = tasks == nullptr ? p : row_params(p, tasks, b.stride, row);
    store(User::reset(own, u), static_cast<Real*>(b.state), b.stride, row);
  }

  METARL_HD Int step(const Params& p, State& s, Action action, Real& reward)
    requires(kStepUniforms == 0)
  {
    return static_cast<Int>(User::step(p, s, action, reward));
  }
  METARL_HD Int step(const Params& p, State& s, Action action, Real& reward, const Real* uniforms)
    requires(kStepUniforms > 0)
  {
    return static_cast<Int>(User::step(p, s, action, reward, uniforms));
  }
  METARL_HD void observe(const Params&, const State& s, float* c) { User::observe(s, c); }
  METARL_HD void write_obs(const Params& p, const State& s, void* obs, std::int64_t row) {
    write_float_obs<Adapter>(p, s, obs, row);
  }
  METARL_HD std::size_t obs_bytes(const Params&) { return sizeof(float) * kObs; }

  static void fill_params(const double* values, void* params) {
    *static_cast<Params*>(params) = load_params(std::make_index_sequence<num_parameters()>{}, values, 1, 0);
  }
  static void step_kernel(const EnvBatch& b, std::int64_t begin, std::int64_t end) {
    step_blocks<Adapter>(b, begin, end);
  }
  static void reset_kernel(const EnvBatch& b, const std::uint8_t* mask, std::int64_t begin, std::int64_t end) {
    reset_rows<Adapter>(b, mask, begin, end);
  }
  static bool valid_state([[maybe_unused]] const void* params, const double* fields) {
    Real rounded[kNumFields];
    for (std::size_t f = 0; f < kNumFields; ++f) {
      if (!(fields[f] - fields[f] == 0)) return false;
      rounded[f] = static_cast<Real>(fields[f]);
    }
    if constexpr (requires(const Params& p, const State& s) { User::valid(p, s); }) {
      return User::valid(*static_cast<const Params*>(params), load(rounded, 1, 0));
    }
    return true;
  }
  static constexpr env::KernelInfo kKernels{sizeof(Params), alignof(Params), fill_params,
                                            step_kernel,    reset_kernel,    valid_state};
};

// For METARL_DEFINE_ENV_KERNELS of csrc/cuda: what a thread of a GPU runs.
template <template <class> class Environment, class Real>
using EnvironmentRows = BlockRows<Adapter<Environment, Real>>;

// The description of an environment, as constants: nothing runs when the library is loaded.
template <template <class> class Environment>
struct Description {
  using User = Environment<double>;
  using Wide = Adapter<Environment, double>;
  using Narrow = Adapter<Environment, float>;
  static constexpr std::size_t kNumParameters = Wide::num_parameters();

  static constexpr auto field_names() {
    std::array<const char*, Wide::kNumFields> names{};
    for (std::size_t f = 0; f < names.size(); ++f) names[f] = User::kFields[f].name;
    return names;
  }
  static constexpr auto parameters() {
    std::array<env::ParameterInfo, kNumParameters + 1> infos{};  // an array of nothing has no address
    if constexpr (kNumParameters > 0) {
      for (std::size_t k = 0; k < kNumParameters; ++k) {
        const auto& p = User::kParameters[k];
        infos[k] = {p.name, p.doc, p.value, p.low, p.high, p.low_is_excluded};
      }
    }
    return infos;
  }
  static constexpr auto kFieldNames = field_names();
  static constexpr auto kParameters = parameters();

  static constexpr env::EnvironmentInfo info() {
    env::EnvironmentInfo e{};
    constexpr env::Text text = User::kText;
    e.id = User::kId;
    e.source = text.source;
    e.state = text.state;
    e.observation = text.observation;
    e.action = text.action;
    e.reward = text.reward;
    e.ending = text.ending;
    if constexpr (requires { User::kMaxEpisodeSteps; }) e.max_episode_steps = User::kMaxEpisodeSteps;
    e.num_fields = Wide::kNumFields;
    e.field_names = kFieldNames.data();
    e.num_parameters = kNumParameters;
    e.parameters = kParameters.data();
    if constexpr (Wide::kDiscrete) {
      static_assert(User::kActions >= 1 && User::kActions <= 256, "kActions must be in [1, 256]");
      e.num_actions = User::kActions;
    } else {
      static_assert(User::kActionLow < User::kActionHigh, "kActionLow must be < kActionHigh");
      e.action_low = static_cast<float>(User::kActionLow);
      e.action_high = static_cast<float>(User::kActionHigh);
    }
    e.obs_size = User::kObs;
    if constexpr (requires { User::kObsLow; }) {
      static_assert(std::size(User::kObsLow) == User::kObs && std::size(User::kObsHigh) == User::kObs,
                    "kObsLow and kObsHigh must have kObs numbers");
      e.obs_low = User::kObsLow;
      e.obs_high = User::kObsHigh;
    }
    e.nanoseconds_per_row = 10;
    if constexpr (requires { User::kNanoseconds; }) e.nanoseconds_per_row = User::kNanoseconds;
    e.float64 = Wide::kKernels;
    e.float32 = Narrow::kKernels;
    return e;
  }
};

template <template <class> class... Environments>
struct Library {
  static constexpr env::EnvironmentInfo kEnvironments[] = {Description<Environments>::info()...};
  static constexpr env::LibraryInfo kInfo{
      env::kAbiVersion,           sizeof(EnvBatch),        sizeof(env::EnvironmentInfo),
      sizeof(env::ParameterInfo), sizeof...(Environments), kEnvironments};
};

}  // namespace
}  // namespace metarl::METARL_ISA_NS

#define METARL_ENV_JOIN_(a, b) a##b
#define METARL_ENV_JOIN(a, b) METARL_ENV_JOIN_(a, b)

// The function that the core looks for; once a library, in the source file, at global scope.
#define METARL_ENVIRONMENTS(...)                                                                         \
  extern "C" __attribute__((visibility("default")))                                                      \
  const metarl::env::LibraryInfo* METARL_ENV_JOIN(metarl_env_library_, METARL_ISA_NS)(void);             \
  extern "C" const metarl::env::LibraryInfo* METARL_ENV_JOIN(metarl_env_library_, METARL_ISA_NS)(void) { \
    return &metarl::METARL_ISA_NS::Library<__VA_ARGS__>::kInfo;                                          \
  }
