#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include "check.h"
#include "env_cases.h"
#include "metarl/async_env.h"
#include "metarl/errors.h"

using metarl::ActionType;
using metarl::AsyncEnv;
using metarl::AutoresetMode;
using metarl::BatchEnv;
using metarl_test::Actions;
using metarl_test::env_cases;
using metarl_test::EnvCase;
using metarl_test::StepResult;

namespace {

std::shared_ptr<BatchEnv> make(const EnvCase& each, std::int64_t n, AutoresetMode mode) {
  return std::make_shared<BatchEnv>(metarl::make_env_definition(each.id, each.options), n, 1, mode, 9, 17);
}

// What recv hands out.
struct Received {
  Received(const BatchEnv& env, std::int64_t size)
      : rows(static_cast<std::size_t>(size)),
        obs(rows.size() * env.obs_row_bytes()),
        reward(rows.size()),
        terminated(rows.size()),
        truncated(rows.size()),
        prob(env.definition().has_prob ? rows.size() : 0),
        ended(rows.size()),
        final_obs(obs.size()) {
    pointers.rows = rows.data();
    pointers.obs = obs.data();
    pointers.reward = reward.data();
    pointers.terminated = terminated.data();
    pointers.truncated = truncated.data();
    pointers.prob = prob.empty() ? nullptr : prob.data();
    if (env.autoreset_mode() == AutoresetMode::same_step) {
      pointers.ended = ended.data();
      pointers.final_obs = final_obs.data();
    }
  }
  std::vector<std::int64_t> rows;
  std::vector<char> obs;
  std::vector<double> reward;
  std::vector<std::uint8_t> terminated, truncated;
  std::vector<double> prob;
  std::vector<std::uint8_t> ended;
  std::vector<char> final_obs;
  metarl::AsyncOutputs pointers;
};

// Everything that row i returned at its step t, of the batch stepped in one piece.
struct Expected {
  Expected(const EnvCase& each, std::int64_t n, AutoresetMode mode, std::int64_t steps) {
    const std::shared_ptr<BatchEnv> env = make(each, n, mode);
    StepResult result(*env);
    env->reset(nullptr, result.obs.data());
    if (!result.prob.empty()) std::fill(result.prob.begin(), result.prob.end(), 1.0);
    results.push_back(result);
    finals.emplace_back(result.obs.size());
    ended.emplace_back(static_cast<std::size_t>(n), std::uint8_t{0});
    for (std::int64_t t = 0; t < steps; ++t) {
      Actions actions;
      for (std::int64_t i = 0; i < n; ++i) actions.add(env->definition(), i, t);
      env->step(actions.data(), actions.type(), result.pointers());
      results.push_back(result);
      if (mode != AutoresetMode::same_step) continue;
      const auto* const final_obs = static_cast<const char*>(env->final_obs());
      finals.emplace_back(final_obs, final_obs + result.obs.size());
      ended.emplace_back(env->ended(), env->ended() + n);
    }
  }
  std::vector<StepResult> results;
  std::vector<std::vector<char>> finals;
  std::vector<std::vector<std::uint8_t>> ended;
};

bool check_row(const Received& got, std::size_t k, const Expected& expected, std::size_t t, bool same_step) {
  const auto i = static_cast<std::size_t>(got.rows[k]);
  const StepResult& want = expected.results[t];
  const std::size_t bytes = got.obs.size() / got.rows.size();
  const auto same = [&](const std::vector<char>& a, const std::vector<char>& b) {
    return std::memcmp(a.data() + k * bytes, b.data() + i * bytes, bytes) == 0;
  };
  bool ok = same(got.obs, want.obs) && got.reward[k] == want.reward[i] && got.terminated[k] == want.terminated[i] &&
            got.truncated[k] == want.truncated[i];
  if (!got.prob.empty()) ok = ok && got.prob[k] == want.prob[i];
  if (same_step) {
    ok = ok && got.ended[k] == expected.ended[t][i];
    if (got.ended[k]) ok = ok && same(got.final_obs, expected.finals[t]);
  }
  return ok;
}

}  // namespace

