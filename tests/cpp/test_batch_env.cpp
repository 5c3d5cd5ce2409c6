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
  o.numbers = {{"deterministic", 0}, {"unscaled_move_cost", 0.01}, {"randomize_actions", 1}};
  o.table_rows = o.table_columns = size;
  o.table.assign(static_cast<std::size_t>(size * size), 1);
  return o;
}

metarl::EnvOptions cart_pole_options() {
  metarl::EnvOptions o;
  o.numbers = {{"gravity", 9.8},      {"masscart", 1},
               {"masspole", 0.1},     {"length", 0.5},
               {"force_mag", 10},     {"tau", 0.02},
               {"x_threshold", 2.4},  {"theta_threshold_radians", 0.2},
               {"reset_bound", 0.05}, {"sutton_barto_reward", 0},
               {"semi_implicit", 0},  {"float32", 0}};
  return o;
}

metarl::EnvOptions acrobot_options() {
  metarl::EnvOptions o;
  o.numbers = {
      {"link_length_1", 1}, {"link_mass_1", 1},   {"link_mass_2", 1}, {"link_com_pos_1", 0.5}, {"link_com_pos_2", 0.5},
      {"link_moi", 1},      {"gravity", 9.8},     {"dt", 0.2},        {"max_vel_1", 12.5},     {"max_vel_2", 28.25},
      {"torque", 1},        {"reset_bound", 0.1}, {"nips", 0},        {"float32", 0}};
  return o;
}

metarl::EnvOptions pendulum_options() {
  metarl::EnvOptions o;
  o.numbers = {{"g", 10},         {"m", 1},      {"l", 1},      {"dt", 0.05},  {"max_speed", 8},
               {"max_torque", 2}, {"x_init", 3}, {"y_init", 1}, {"float32", 0}};
  return o;
}

metarl::EnvOptions frozen_lake_options() {
  metarl::EnvOptions o;
  o.numbers = {{"is_slippery", 1},
               {"success_rate", 0.5},
               {"own_goal_reward", 1},
               {"own_hole_reward", 0},
               {"own_frozen_reward", 0}};
  const std::string map = "SFFSHFFFG";
  o.table.assign(map.begin(), map.end());
  o.table_rows = o.table_columns = 3;
  return o;
}

metarl::EnvOptions numbers(std::map<std::string, double> numbers) {
  metarl::EnvOptions o;
  o.numbers = std::move(numbers);
  return o;
}

metarl::EnvOptions mountain_car_continuous_options() {
  return numbers({{"min_action", -1},
                  {"max_action", 1},
                  {"min_position", -1.2},
                  {"max_position", 0.6},
                  {"max_speed", 0.07},
                  {"goal_position", 0.45},
                  {"goal_velocity", 0},
                  {"power", 0.0015},
                  {"gravity", 0.0025},
                  {"reset_low", -0.6},
                  {"reset_high", -0.4},
                  {"float32", 0}});
}

metarl::EnvOptions taxi_options(double rainy, double fickle) {
  return numbers(
      {{"is_rainy", rainy}, {"fickle_passenger", fickle}, {"rainy_probability", 0.8}, {"fickle_probability", 0.5}});
}

metarl::EnvOptions swing_up_options() {
  return numbers({{"height_threshold", 0.5},
                  {"theta_dot_threshold", 1},
                  {"x_reward_threshold", 1},
                  {"move_cost", 0.1},
                  {"x_threshold", 3},
                  {"timescale", 0.01},
                  {"max_time", 0.08},
                  {"init_range", 0.05},
                  {"mass_cart", 1},
                  {"mass_pole", 0.1},
                  {"length", 0.5},
                  {"force_mag", 10},
                  {"gravity", 9.8},
                  {"float32", 0}});
}

metarl::EnvOptions bandit_options(double noise) {
  return numbers(
      {{"num_actions", 3}, {"noise_scale", noise}, {"reward_scale", 1}, {"mean_0", 0.5}, {"mean_1", 0}, {"mean_2", 1}});
}

