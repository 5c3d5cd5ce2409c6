// The environments' kernels on the emulator against BatchEnv: every bit of what a call gives and leaves.
#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <stdexcept>

#include "check.h"
#include "device_env_cases.h"
#include "emulated_env.h"

namespace {

using metarl::ActionType;
using metarl::AutoresetMode;
using metarl::BatchEnv;
using metarl::EnvDefinition;
using metarl_test::EmulatedEnv;
namespace cuda = metarl::cuda;

constexpr std::int64_t kRows = 21;
constexpr std::int32_t kNoLimit = std::numeric_limits<std::int32_t>::max();
enum class Tasks { common, own, table };

std::string where;  // for messages

// Ends the play of a combination at its first difference: what follows differs, too.
void expect(bool good, const char* what) {
  if (!good) throw std::runtime_error(where + ": " + what + " differs");
}

// Outputs of a call: bytes that it does not write stay what they were.
struct Outputs {
  Outputs(const EnvDefinition& d, std::int64_t obs_bytes, std::int64_t steps)
      : obs(size((steps + 1) * kRows * obs_bytes), pattern()),
        actions(size(steps * kRows * d.action_width() * 8), pattern()),
        final_obs(size(steps * kRows * obs_bytes), pattern()),
        reward(size(steps * kRows), -7.25),
        prob(size(steps * kRows), -7.25),
        terminated(size(steps * kRows), 0xA5),
        truncated(terminated),
        valid(terminated),
        end_flag(terminated),
        task_id(size((steps + 1) * kRows), -77) {}
  static std::size_t size(std::int64_t count) { return static_cast<std::size_t>(count); }
  static std::byte pattern() { return std::byte{0xA5}; }
  metarl::StepOutputs step(const EnvDefinition& d) {
    return {obs.data(), reward.data(), terminated.data(), truncated.data(), d.has_prob ? prob.data() : nullptr,
            nullptr};
  }
  metarl::RolloutOutputs rollout(const EnvDefinition& d, bool same_step, bool tasks) {
    return {obs.data(),
            actions.data(),
            reward.data(),
            terminated.data(),
            truncated.data(),
            valid.data(),
            d.has_prob ? prob.data() : nullptr,
            same_step ? final_obs.data() : nullptr,
            d.has_end_flag ? end_flag.data() : nullptr,
            tasks ? task_id.data() : nullptr};
  }
  std::vector<std::byte> obs, actions, final_obs;
  std::vector<double> reward, prob;
  std::vector<std::uint8_t> terminated, truncated, valid, end_flag;
  std::vector<std::int64_t> task_id;
};

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

void compare(const Outputs& a, const Outputs& b) {
  expect(same_bits(a.obs, b.obs), "obs");
  expect(same_bits(a.actions, b.actions), "actions");
  expect(same_bits(a.final_obs, b.final_obs), "final_obs");
  expect(same_bits(a.reward, b.reward), "reward");
  expect(same_bits(a.prob, b.prob), "prob");
  expect(same_bits(a.terminated, b.terminated), "terminated");
  expect(same_bits(a.truncated, b.truncated), "truncated");
  expect(same_bits(a.valid, b.valid), "valid");
  expect(same_bits(a.end_flag, b.end_flag), "end_flag");
  expect(same_bits(a.task_id, b.task_id), "task_id");
}

EmulatedEnv::State state_of(BatchEnv& env) {
  const EnvDefinition& d = env.definition();
  EmulatedEnv::State s;
  s.fields.resize(kRows * d.field_names.size());
  s.elapsed.resize(kRows);
  s.episode.resize(kRows);
  s.seed.resize(kRows);
  s.stream.resize(kRows);
  s.done.resize(kRows);
  metarl::EnvStateOut out{s.fields.data(), s.elapsed.data(), s.episode.data(), s.seed.data(),
                          s.stream.data(), s.done.data(),    nullptr,          nullptr};
  if (env.has_tasks()) {
    s.tasks.resize(kRows * d.task_parameters.size());
    s.task_id.resize(kRows);
    out.tasks = s.tasks.data();
    out.task_id = s.task_id.data();
  }
  env.get_state(out);
  return s;
}

void compare(const EmulatedEnv::State& a, const EmulatedEnv::State& b) {
  expect(same_bits(a.fields, b.fields), "state");
  expect(same_bits(a.elapsed, b.elapsed), "elapsed");
  expect(same_bits(a.episode, b.episode), "episode");
  expect(same_bits(a.seed, b.seed), "seed");
  expect(same_bits(a.stream, b.stream), "stream");
  expect(same_bits(a.done, b.done), "done");
  expect(same_bits(a.tasks, b.tasks), "tasks");
  expect(same_bits(a.task_id, b.task_id), "task_id of the state");
}

// The last step's final observations and flags.
void compare_ends(const BatchEnv& env, const EmulatedEnv& emulated) {
  const std::size_t bytes = env.obs_row_bytes();
  for (std::size_t i = 0; i < emulated.ended().size(); ++i) {
    expect(env.ended()[i] == emulated.ended()[i], "ended");
    if (!env.ended()[i]) continue;
    expect(std::memcmp(static_cast<const std::byte*>(env.final_obs()) + i * bytes,
                       emulated.final_obs().data() + i * bytes, bytes) == 0,
           "final observation");
  }
  for (std::size_t i = 0; i < emulated.end_flags().size(); ++i) {
    expect(env.end_flags()[i] == emulated.end_flags()[i], "end flag");
  }
}

// Task `number`: everything a little different, flags on and off, seeds of maps given and not.
std::vector<double> task_of(const EnvDefinition& d, int number) {
  static const std::set<std::string> kFlags = {"is_slippery",  "deterministic", "randomize_actions",
                                               "natural",      "sab",           "difficulty_ramping",
                                               "dense_reward", "nips",          "sutton_barto_reward"};
  static const std::set<std::string> kSeeds = {"map_seed", "mapping_seed", "task_seed"};
  std::vector<double> task;
  for (std::size_t k = 0; k < d.task_parameters.size(); ++k) {
    const std::string& name = d.task_parameters[k];
    const double own = d.task_defaults[k];
    if (kFlags.count(name) > 0) {
      task.push_back((number + static_cast<int>(k)) % 2);
    } else if (kSeeds.count(name) > 0) {
      task.push_back(number % 3 == 0 ? own : 11 + number);
    } else if (name == "goal_row" || name == "goal_column") {
      task.push_back(number % 2 == 0 ? -1 : 3);
    } else {
      task.push_back(own * (1.0 + 0.015625 * (number % 7)));
    }
  }
  return task;
}

class Actions {
 public:
  explicit Actions(const EnvDefinition& d) : d_(d) {}
  // Of `steps` steps, in a type that changes with `turn`.
  const void* fill(int turn, std::int64_t steps) {
    const std::int64_t count = steps * kRows * d_.action_width();
    bytes_.assign(static_cast<std::size_t>(count * 8), std::byte{0});
    for (std::int64_t i = 0; i < count; ++i) {
      random_ = random_ * 6364136223846793005u + 1442695040888963407u;
      const double u = static_cast<double>(random_ >> 40) * 0x1p-24;
      if (d_.num_actions == 0) {
        const double value = 6.0 * u - 3.0;
        turn % 2 == 0 ? put(i, value) : put(i, static_cast<float>(value));
      } else {
        const int value = static_cast<int>(u * d_.num_actions);
        switch (turn % 4) {
          case 0:
            put(i, static_cast<std::int64_t>(value));
            break;
          case 1:
            put(i, static_cast<std::uint8_t>(value));
            break;
          case 2:
            put(i, static_cast<std::int32_t>(value));
            break;
          default:
            put(i, static_cast<std::uint16_t>(value));
        }
      }
    }
    type_ = d_.num_actions == 0 ? (turn % 2 == 0 ? ActionType::float64 : ActionType::float32)
                                : std::vector{ActionType::int64, ActionType::uint8, ActionType::int32,
                                              ActionType::uint16}[static_cast<std::size_t>(turn % 4)];
    return bytes_.data();
  }
  ActionType type() const { return type_; }