TEST(every_row_plays_as_in_a_batch_whatever_the_interleaving) {
  constexpr std::int64_t kRows = 50, kSteps = 40;
  for (const EnvCase& each : env_cases()) {
    for (const AutoresetMode mode : {AutoresetMode::next_step, AutoresetMode::same_step}) {
      const Expected expected(each, kRows, mode, kSteps);
      for (const std::int64_t size : {1, 7, 50}) {
        for (const int threads : {1, 4}) {
          const std::shared_ptr<BatchEnv> env = make(each, kRows, mode);
          AsyncEnv async(env, size, threads);
          async.reset({});
          std::vector<std::int64_t> steps(kRows, 0);
          Received got(*env, size);
          bool ok = true;
          for (std::int64_t turn = 0; ok && turn < kRows * (kSteps / 2) / size; ++turn) {
            async.recv(got.pointers, -1, nullptr);
            Actions actions;
            for (std::size_t k = 0; k < got.rows.size(); ++k) {
              std::int64_t& step = steps[static_cast<std::size_t>(got.rows[k])];
              ok = ok && check_row(got, k, expected, static_cast<std::size_t>(step), mode == AutoresetMode::same_step);
              actions.add(env->definition(), got.rows[k], step++);
            }
            if (*std::max_element(steps.begin(), steps.end()) > kSteps) break;  // further than what is expected
            async.send(actions.data(), actions.type(), got.rows.data(), size);
          }
          CHECK(ok);
        }
      }
    }
  }
}

TEST(with_one_thread_batches_come_in_the_order_sent) {
  const std::shared_ptr<BatchEnv> env = make(env_cases()[0], 10, AutoresetMode::next_step);
  AsyncEnv async(env, 4, 1);
  Received got(*env, 4);
  async.reset({});
  const std::vector<std::uint8_t> actions(4, 1);
  std::vector<std::int64_t> order;
  for (std::int64_t i = 0; i < 10; ++i) order.push_back(i);
  for (std::size_t turn = 0; turn < 200; ++turn) {
    async.recv(got.pointers, -1, nullptr);
    for (std::size_t k = 0; k < 4; ++k) CHECK(got.rows[k] == order[turn * 4 + k]);
    std::swap(got.rows[0], got.rows[3]);  // not in rising order
    order.insert(order.end(), got.rows.begin(), got.rows.end());
    async.send(actions.data(), ActionType::uint8, got.rows.data(), 4);
  }
}

TEST(several_senders_and_receivers) {
  constexpr std::int64_t kRows = 64, kSize = 4;
  const std::shared_ptr<BatchEnv> env = make(env_cases()[3], kRows, AutoresetMode::same_step);
  AsyncEnv async(env, kSize, 3);
  async.reset({});
  std::atomic<int> received{0};
  std::atomic<bool> failed{false};
  std::vector<std::atomic<int>> holders(kRows);
  const auto play = [&] {
    Received got(*env, kSize);
    const std::vector<std::uint8_t> actions(kSize, 1);
    for (int turn = 0; turn < 300; ++turn) {
      async.recv(got.pointers, 60, nullptr);
      for (const std::int64_t row : got.rows) {
        if (holders[static_cast<std::size_t>(row)].fetch_add(1) != 0) failed = true;
      }
      for (const std::int64_t row : got.rows) holders[static_cast<std::size_t>(row)].fetch_sub(1);
      received += 1;
      async.send(actions.data(), ActionType::uint8, got.rows.data(), kSize);
    }
  };
  std::vector<std::thread> threads;
  for (int k = 0; k < 4; ++k) threads.emplace_back(play);
  for (int k = 0; k < 20; ++k) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    CHECK(async.in_flight() <= kRows);
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(received == 4 * 300);
  CHECK(!failed);
}