metarl::EnvOptions minatar_options() {
  metarl::EnvOptions o;
  o.numbers = {{"use_minimal_action_set", 1}, {"sticky_action_prob", 0.25}, {"difficulty_ramping", 1}};
  return o;
}

// Families by number, as define.cpp of minigrid has them.
metarl::EnvOptions minigrid_options(int family, int width, int height, int count, int room_size) {
  return numbers({{"family", static_cast<double>(family)},
                  {"width", static_cast<double>(width)},
                  {"height", static_cast<double>(height)},
                  {"count", static_cast<double>(count)},
                  {"room_size", static_cast<double>(room_size)},
                  {"random_start", 1},
                  {"lava", 1},
                  {"map_seed", -1}});
}

metarl::EnvOptions point_robot_options() {
  return numbers({{"goal_y", 0.25}, {"goal_range", 0.5}, {"max_step", 0.1}, {"goal_tolerance", 0.05}, {"float32", 0}});
}

metarl::EnvOptions sparse_point_robot_options() {
  return numbers({{"circle_radius", 1}, {"max_step", 0.4}, {"goal_radius", 0.5}, {"dense_reward", 0}, {"float32", 0}});
}

metarl::EnvOptions trial_bandit_options(int arms) {
  return numbers({{"num_arms", arms},
                  {"horizon", 7},
                  {"task_seed", -1},
                  {"mean_low", 0},
                  {"mean_high", 1},
                  {"mean_loc", 0},
                  {"mean_scale", 1},
                  {"reward_scale", 1}});
}

metarl::EnvOptions random_mdp_options(int states, double history) {
  return numbers({{"num_states", states},
                  {"num_actions", 3},
                  {"horizon", 2},
                  {"num_episodes", 3},
                  {"history", history},
                  {"task_seed", -1},
                  {"mean_loc", 1},
                  {"mean_scale", 1},
                  {"reward_scale", 1}});
}

metarl::EnvOptions maze_options(int size) {
  return numbers({{"size", size},
                  {"random_start", 1},
                  {"teleport", 0},
                  {"time_limit", 100},
                  {"map_seed", -1},
                  {"goal_row", -1},
                  {"goal_column", -1},
                  {"goal_reward", 1},
                  {"step_reward", -0.5},
                  {"bump_reward", 0},
                  {"shaping", 0.25}});
}

metarl::EnvOptions with(metarl::EnvOptions options, const std::string& name, double value) {
  options.numbers[name] = value;
  return options;
}

struct EnvCase {
  std::string id;
  metarl::EnvOptions options;
};

