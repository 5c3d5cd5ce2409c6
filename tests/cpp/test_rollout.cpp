#include <algorithm>
#include <atomic>
#include <limits>

#include "check.h"
#include "env_cases.h"

using metarl::ActionType;
using metarl::AutoresetMode;
using metarl::BatchEnv;
using metarl_test::Actions;
using metarl_test::env_cases;
using metarl_test::EnvCase;
using metarl_test::StepResult;

namespace {

struct Arrays {
  Arrays(const BatchEnv& env, std::int64_t steps)
      : obs(static_cast<std::size_t>((steps + 1) * env.num_envs()) * env.obs_row_bytes()),
        discrete(static_cast<std::size_t>(steps * env.num_envs())),
        continuous(discrete.size()),
        reward(discrete.size()),
        terminated(discrete.size()),
        truncated(discrete.size()),
        valid(discrete.size()),
        final_obs(discrete.size() * env.obs_row_bytes()),
        prob(env.definition().has_prob ? discrete.size() : 0),
        end_flag(env.definition().has_end_flag ? discrete.size() : 0) {
    const bool is_discrete = env.definition().num_actions > 0;
    pointers = {obs.data(),
                is_discrete ? static_cast<void*>(discrete.data()) : static_cast<void*>(continuous.data()),
                reward.data(),
                terminated.data(),
                truncated.data(),
                valid.data(),
                prob.empty() ? nullptr : prob.data(),
                env.autoreset_mode() == AutoresetMode::same_step ? final_obs.data() : nullptr,
                end_flag.empty() ? nullptr : end_flag.data(),
                nullptr};
  }
  bool operator==(const Arrays& other) const {
    return obs == other.obs && discrete == other.discrete && continuous == other.continuous && reward == other.reward &&
           terminated == other.terminated && truncated == other.truncated && valid == other.valid &&
           final_obs == other.final_obs && prob == other.prob && end_flag == other.end_flag;
  }
  std::vector<char> obs;
  std::vector<std::int64_t> discrete;
  std::vector<float> continuous;
  std::vector<double> reward;
  std::vector<std::uint8_t> terminated, truncated, valid;
  std::vector<char> final_obs;
  std::vector<double> prob;
  std::vector<std::uint8_t> end_flag;
  metarl::RolloutOutputs pointers;
};

BatchEnv make(const EnvCase& each, std::int64_t n, int threads, AutoresetMode mode) {
  metarl::EnvDefinition definition = metarl::make_env_definition(each.id, each.options);
  definition.nanoseconds_per_row = 1000;  // pretend, so that threads are used
  return BatchEnv(std::move(definition), n, threads, mode, 9, 17);
}

Actions actions_of(const BatchEnv& env, std::int64_t first, std::int64_t steps) {
  Actions actions;
  for (std::int64_t t = first; t < first + steps; ++t) {
    for (std::int64_t i = 0; i < env.num_envs(); ++i) actions.add(env.definition(), i, t);
  }
  return actions;
}

template <class T>
bool same(const std::vector<T>& step, const std::vector<T>& all, std::int64_t t) {
  return std::equal(step.begin(), step.end(), all.begin() + t * static_cast<std::int64_t>(step.size()));
}

}  // namespace

TEST(a_rollout_has_the_bits_of_its_steps) {
  constexpr std::int64_t kSteps = 40;
  for (const EnvCase& each : env_cases()) {
    for (const AutoresetMode mode : {AutoresetMode::next_step, AutoresetMode::same_step}) {
      for (const int threads : {1, 3}) {
        BatchEnv env = make(each, 333, threads, mode), stepped = make(each, 333, 1, mode);
        StepResult result(stepped);
        Arrays all(env, kSteps);
        env.reset(nullptr, all.obs.data());
        stepped.reset(nullptr, result.obs.data());
        const Actions actions = actions_of(env, 0, kSteps);
        env.rollout({actions.data(), actions.type()}, 0, kSteps, all.pointers);
        CHECK(same(result.obs, all.obs, 0));
        std::vector<std::uint8_t> reset_next(333, 0);
        std::int64_t ends = 0;
        for (std::int64_t t = 0; t < kSteps; ++t) {
          const Actions now = actions_of(env, t, 1);
          stepped.step(now.data(), now.type(), result.pointers());
          CHECK(same(result.obs, all.obs, t + 1));
          CHECK(same(result.reward, all.reward, t));
          CHECK(same(result.terminated, all.terminated, t));
          CHECK(same(result.truncated, all.truncated, t));
          CHECK(same(result.prob, all.prob, t));
          for (std::size_t i = 0; i < 333; ++i) {
            const std::size_t at = static_cast<std::size_t>(t) * 333 + i;
            CHECK(all.valid[at] == (mode == AutoresetMode::same_step || !reset_next[i]));
            if (env.definition().has_end_flag) CHECK(all.end_flag[at] == stepped.end_flags()[i]);
            reset_next[i] = result.terminated[i] | result.truncated[i];
            ends += reset_next[i];
            if (mode == AutoresetMode::same_step && reset_next[i]) {
              const std::size_t bytes = env.obs_row_bytes();
              CHECK(std::memcmp(all.final_obs.data() + at * bytes,
                                static_cast<const char*>(stepped.final_obs()) + i * bytes, bytes) == 0);
            }
          }
        }
        CHECK(ends > 333);
        // What is told of the last step, too.
        if (mode == AutoresetMode::same_step) {
          CHECK(env.any_ended() == stepped.any_ended());
          for (std::size_t i = 0; i < 333; ++i) {
            CHECK(env.ended()[i] == stepped.ended()[i]);
            const std::size_t bytes = env.obs_row_bytes();
            if (!env.ended()[i]) continue;
            CHECK(std::memcmp(static_cast<const char*>(env.final_obs()) + i * bytes,
                              static_cast<const char*>(stepped.final_obs()) + i * bytes, bytes) == 0);
          }
        }
        // And both go on alike.
        Arrays more(env, 3), others(env, 3);
        env.rollout({}, 0, 3, more.pointers);
        stepped.rollout({}, 0, 3, others.pointers);
        CHECK(more == others);
      }
    }
  }
}