TEST(resets_while_rows_are_in_flight_start_anew) {
  const EnvCase each = env_cases()[2];
  const Expected expected(each, 40, AutoresetMode::next_step, 1);
  const std::shared_ptr<BatchEnv> env = make(each, 40, AutoresetMode::next_step);
  AsyncEnv async(env, 10, 4);
  Received got(*env, 10);
  std::vector<std::int64_t> rows(40);
  std::vector<std::uint64_t> seeds(40, 17);
  std::vector<std::uint32_t> streams(40);
  for (std::size_t i = 0; i < 40; ++i) {
    rows[i] = static_cast<std::int64_t>(i);
    streams[i] = static_cast<std::uint32_t>(i);
  }
  const std::vector<std::uint8_t> actions(10, 2);
  for (int round = 0; round < 100; ++round) {
    async.reset({rows.data(), seeds.data(), streams.data(), 40});
    async.recv(got.pointers, -1, nullptr);
    for (std::size_t k = 0; k < 10; ++k) CHECK(check_row(got, k, expected, 0, false));
    async.send(actions.data(), ActionType::uint8, got.rows.data(), 10);
    CHECK(async.in_flight() == 40);
  }
}

TEST(recv_never_waits_for_rows_that_nobody_sent) {
  const std::shared_ptr<BatchEnv> env = make(env_cases()[0], 10, AutoresetMode::next_step);
  AsyncEnv async(env, 6, 2);
  Received got(*env, 6);
  const std::vector<std::uint8_t> actions(6, 1);
  CHECK_THROWS(async.recv(got.pointers, -1, nullptr), metarl::ResetNeeded);
  CHECK_THROWS(async.send(actions.data(), ActionType::uint8, got.rows.data(), 1), metarl::ResetNeeded);
  async.reset({});
  async.recv(got.pointers, -1, nullptr);
  bool named = false;
  try {
    async.recv(got.pointers, -1, nullptr);
  } catch (const std::runtime_error& e) {
    named =
        std::string(e.what()).find("needs 6 environments (batch_size), but only 4 are in flight") != std::string::npos;
  }
  CHECK(named);
  std::vector<std::int64_t> bad = {got.rows[0], 10};
  CHECK_THROWS(async.send(actions.data(), ActionType::uint8, bad.data(), 2), std::out_of_range);
  bad[1] = got.rows[0];
  CHECK_THROWS(async.send(actions.data(), ActionType::uint8, bad.data(), 2), std::invalid_argument);
  std::int64_t flying = 0;
  while (std::find(got.rows.begin(), got.rows.end(), flying) != got.rows.end()) ++flying;
  bad[1] = flying;
  CHECK_THROWS(async.send(actions.data(), ActionType::uint8, bad.data(), 2), std::runtime_error);
  const std::uint8_t illegal[] = {1, 3};
  CHECK_THROWS(async.send(illegal, ActionType::uint8, got.rows.data(), 2), std::invalid_argument);
  CHECK(async.in_flight() == 4);
  async.send(actions.data(), ActionType::uint8, got.rows.data(), 2);
  async.recv(got.pointers, -1, nullptr);
  CHECK(async.in_flight() == 0);
}

namespace {

std::atomic<bool> hold{false};
void slow_step(const metarl::EnvBatch& b, std::int64_t begin, std::int64_t end) {
  while (hold) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  for (std::int64_t i = begin; i < end; ++i) b.terminated[i] = b.truncated[i] = 0;
}
void failing_step(const metarl::EnvBatch&, std::int64_t begin, std::int64_t) {
  if (begin >= 3) throw std::runtime_error("row " + std::to_string(begin) + " failed");
}

std::shared_ptr<BatchEnv> with_step(void (*step)(const metarl::EnvBatch&, std::int64_t, std::int64_t)) {
  metarl::EnvDefinition definition = metarl::make_env_definition("MountainCar-v0", metarl_test::mountain_car());
  definition.step = step;
  definition.nanoseconds_per_row = 1e9;  // a job each
  return std::make_shared<BatchEnv>(std::move(definition), 6, 1, AutoresetMode::next_step, 9, 1);
}

const std::int64_t kAll[] = {0, 1, 2, 3, 4, 5};
const std::uint8_t kStill[] = {1, 1, 1, 1, 1, 1};

}  // namespace