std::vector<EnvCase> all_cases() {
  return {{"CartPole-v1", cart_pole_options()},
          {"CartPole-v1", with(cart_pole_options(), "float32", 1)},
          {"CartPole-v1", with(cart_pole_options(), "semi_implicit", 1)},
          {"CartPole-v1", with(with(cart_pole_options(), "semi_implicit", 1), "float32", 1)},
          {"MountainCar-v0", mountain_car_options()},
          {"MountainCar-v0", with(mountain_car_options(), "float32", 1)},
          {"Acrobot-v1", acrobot_options()},
          {"Acrobot-v1", with(acrobot_options(), "float32", 1)},
          {"Pendulum-v1", pendulum_options()},
          {"Pendulum-v1", with(pendulum_options(), "float32", 1)},
          {"FrozenLake-v1", frozen_lake_options()},
          {"FrozenLake-v1", with(frozen_lake_options(), "is_slippery", 0)},
          {"MountainCarContinuous-v0", mountain_car_continuous_options()},
          {"MountainCarContinuous-v0", with(mountain_car_continuous_options(), "float32", 1)},
          {"CliffWalking-v1", numbers({{"is_slippery", 0}})},
          {"CliffWalking-v1", numbers({{"is_slippery", 1}})},
          {"Taxi-v4", taxi_options(0, 0)},
          {"Taxi-v4", taxi_options(1, 1)},
          {"Blackjack-v1", numbers({{"natural", 0}, {"sab", 1}})},
          {"Catch-v0", numbers({{"rows", 5}, {"columns", 3}})},
          {"Bandit-v0", bandit_options(0)},
          {"Bandit-v0", bandit_options(1)},
          {"MemoryChain-v0", numbers({{"memory_length", 3}, {"num_bits", 130}})},
          {"DiscountingChain-v0", numbers({{"bonus_chain", 2}})},
          {"CartPoleSwingup-v0", swing_up_options()},
          {"CartPoleSwingup-v0", with(swing_up_options(), "float32", 1)},
          {"DeepSea-v0", deep_sea_options(4)},
          {"DeepSea-v0", with(deep_sea_options(4), "deterministic", 1)},
          {"MinAtar/Breakout-v1", minatar_options()},
          {"MinAtar/Asterix-v1", minatar_options()},
          {"MinAtar/Asterix-v1", with(minatar_options(), "difficulty_ramping", 0)},
          {"MinAtar/Freeway-v1", minatar_options()},
          {"MinAtar/Seaquest-v1", minatar_options()},
          {"MinAtar/SpaceInvaders-v1", minatar_options()},
          {"MinAtar/Breakout-v0", with(minatar_options(), "use_minimal_action_set", 0)},
          {"MiniGrid-Empty-Random-5x5-v0", minigrid_options(0, 5, 5, 0, 0)},
          {"MiniGrid-DoorKey-5x5-v0", minigrid_options(1, 5, 5, 0, 0)},
          {"MiniGrid-MultiRoom-N6-v0", minigrid_options(2, 25, 25, 6, 10)},
          {"MiniGrid-MultiRoom-N6-v0", with(minigrid_options(2, 25, 25, 6, 10), "map_seed", 3)},
          {"MiniGrid-KeyCorridorS3R1-v0", minigrid_options(3, 7, 3, 1, 3)},
          {"MiniGrid-KeyCorridorS4R3-v0", minigrid_options(3, 10, 10, 3, 4)},
          {"MiniGrid-FourRooms-v0", minigrid_options(4, 19, 19, 0, 0)},
          {"MiniGrid-Unlock-v0", minigrid_options(5, 11, 6, 0, 6)},
          {"MiniGrid-LavaCrossingS11N5-v0", minigrid_options(6, 11, 11, 5, 0)},
          {"MiniGrid-SimpleCrossingS9N3-v0", with(minigrid_options(6, 9, 9, 3, 0), "lava", 0)},
          {"PointRobot-v0", point_robot_options()},
          {"PointRobot-v0", with(point_robot_options(), "float32", 1)},
          {"SparsePointRobot-v0", sparse_point_robot_options()},
          {"SparsePointRobot-v0", with(sparse_point_robot_options(), "float32", 1)},
          {"BernoulliBandit-v0", trial_bandit_options(3)},
          {"GaussianBandit-v0", trial_bandit_options(128)},
          {"TabularMDP-v0", random_mdp_options(1, 0)},
          {"TabularMDP-v0", random_mdp_options(7, 1)},
          {"Maze-v0", maze_options(5)},
          {"Maze-v0", maze_options(25)},
          {"Maze-v0", with(maze_options(51), "teleport", 1)}};
}

struct State {
  explicit State(BatchEnv& env)
      : fields(static_cast<std::size_t>(env.num_envs()) * env.definition().field_names.size()),
        elapsed(static_cast<std::size_t>(env.num_envs())),
        episode(elapsed.size()),
        stream(elapsed.size()),
        seed(elapsed.size()),
        done(elapsed.size()) {
    env.get_state({fields.data(), elapsed.data(), episode.data(), seed.data(), stream.data(), done.data()});
  }
  metarl::EnvStateIn pointers() const {
    return {fields.data(), elapsed.data(), episode.data(), seed.data(), stream.data(), done.data()};
  }
  bool operator==(const State&) const = default;
  std::vector<double> fields;
  std::vector<std::int32_t> elapsed;
  std::vector<std::uint32_t> episode, stream;
  std::vector<std::uint64_t> seed;
  std::vector<std::uint8_t> done;
};