 private:
  template <class T>
  void put(std::int64_t i, T value) {
    std::memcpy(bytes_.data() + static_cast<std::size_t>(i) * sizeof value, &value, sizeof value);
  }
  const EnvDefinition& d_;
  std::uint64_t random_ = 12345;
  std::vector<std::byte> bytes_;
  ActionType type_ = ActionType::int64;
};

const char* name_of(AutoresetMode mode) {
  return mode == AutoresetMode::next_step ? "next_step" : mode == AutoresetMode::same_step ? "same_step" : "disabled";
}

// Steps, masked resets with seeds, and rollouts, of both.
void compare_play(const EnvDefinition& definition, AutoresetMode mode, std::int32_t limit, Tasks tasks) {
  where = definition.name + " " + definition.kernels + " " + name_of(mode) + " tasks " +
          std::to_string(static_cast<int>(tasks));
  constexpr std::uint64_t kSeed = 0x123456789ABCDEFu;
  BatchEnv env(definition, kRows, 1, mode, limit, kSeed);
  EmulatedEnv emulated(definition, kRows, mode, limit, kSeed, 99);
  if (tasks != Tasks::common) {
    std::vector<double> values;
    std::vector<std::int32_t> ids;
    for (int row = 0; row < (tasks == Tasks::own ? kRows : 5); ++row) {
      const std::vector<double> task = task_of(definition, row);
      values.insert(values.end(), task.begin(), task.end());
      ids.push_back(100 + row);
    }
    if (tasks == Tasks::own) {
      env.set_tasks(values.data(), ids.data());
      emulated.set_tasks(values, ids);
    } else {
      env.set_task_table(values.data(), 5);
      emulated.set_task_table(values, 5);
    }
  }
  const auto obs_bytes = static_cast<std::int64_t>(env.obs_row_bytes());
  CHECK(obs_bytes == emulated.obs_row_bytes());
  {
    Outputs a(definition, obs_bytes, 0), b(definition, obs_bytes, 0);
    env.reset(nullptr, a.obs.data());
    emulated.reset(nullptr, b.obs.data());
    compare(a, b);
    compare(state_of(env), emulated.state());
  }
  Actions actions(definition);
  for (int step = 0; step < 45; ++step) {
    Outputs a(definition, obs_bytes, 1), b(definition, obs_bytes, 1);
    const void* const given = actions.fill(step, 1);
    env.step(given, actions.type(), a.step(definition));
    emulated.step(given, actions.type(), b.step(definition));
    compare(a, b);
    compare_ends(env, emulated);
    if (mode == AutoresetMode::disabled || step % 20 == 19) {
      std::vector<std::uint8_t> mask = state_of(env).done;
      if (step % 20 == 19) mask[3] = mask[4] = 1;
      const std::vector<std::int64_t> rows = {4};
      const std::vector<std::uint64_t> seeds = {777};
      const std::vector<std::uint32_t> streams = {5};
      const metarl::RowSeeds row_seeds{rows.data(), seeds.data(), streams.data(), step % 20 == 19 ? 1 : 0};
      env.reset(mask.data(), a.obs.data(), row_seeds);
      emulated.reset(mask.data(), b.obs.data(), row_seeds);
      compare(a, b);
    }
    if (step % 5 == 4) compare(state_of(env), emulated.state());
  }
  // Given actions, then drawn ones, in two calls of which the second goes on.
  const bool same_step = mode == AutoresetMode::same_step;
  for (int turn = 0; turn < 3; ++turn) {
    constexpr std::int64_t kSteps = 30, kFirst = 12;
    Outputs a(definition, obs_bytes, kSteps), b(definition, obs_bytes, kSteps);
    if (mode == AutoresetMode::disabled) {
      env.reset(nullptr, a.obs.data());
      emulated.reset(nullptr, b.obs.data());
    }
    for (const auto& [begin, end] : {std::pair{std::int64_t{0}, kFirst}, std::pair{kFirst, kSteps}}) {
      metarl::RolloutActions given{nullptr, ActionType::int64, -1.5, 2.0};
      if (turn < 2) {
        given.data = actions.fill(turn + 1, end - begin);
        given.type = actions.type();
      }
      env.rollout(given, begin, end, a.rollout(definition, same_step, env.has_tasks()));
      emulated.rollout(given, begin, end, b.rollout(definition, same_step, env.has_tasks()));
    }
    compare(a, b);
    compare_ends(env, emulated);
    compare(state_of(env), emulated.state());
  }
  CHECK(emulated.status().error == 0);
  CHECK(emulated.status().calls == 45 + 6);
}

bool starts_with(const std::string& text, const char* start) { return text.rfind(start, 0) == 0; }

// Of a case in both precisions, where they have kernels of their own.
std::vector<EnvDefinition> definitions_of(metarl_test::EnvCase c) {
  std::vector<EnvDefinition> definitions = {metarl::make_env_definition(c.id, c.options)};
  c.options.numbers["float32"] = 1;
  EnvDefinition narrow = metarl::make_env_definition(c.id, c.options);
  if (std::string(narrow.kernels) != definitions[0].kernels) definitions.push_back(narrow);
  return definitions;
}

template <class Choose>
void compare_all(Choose choose) {
  int played = 0;
  for (const metarl_test::EnvCase& c : metarl_test::device_env_cases()) {
    if (!choose(c.id)) continue;
    for (const EnvDefinition& definition : definitions_of(c)) {
      for (const AutoresetMode mode : {AutoresetMode::next_step, AutoresetMode::same_step, AutoresetMode::disabled}) {
        for (const Tasks tasks : {Tasks::common, Tasks::own, Tasks::table}) {
          if (tasks != Tasks::common && definition.task_parameters.empty()) continue;
          try {
            compare_play(definition, mode, tasks == Tasks::own ? kNoLimit : 13, tasks);
          } catch (const std::exception& error) {
            std::fprintf(stderr, "%s\n", error.what());
            ++metarl_test::failures();
          }
          ++played;
        }
      }
    }
  }
  std::printf("%d combinations\n", played);
  CHECK(played > 0);
}

bool is_classic(const std::string& id) {
  return starts_with(id, "CartPole-") || starts_with(id, "Mountain") || id == "Acrobot-v1" || id == "Pendulum-v1";
}
bool is_toy_text(const std::string& id) {
  return id == "FrozenLake-v1" || id == "CliffWalking-v1" || id == "Taxi-v4" || id == "Blackjack-v1";
}
bool is_meta(const std::string& id) {
  return starts_with(id, "PointRobot") || starts_with(id, "SparsePointRobot") || starts_with(id, "BernoulliBandit") ||
         starts_with(id, "GaussianBandit") || starts_with(id, "TabularMDP") || starts_with(id, "Maze");
}
bool is_minatar(const std::string& id) { return starts_with(id, "MinAtar/"); }
bool is_minigrid(const std::string& id) { return starts_with(id, "MiniGrid-"); }

const metarl_test::EnvCase& first_case(const std::string& id) {
  static const std::vector<metarl_test::EnvCase> all = metarl_test::device_env_cases();
  for (const metarl_test::EnvCase& c : all) {
    if (c.id == id) return c;
  }
  throw std::out_of_range(id);
}

// An environment after a reset, and outputs whose bytes nobody may write.
struct Refusal {
  explicit Refusal(const std::string& id, AutoresetMode mode = AutoresetMode::next_step)
      : definition(metarl::make_env_definition(id, first_case(id).options)),
        env(definition, kRows, mode, 13, 1, 2),
        untouched(definition, env.obs_row_bytes(), 3),
        out(definition, env.obs_row_bytes(), 3) {
    Outputs start(definition, env.obs_row_bytes(), 0);
    env.reset(nullptr, start.obs.data());
    before = env.state();
  }
  // Nothing changed but the status, which tells of call `call`.
  void check_refused(std::uint32_t error, std::uint64_t call, std::uint64_t item) {
    compare(untouched, out);
    compare(before, env.state());
    CHECK(env.status().error == error);
    CHECK(env.status().first_error == error);
    CHECK(env.status().error_call == call);
    CHECK(env.status().error_item == item);
    CHECK(env.status().bad == 0 && env.status().first_bad_action == 0 && env.status().first_ended_row == 0);
  }
  EnvDefinition definition;
  EmulatedEnv env;
  Outputs untouched, out;
  EmulatedEnv::State before;
};

}  // namespace