TEST(without_autoreset_rows_stay_where_their_episodes_end) {
  constexpr std::int64_t kSteps = 15, kRows = 150;
  for (const EnvCase& each : env_cases()) {
    BatchEnv env = make(each, kRows, 2, AutoresetMode::disabled),
             other = make(each, kRows, 1, AutoresetMode::next_step);
    Arrays all(env, kSteps), expected(other, kSteps);
    env.reset(nullptr, all.obs.data());
    other.reset(nullptr, all.obs.data());
    const Actions actions = actions_of(env, 0, kSteps);
    // In two parts, the second one of a batch where rows have ended.
    env.rollout({actions.data(), actions.type()}, 0, 1, all.pointers);
    const Actions rest = actions_of(env, 1, kSteps - 1);
    env.rollout({rest.data(), rest.type()}, 1, kSteps, all.pointers);
    other.rollout({actions.data(), actions.type()}, 0, kSteps, expected.pointers);
    const std::size_t bytes = env.obs_row_bytes();
    const auto obs = [&](const Arrays& a, std::size_t t, std::size_t i) {
      return a.obs.data() + (t * kRows + i) * bytes;
    };
    for (std::size_t i = 0; i < kRows; ++i) {
      bool over = false;
      for (std::size_t t = 0; t < kSteps; ++t) {
        const std::size_t at = t * kRows + i;
        CHECK(all.valid[at] == !over);
        if (over) {
          CHECK(all.reward[at] == 0 && !all.terminated[at] && !all.truncated[at]);
          CHECK(std::memcmp(obs(all, t + 1, i), obs(all, t, i), bytes) == 0);
          continue;
        }
        CHECK(all.reward[at] == expected.reward[at]);
        CHECK(all.terminated[at] == expected.terminated[at] && all.truncated[at] == expected.truncated[at]);
        CHECK(std::memcmp(obs(all, t + 1, i), obs(expected, t + 1, i), bytes) == 0);
        over = all.terminated[at] || all.truncated[at];
      }
      CHECK(over);
    }
    CHECK_THROWS(env.rollout({actions.data(), actions.type()}, 0, 1, all.pointers), metarl::ResetNeeded);
  }
}

TEST(illegal_actions_of_any_step_change_nothing) {
  const EnvCase car = env_cases()[0];
  BatchEnv env = make(car, 70, 2, AutoresetMode::next_step), untouched = make(car, 70, 1, AutoresetMode::next_step);
  Arrays all(env, 5), others(untouched, 5);
  std::vector<std::int64_t> actions(5 * 70, 1);
  CHECK_THROWS(env.rollout({actions.data(), ActionType::int64}, 0, 5, all.pointers), metarl::ResetNeeded);
  env.reset(nullptr, all.obs.data());
  untouched.reset(nullptr, others.obs.data());
  actions[4 * 70 + 69] = 3;
  bool named = false;
  try {
    env.rollout({actions.data(), ActionType::int64}, 0, 5, all.pointers);
  } catch (const std::invalid_argument& e) {
    named = std::string(e.what()) == "actions[4, 69] is 3; must be in [0, 3)";
  }
  CHECK(named);
  actions.back() = 2;
  env.rollout({actions.data(), ActionType::int64}, 0, 5, all.pointers);
  untouched.rollout({actions.data(), ActionType::int64}, 0, 5, others.pointers);
  CHECK(all == others);
}