struct Outputs {
  explicit Outputs(const BatchEnv& env)
      : obs(static_cast<std::size_t>(env.num_envs()) * env.obs_row_bytes()),
        reward(static_cast<std::size_t>(env.num_envs())),
        terminated(reward.size()),
        truncated(reward.size()),
        prob(env.definition().has_prob ? reward.size() : 0) {}
  metarl::StepOutputs pointers() {
    return {obs.data(), reward.data(), terminated.data(), truncated.data(), prob.empty() ? nullptr : prob.data()};
  }
  bool operator==(const Outputs& other) const {
    return obs == other.obs && terminated == other.terminated && truncated == other.truncated &&
           std::memcmp(reward.data(), other.reward.data(), reward.size() * sizeof(double)) == 0;
  }
  std::vector<char> obs;
  std::vector<double> reward;
  std::vector<std::uint8_t> terminated, truncated;
  std::vector<double> prob;
};

BatchEnv make(const std::string& id, const metarl::EnvOptions& options, std::int64_t n, int threads, AutoresetMode mode,
              std::int32_t limit) {
  return BatchEnv(metarl::make_env_definition(id, options), n, threads, mode, limit, 17);
}

}  // namespace

namespace {

// Legal actions of one step, a different one for every row; continuous ones also beyond the limits.
void step_all(BatchEnv& env, int step, Outputs& out) {
  const auto n = static_cast<std::size_t>(env.num_envs());
  const int choices = env.definition().num_actions;
  if (choices == 0) {
    std::vector<double> torque(n * static_cast<std::size_t>(env.definition().action_size));
    for (std::size_t i = 0; i < torque.size(); ++i) {
      torque[i] = static_cast<double>((i + static_cast<std::size_t>(step)) % 7) - 3.0;
    }
    env.step(torque.data(), ActionType::float64, out.pointers());
    return;
  }
  std::vector<std::int32_t> actions(n);
  for (std::size_t i = 0; i < n; ++i)
    actions[i] = static_cast<std::int32_t>(i + static_cast<std::size_t>(step)) % choices;
  env.step(actions.data(), ActionType::int32, out.pointers());
}

}  // namespace

TEST(a_state_that_is_put_back_repeats_the_steps_of_every_environment) {
  // Rows that do not fill a block or a vector.
  for (const std::int64_t n : {std::int64_t{1}, std::int64_t{37}, std::int64_t{300}}) {
    for (const EnvCase& each : all_cases()) {
      for (const AutoresetMode mode : {AutoresetMode::next_step, AutoresetMode::same_step}) {
        BatchEnv env = make(each.id, each.options, n, 1, mode, 11);
        BatchEnv other = make(each.id, each.options, n, 2, mode, 11);
        Outputs a(env), b(other);
        env.reset(nullptr, a.obs.data());
        for (int step = 0; step < 15; ++step) step_all(env, step, a);
        const State middle(env);
        other.set_state(middle.pointers());
        CHECK(State(other) == middle);
        env.observe(a.obs.data());
        other.observe(b.obs.data());
        CHECK(a.obs == b.obs);
        for (int step = 0; step < 15; ++step) {
          step_all(env, step, a);
          step_all(other, step, b);
          CHECK(a == b);
          CHECK(a.prob == b.prob);
        }
        CHECK(State(env) == State(other));
      }
    }
  }
}