TEST(waits_end_by_time_by_a_poll_and_by_close) {
  const std::shared_ptr<BatchEnv> env = with_step(&slow_step);
  AsyncEnv async(env, 6, 2);
  Received got(*env, 6), other(*env, 6);
  async.reset({});
  async.recv(got.pointers, -1, nullptr);
  hold = true;
  async.send(kStill, ActionType::uint8, kAll, 6);
  CHECK_THROWS(async.recv(got.pointers, 0.0, nullptr), metarl::RecvTimeout);
  CHECK_THROWS(async.recv(got.pointers, 0.03, nullptr), metarl::RecvTimeout);
  const auto poll = [] { throw std::logic_error("interrupted"); };
  CHECK_THROWS(async.recv(got.pointers, -1, poll), std::logic_error);
  CHECK(async.in_flight() == 6);
  std::thread releases([] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    hold = false;
  });
  async.recv(got.pointers, 1e300, nullptr);  // the waits that ended took no rows with them
  releases.join();
  hold = true;
  async.send(kStill, ActionType::uint8, kAll, 6);
  std::atomic<bool> closed{false};
  std::thread waits([&] {
    try {
      async.recv(got.pointers, -1, nullptr);
    } catch (const metarl::ClosedError&) {
      closed = true;
    }
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  // All six are claimed: another receiver would wait for ever.
  bool refused = false;
  try {
    async.recv(other.pointers, 60, nullptr);
  } catch (const std::runtime_error& e) {
    refused =
        std::string(e.what()).find("only 0 are in flight that no other thread is waiting for") != std::string::npos;
  }
  CHECK(refused);
  std::thread later([] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    hold = false;
  });
  async.close();
  waits.join();
  later.join();
  CHECK(closed);
  async.close();
  CHECK_THROWS(async.recv(got.pointers, -1, nullptr), metarl::ClosedError);
  CHECK_THROWS(async.send(kStill, ActionType::uint8, kAll, 6), metarl::ClosedError);
  CHECK_THROWS(async.reset({}), metarl::ClosedError);
  // The environment is free again.
  std::vector<char> obs(6 * env->obs_row_bytes());
  env->reset(nullptr, obs.data());
}

TEST(exceptions_in_threads_reach_the_caller) {
  const std::shared_ptr<BatchEnv> env = with_step(&failing_step);
  AsyncEnv async(env, 6, 2);
  Received got(*env, 6);
  async.reset({});
  async.recv(got.pointers, -1, nullptr);
  async.send(kStill, ActionType::uint8, kAll, 6);
  for (int twice = 0; twice < 2; ++twice) {
    std::string message;
    try {
      async.recv(got.pointers, 60, nullptr);
    } catch (const std::runtime_error& e) {
      message = e.what();
    }
    CHECK(message.find("failed") != std::string::npos);
  }
  CHECK_THROWS(async.send(kStill, ActionType::uint8, kAll, 1), std::runtime_error);
  async.reset({});
  async.recv(got.pointers, -1, nullptr);
  async.send(kStill, ActionType::uint8, kAll, 3);
  CHECK(async.in_flight() == 3);
}

TEST(others_may_use_the_environment_only_in_a_pause) {
  const std::shared_ptr<BatchEnv> env = make(env_cases()[0], 20, AutoresetMode::next_step);
  std::vector<char> obs(20 * env->obs_row_bytes());
  AsyncEnv async(env, 5, 3);
  CHECK_THROWS(env->reset(nullptr, obs.data()), std::runtime_error);
  CHECK_THROWS(AsyncEnv(env, 5, 3), std::runtime_error);
  Received got(*env, 5);
  async.reset({});
  const std::vector<std::uint8_t> actions(5, 1);
  for (int round = 0; round < 100; ++round) {
    async.recv(got.pointers, -1, nullptr);
    async.send(actions.data(), ActionType::uint8, got.rows.data(), 5);
    async.pause();
    // Everything sent is done: all rows have taken as many steps as they were sent.
    std::vector<std::int32_t> elapsed(20);
    metarl::EnvStateOut out;
    out.elapsed = elapsed.data();
    env->get_state(out);
    CHECK_THROWS(async.recv(got.pointers, -1, nullptr), std::runtime_error);
    CHECK_THROWS(async.send(actions.data(), ActionType::uint8, got.rows.data(), 5), std::runtime_error);
    CHECK_THROWS(async.pause(), std::runtime_error);
    async.resume();
    CHECK_THROWS(env->get_state(out), std::runtime_error);
  }
}

METARL_TEST_MAIN()