TEST(classic_control) { compare_all(is_classic); }
TEST(toy_text) { compare_all(is_toy_text); }
TEST(bsuite) {
  compare_all([](const std::string& id) {
    return !is_classic(id) && !is_toy_text(id) && !is_meta(id) && !is_minatar(id) && !is_minigrid(id);
  });
}
TEST(meta) { compare_all(is_meta); }
TEST(minatar) { compare_all(is_minatar); }
TEST(minigrid) { compare_all(is_minigrid); }

// What the cases above leave out would go untested.
TEST(the_cases_have_every_kernel) {
  std::set<std::string> names;
  for (const metarl_test::EnvCase& c : metarl_test::device_env_cases()) {
    for (const EnvDefinition& definition : definitions_of(c)) names.insert(definition.kernels);
  }
  CHECK(static_cast<int>(names.size()) == metarl_test::num_emulated_kernels());
}

TEST(a_bad_action_changes_nothing) {
  Refusal r("CartPole-v1");
  std::vector<std::int32_t> actions(kRows, 1);
  actions[17] = 2;
  actions[5] = -1;
  r.env.step(actions.data(), ActionType::int32, r.out.step(r.definition));
  r.check_refused(cuda::kErrorAction, 0, 5);
  CHECK(r.env.status().error_integer == -1);
  // The error stays, and a good call goes on.
  actions[17] = actions[5] = 0;
  r.env.step(actions.data(), ActionType::int32, r.out.step(r.definition));
  CHECK(r.env.status().calls == 2 && r.env.status().error == cuda::kErrorAction);
  CHECK(r.env.state().elapsed[0] == 1);
  // Of a second bad call nothing is kept.
  actions[0] = 9;
  r.env.step(actions.data(), ActionType::int32, r.out.step(r.definition));
  CHECK(r.env.status().error_call == 0 && r.env.status().error_integer == -1 && r.env.status().calls == 3);
}