TEST(draws_that_are_given_replace_the_random_numbers) {
  BatchEnv lake = make("FrozenLake-v1", frozen_lake_options(), 3, 1, AutoresetMode::disabled, 100);
  Outputs out(lake);
  const std::vector<double> start(3, 0.0);
  lake.set_state({start.data(), nullptr, nullptr, nullptr, nullptr, nullptr});
  CHECK_THROWS(lake.set_draws({0.5}), std::invalid_argument);
  lake.set_draws({0.1, 0.5, 0.9});  // left, down and right of a step down
  const std::vector<std::uint8_t> down(3, 1);
  lake.step(down.data(), ActionType::uint8, out.pointers());
  const State after(lake);
  CHECK(after.fields == (std::vector<double>{0.0, 3.0, 1.0}));
  CHECK(out.prob == (std::vector<double>{0.25, 0.5, 0.25}));

  BatchEnv sea = make("DeepSea-v0", deep_sea_options(4), 2, 1, AutoresetMode::disabled, 100);
  Outputs deep(sea);
  sea.reset(nullptr, deep.obs.data());
  sea.set_draws({0.0, 0.1, 0.0, 0.9});  // a right move fails below 1 / size
  const std::vector<std::int64_t> right(2, 1);
  sea.step(right.data(), ActionType::int64, deep.pointers());
  const State moved(sea);
  CHECK(moved.fields[1] == 0.0);
  CHECK(moved.fields[6] == 1.0);

  BatchEnv car = make("MountainCar-v0", mountain_car_options(), 2, 1, AutoresetMode::disabled, 100);
  CHECK_THROWS(car.set_draws({0.5, 0.5}), std::invalid_argument);
}

TEST(continuous_actions_of_both_types_mean_the_same_and_must_be_finite) {
  for (const double float32 : {0.0, 1.0}) {
    const metarl::EnvOptions options = with(pendulum_options(), "float32", float32);
    BatchEnv wide = make("Pendulum-v1", options, 5, 1, AutoresetMode::next_step, 100);
    BatchEnv narrow = make("Pendulum-v1", options, 5, 1, AutoresetMode::next_step, 100);
    Outputs a(wide), b(narrow);
    wide.reset(nullptr, a.obs.data());
    narrow.reset(nullptr, b.obs.data());
    std::vector<double> torque = {-2.5, -1.0, 0.0, 0.25, 9.0};
    const std::vector<float> same(torque.begin(), torque.end());
    wide.step(torque.data(), ActionType::float64, a.pointers());
    narrow.step(same.data(), ActionType::float32, b.pointers());
    CHECK(a == b);
    const State before(wide);
    torque[3] = std::numeric_limits<double>::quiet_NaN();
    CHECK_THROWS(wide.step(torque.data(), ActionType::float64, a.pointers()), std::invalid_argument);
    CHECK(State(wide) == before);
  }
}

TEST(tasks_of_narrow_fields_are_kept_in_full) {
  // Fields of this size are float, which does not hold this seed.
  BatchEnv env = make("Maze-v0", maze_options(11), 3, 1, AutoresetMode::next_step, 100);
  CHECK(env.definition().field_type == metarl::FieldType::float32);
  std::vector<double> tasks;
  for (const double seed : {16777217.0, 16777216.0, 16777217.0}) {
    for (const double value : {seed, -1.0, -1.0, 1.0, 0.1, 0.0, 0.0}) tasks.push_back(value);
  }
  const std::vector<std::int32_t> ids = {0, 1, 2};
  env.set_tasks(tasks.data(), ids.data());
  std::vector<double> got(tasks.size());
  std::vector<std::int32_t> got_ids(3);
  env.get_tasks(got.data(), got_ids.data());
  CHECK(got == tasks);
  Outputs out(env);
  env.reset(nullptr, out.obs.data());
  const State state(env);
  const std::size_t width = env.definition().field_names.size();
  bool differ = false;
  for (std::size_t f = 8; f < width; ++f) {
    CHECK(state.fields[f] == state.fields[2 * width + f]);
    differ = differ || state.fields[f] != state.fields[width + f];
  }
  CHECK(differ);
}

