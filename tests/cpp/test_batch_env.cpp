#include <cstring>
#include <limits>
#include <thread>

#include "check.h"
#include "metarl/batch_env.h"

using metarl::ActionType;
using metarl::AutoresetMode;
using metarl::BatchEnv;

namespace {

metarl::EnvOptions mountain_car_options() {
  metarl::EnvOptions o;
  o.numbers = {{"min_position", -1.2}, {"max_position", 0.6}, {"max_speed", 0.07}, {"goal_position", 0.5},
               {"goal_velocity", 0},   {"force", 0.001},      {"gravity", 0.0025}, {"reset_low", -0.6},
               {"reset_high", -0.4},   {"float32", 0}};
  return o;
}

metarl::EnvOptions deep_sea_options(std::int64_t size) {
  metarl::EnvOptions o;
  o.numbers = {{"deterministic", 0}, {"unscaled_move_cost", 0.01}};
  o.table_rows = o.table_columns = size;
  o.table.assign(static_cast<std::size_t>(size * size), 1);
  return o;
}

struct Outputs {
  explicit Outputs(const BatchEnv& env)
      : obs(static_cast<std::size_t>(env.num_envs()) * env.obs_row_bytes()),
        reward(static_cast<std::size_t>(env.num_envs())),
        terminated(reward.size()),
        truncated(reward.size()) {}
  metarl::StepOutputs pointers() { return {obs.data(), reward.data(), terminated.data(), truncated.data(), nullptr}; }
  bool operator==(const Outputs& other) const {
    return obs == other.obs && terminated == other.terminated && truncated == other.truncated &&
           std::memcmp(reward.data(), other.reward.data(), reward.size() * sizeof(double)) == 0;
  }
  std::vector<char> obs;
  std::vector<double> reward;
  std::vector<std::uint8_t> terminated, truncated;
};

BatchEnv make(const std::string& id, const metarl::EnvOptions& options, std::int64_t n, int threads, AutoresetMode mode,
              std::int32_t limit) {
  return BatchEnv(metarl::make_env_definition(id, options), n, threads, mode, limit, 17);
}

}  // namespace

TEST(results_do_not_depend_on_the_number_of_threads) {
  for (const AutoresetMode mode : {AutoresetMode::next_step, AutoresetMode::same_step}) {
    for (const bool car : {true, false}) {
      const std::int64_t n = car ? 20011 : 3001;
      const std::string id = car ? "MountainCar-v0" : "DeepSea-v0";
      const metarl::EnvOptions options = car ? mountain_car_options() : deep_sea_options(6);
      const std::int32_t limit = car ? 9 : std::numeric_limits<std::int32_t>::max();
      BatchEnv one = make(id, options, n, 1, mode, limit);
      BatchEnv four = make(id, options, n, 4, mode, limit);
      Outputs a(one), b(four);
      one.reset(nullptr, a.obs.data());
      four.reset(nullptr, b.obs.data());
      CHECK(a == b);
      std::vector<std::int16_t> actions(static_cast<std::size_t>(n));
      for (int step = 0; step < 25; ++step) {
        for (std::size_t i = 0; i < actions.size(); ++i) {
          actions[i] = static_cast<std::int16_t>((i * 7 + static_cast<std::size_t>(step)) % 2);
        }
        one.step(actions.data(), ActionType::int16, a.pointers());
        four.step(actions.data(), ActionType::int16, b.pointers());
        CHECK(a == b);
        if (mode == AutoresetMode::same_step) CHECK(one.any_ended() == four.any_ended());
      }
    }
  }
}

TEST(updating_observations_in_place_equals_writing_them) {
  for (const AutoresetMode mode : {AutoresetMode::next_step, AutoresetMode::same_step}) {
    BatchEnv written = make("DeepSea-v0", deep_sea_options(5), 200, 1, mode, 1 << 30);
    BatchEnv updated = make("DeepSea-v0", deep_sea_options(5), 200, 1, mode, 1 << 30);
    Outputs a(written), b(updated);
    written.reset(nullptr, a.obs.data());
    updated.reset(nullptr, b.obs.data());
    std::vector<std::uint8_t> actions(200);
    for (int step = 0; step < 40; ++step) {
      for (std::size_t i = 0; i < 200; ++i) actions[i] = static_cast<std::uint8_t>((i + i / 7 * 3) % 3 != 0);
      written.step(actions.data(), ActionType::uint8, a.pointers());
      updated.step(actions.data(), ActionType::uint8, b.pointers(), true);
      CHECK(a == b);
    }
  }
}

TEST(illegal_actions_change_nothing) {
  BatchEnv env = make("MountainCar-v0", mountain_car_options(), 10, 1, AutoresetMode::next_step, 200);
  Outputs out(env);
  std::vector<std::int64_t> actions(10, 1);
  CHECK_THROWS(env.step(actions.data(), ActionType::int64, out.pointers()), metarl::ResetNeeded);
  env.reset(nullptr, out.obs.data());
  std::vector<double> before(20), after(20);
  env.get_fields(before.data());
  for (const std::int64_t bad : {std::int64_t{-1}, std::int64_t{3}, std::int64_t{1} << 40}) {
    actions[6] = bad;
    bool named = false;
    try {
      env.step(actions.data(), ActionType::int64, out.pointers());
    } catch (const std::invalid_argument& e) {
      named = std::string(e.what()) == "actions[6] is " + std::to_string(bad) + "; must be in [0, 3)";
    }
    CHECK(named);
    env.get_fields(after.data());
    CHECK(before == after);
    CHECK(env.elapsed()[0] == 0);
  }
}

TEST(a_poll_that_throws_leaves_a_batch_that_needs_a_reset) {
  metarl::EnvDefinition definition = metarl::make_env_definition("MountainCar-v0", mountain_car_options());
  definition.nanoseconds_per_row = 1e6;  // pretend, so that the poll comes after 64 rows
  BatchEnv env(std::move(definition), 1000, 1, AutoresetMode::next_step, 200, 1);
  Outputs out(env);
  env.reset(nullptr, out.obs.data());
  const std::vector<std::uint8_t> actions(1000, 0);
  const auto poll = [] { throw std::runtime_error("interrupted"); };
  CHECK_THROWS(env.step(actions.data(), ActionType::uint8, out.pointers(), false, poll), std::runtime_error);
  CHECK_THROWS(env.step(actions.data(), ActionType::uint8, out.pointers()), metarl::ResetNeeded);
  env.reset(nullptr, out.obs.data());
  env.step(actions.data(), ActionType::uint8, out.pointers());
}

TEST(two_callers_at_once_get_an_error_or_their_turn) {
  BatchEnv env = make("MountainCar-v0", mountain_car_options(), 5000, 2, AutoresetMode::next_step, 200);
  Outputs first(env);
  env.reset(nullptr, first.obs.data());
  std::atomic<int> done{0}, refused{0};
  auto work = [&] {
    Outputs out(env);
    const std::vector<std::uint8_t> actions(5000, 2);
    for (int i = 0; i < 100; ++i) {
      try {
        env.step(actions.data(), ActionType::uint8, out.pointers());
        ++done;
      } catch (const std::runtime_error&) {
        ++refused;
      }
    }
  };
  std::thread a(work), b(work);
  a.join();
  b.join();
  CHECK(done + refused == 200);
  CHECK(done >= 1);
}

TEST(unknown_ids_and_missing_options) {
  CHECK_THROWS(metarl::make_env_definition("Nothing-v0", {}), std::invalid_argument);
  CHECK_THROWS(metarl::make_env_definition("MountainCar-v0", {}), std::invalid_argument);
}

METARL_TEST_MAIN()