TEST(random_actions_are_uniform_and_those_of_the_row_and_the_step) {
  BatchEnv car = make(env_cases()[0], 1000, 1, AutoresetMode::next_step);
  Arrays all(car, 300);
  car.reset(nullptr, all.obs.data());
  car.rollout({}, 0, 300, all.pointers);
  std::vector<double> counts(3);
  for (const std::int64_t action : all.discrete) counts[static_cast<std::size_t>(action)] += 1;
  double chi_square = 0;
  for (const double count : counts) chi_square += (count - 1e5) * (count - 1e5) / 1e5;
  CHECK(chi_square < 25);
  // The same in two calls, at another number of threads.
  BatchEnv again = make(env_cases()[0], 1000, 3, AutoresetMode::next_step);
  Arrays parts(again, 300);
  again.reset(nullptr, parts.obs.data());
  again.rollout({}, 0, 101, parts.pointers);
  again.rollout({}, 101, 300, parts.pointers);
  CHECK(parts == all);

  BatchEnv pole = make(env_cases()[1], 1000, 1, AutoresetMode::next_step);
  Arrays floats(pole, 100);
  pole.reset(nullptr, floats.obs.data());
  metarl::RolloutActions range;
  range.low = -2;
  range.high = 1;
  pole.rollout(range, 0, 100, floats.pointers);
  double sum = 0, squares = 0;
  for (const float action : floats.continuous) {
    CHECK(action >= -2 && action <= 1);
    sum += static_cast<double>(action);
    squares += static_cast<double>(action) * static_cast<double>(action);
  }
  CHECK(std::abs(sum / 1e5 + 0.5) < 0.015);
  CHECK(std::abs(squares / 1e5 - 1.0) < 0.02);  // variance 3^2 / 12 and the square of the mean
}

TEST(a_poll_that_throws_ends_a_long_rollout) {
  metarl::EnvDefinition definition = metarl::make_env_definition("MountainCar-v0", metarl_test::mountain_car());
  definition.nanoseconds_per_row = 1e6;  // pretend: 20 rows' steps between polls
  BatchEnv env(std::move(definition), 10, 1, AutoresetMode::next_step, 200, 1);
  Arrays all(env, 1000);
  env.reset(nullptr, all.obs.data());
  static int polls = 0;
  const auto poll = [] {
    if (++polls == 3) throw std::runtime_error("interrupted");
  };
  CHECK_THROWS(env.rollout({}, 0, 1000, all.pointers, poll), std::runtime_error);
  CHECK(polls == 3);
  CHECK_THROWS(env.rollout({}, 0, 1000, all.pointers), metarl::ResetNeeded);
  env.reset(nullptr, all.obs.data());
  env.rollout({}, 0, 1000, all.pointers);
}

TEST(rows_that_are_copied_have_the_futures_of_the_original) {
  for (const EnvCase& each : env_cases()) {
    BatchEnv env = make(each, 20, 1, AutoresetMode::next_step);
    Arrays all(env, 30);
    env.reset(nullptr, all.obs.data());
    env.rollout({}, 0, 30, all.pointers);
    const std::size_t width = env.definition().field_names.size();
    constexpr std::size_t kCopies = 3;
    const std::int64_t from[kCopies] = {7, 7, 7}, to[kCopies] = {1, 19, 8};
    std::vector<double> fields(kCopies * width);
    std::int32_t elapsed[kCopies];
    std::uint32_t episode[kCopies], stream[kCopies];
    std::uint64_t seed[kCopies];
    std::uint8_t done[kCopies];
    env.get_state({fields.data(), elapsed, episode, seed, stream, done}, {from, kCopies});
    const metarl::EnvStateIn state{fields.data(), elapsed, episode, seed, stream, done};
    const std::int64_t twice[kCopies] = {1, 19, 1}, outside[kCopies] = {1, 20, 2};
    CHECK_THROWS(env.set_state(state, {twice, kCopies}), std::invalid_argument);
    CHECK_THROWS(env.set_state(state, {outside, kCopies}), std::out_of_range);
    CHECK_THROWS(env.get_state({fields.data()}, {outside, kCopies}), std::out_of_range);
    env.set_state(state, {to, kCopies});
    Arrays copied(env, 30);
    env.rollout({}, 0, 30, copied.pointers);
    for (std::size_t t = 0; t < 30; ++t) {
      const char* const obs = copied.obs.data() + t * 20 * env.obs_row_bytes();
      for (const std::int64_t row : to) {
        const std::size_t i = static_cast<std::size_t>(row);
        CHECK(std::memcmp(obs + i * env.obs_row_bytes(), obs + 7 * env.obs_row_bytes(), env.obs_row_bytes()) == 0);
        CHECK(copied.reward[t * 20 + i] == copied.reward[t * 20 + 7]);
      }
    }
  }
}

METARL_TEST_MAIN()