TEST(actions_of_several_numbers_are_checked_to_the_last) {
  BatchEnv env = make("PointRobot-v0", point_robot_options(), 300, 2, AutoresetMode::next_step, 100);
  Outputs out(env);
  env.reset(nullptr, out.obs.data());
  const State before(env);
  std::vector<float> actions(600, 0.05f);
  actions[599] = std::numeric_limits<float>::infinity();
  bool named = false;
  try {
    env.step(actions.data(), ActionType::float32, out.pointers());
  } catch (const std::invalid_argument& e) {
    named = std::string(e.what()).rfind("actions[299, 1] is inf", 0) == 0;
  }
  CHECK(named);
  CHECK(State(env) == before);
}

TEST(seeds_of_a_reset_are_those_of_the_rows_named) {
  BatchEnv env = make("CartPole-v1", cart_pole_options(), 4, 1, AutoresetMode::next_step, 100);
  Outputs out(env);
  const std::int64_t rows[] = {1, 3};
  const std::uint64_t seeds[] = {99, 99};
  const std::uint32_t streams[] = {5, 5};
  const std::uint8_t mask[] = {0, 1, 0, 1};
  const State before(env);
  CHECK_THROWS(env.reset(mask, out.obs.data(), {rows, seeds, streams, 2}), metarl::ResetNeeded);
  CHECK(State(env) == before);
  env.reset(nullptr, out.obs.data(), {rows, seeds, streams, 2});
  const State after(env);
  CHECK(after.seed == (std::vector<std::uint64_t>{17, 99, 17, 99}));
  CHECK(after.stream == (std::vector<std::uint32_t>{0, 5, 2, 5}));
  for (std::size_t f = 0; f < 4; ++f) CHECK(after.fields[4 + f] == after.fields[12 + f]);
}

TEST(states_that_cannot_be_are_refused_with_nothing_changed) {
  for (const EnvCase& each : all_cases()) {
    BatchEnv env = make(each.id, each.options, 2, 1, AutoresetMode::next_step, 100);
    Outputs out(env);
    env.reset(nullptr, out.obs.data());
    const State before(env);
    const std::size_t width = env.definition().field_names.size();
    for (const double bad :
         {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), -1e300}) {
      if (bad == -1e300 && each.id == "CartPole-v1" && each.options.numbers.at("float32") == 0) continue;
      if (bad == -1e300 && each.id == "CartPoleSwingup-v0") continue;
      if (bad == -1e300 && each.id == "Pendulum-v1" && each.options.numbers.at("float32") == 0) continue;
      for (std::size_t f = 0; f < width; ++f) {
        State state = before;
        state.fields[width + f] = bad;
        CHECK_THROWS(env.set_state(state.pointers()), std::invalid_argument);
      }
    }
    for (const std::int32_t bad : {-1, std::numeric_limits<std::int32_t>::max()}) {
      State state = before;
      state.elapsed[1] = bad;
      CHECK_THROWS(env.set_state(state.pointers()), std::invalid_argument);
    }
    CHECK(State(env) == before);
  }
}

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
  const std::vector<EnvCase> both = {{"DeepSea-v0", deep_sea_options(5)},
                                     {"Catch-v0", numbers({{"rows", 4}, {"columns", 3}})}};
  for (const int which : {0, 1, 2, 3}) {
    const EnvCase& each = both[static_cast<std::size_t>(which / 2)];
    const AutoresetMode mode = which % 2 == 0 ? AutoresetMode::next_step : AutoresetMode::same_step;
    BatchEnv written = make(each.id, each.options, 200, 1, mode, 1 << 30);
    BatchEnv updated = make(each.id, each.options, 200, 1, mode, 1 << 30);
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
  const State before(env);
  for (const std::int64_t bad : {std::int64_t{-1}, std::int64_t{3}, std::int64_t{1} << 40}) {
    actions[6] = bad;
    bool named = false;
    try {
      env.step(actions.data(), ActionType::int64, out.pointers());
    } catch (const std::invalid_argument& e) {
      named = std::string(e.what()) == "actions[6] is " + std::to_string(bad) + "; must be in [0, 3)";
    }
    CHECK(named);
    CHECK(State(env) == before);
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