TEST(an_unsigned_action_beyond_int64_is_bad) {
  Refusal r("MiniGrid-Unlock-v0");
  std::vector<std::uint64_t> actions(kRows, 6);
  actions[20] = std::numeric_limits<std::uint64_t>::max();
  r.env.step(actions.data(), ActionType::uint64, r.out.step(r.definition));
  r.check_refused(cuda::kErrorAction, 0, 20);
}

TEST(an_action_that_is_not_finite_changes_nothing) {
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), 1e300}) {
    Refusal r("PointRobot-v0");
    std::vector<double> actions(2 * kRows, 0.5);
    actions[9] = bad;
    r.env.step(actions.data(), ActionType::float64, r.out.step(r.definition));
    r.check_refused(cuda::kErrorAction, 0, 9);
    const double kept = r.env.status().error_number;
    CHECK(kept == bad || (std::isnan(kept) && std::isnan(bad)));
  }
}

TEST(a_bad_action_of_a_later_step_refuses_the_rollout) {
  Refusal r("FrozenLake-v1");
  std::vector<std::uint8_t> actions(3 * kRows, 3);
  actions[2 * kRows + 1] = 4;
  r.env.rollout({actions.data(), ActionType::uint8, 0.0, 0.0}, 0, 3, r.out.rollout(r.definition, false, false));
  r.check_refused(cuda::kErrorAction, 0, 2 * kRows + 1);
  CHECK(r.env.status().error_integer == 4);
}

TEST(an_ended_row_refuses_a_step_without_autoreset) {
  Refusal r("Bandit-v0", AutoresetMode::disabled);  // episodes of one step
  const std::vector<std::int64_t> actions(kRows, 0);
  Outputs first(r.definition, r.env.obs_row_bytes(), 3);
  r.env.step(actions.data(), ActionType::int64, first.step(r.definition));
  r.before = r.env.state();
  r.env.step(actions.data(), ActionType::int64, r.out.step(r.definition));
  r.check_refused(cuda::kErrorEnded, 1, 0);
}

METARL_TEST_MAIN()
