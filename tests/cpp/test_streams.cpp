// Buffers with streams under many options and random rows: what is sampled follows from the rows' own numbers. Meant
// for the sanitizers most of all; tests/python/test_replay_streams_model.py compares with a model item by item.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "check.h"
#include "metarl/replay_buffer.h"

namespace {

constexpr std::int32_t kChainLength = 1000;  // frames of chain c are numbered from c * kChainLength

struct Case {
  std::int64_t capacity;
  std::int64_t num_envs;
  int stack;
  int n_step;
  bool share;
  int sequence_length;
  bool prioritized;
};

// Rows of `num_envs` environments, each an integer that counts up along a chain.
class Rows {
 public:
  Rows(const Case& c, std::uint64_t seed) : case_(c), random_(seed), now_(static_cast<std::size_t>(c.num_envs)) {
    for (std::int32_t& frame : now_) frame = new_chain();
  }

  void make(std::int64_t n) {
    const auto rows = static_cast<std::size_t>(n);
    const auto stack = static_cast<std::size_t>(case_.stack);
    obs.assign(rows * stack, 0);
    next.assign(rows * stack, 0);
    reward.assign(rows, 0.0f);
    terminated.assign(rows, 0);
    truncated.assign(rows, 0);
    env_ids.assign(rows, 0);
    for (std::size_t i = 0; i < rows; ++i) {
      const auto env = static_cast<std::size_t>(random_() % static_cast<std::uint64_t>(case_.num_envs));
      env_ids[i] = static_cast<std::int64_t>(env);
      const std::int32_t first = now_[env] / kChainLength * kChainLength;
      for (std::size_t k = 0; k < stack; ++k) {
        const auto back = static_cast<std::int32_t>(stack - 1 - k);
        obs[i * stack + k] = std::max(first, now_[env] - back);
        next[i * stack + k] = std::max(first, now_[env] + 1 - back);
      }
      reward[i] = static_cast<float>(now_[env] % kChainLength);
      terminated[i] = random_() % 20 == 0 ? 1 : 0;
      truncated[i] = random_() % 20 == 0 ? 1 : 0;
      ++now_[env];
      const bool ends = terminated[i] != 0 || truncated[i] != 0 || random_() % 40 == 0;
      if (ends || now_[env] % kChainLength == kChainLength - 1) now_[env] = new_chain();
    }
  }

  std::vector<metarl::ColumnSource> sources() const {
    const auto bytes = static_cast<std::ptrdiff_t>(sizeof(std::int32_t)) * case_.stack;
    return {{reinterpret_cast<const std::byte*>(obs.data()), bytes},
            {reinterpret_cast<const std::byte*>(next.data()), bytes},
            {reinterpret_cast<const std::byte*>(reward.data()), 4},
            {reinterpret_cast<const std::byte*>(terminated.data()), 1},
            {reinterpret_cast<const std::byte*>(truncated.data()), 1}};
  }

  std::vector<std::int32_t> obs, next;
  std::vector<float> reward;
  std::vector<std::uint8_t> terminated, truncated;
  std::vector<std::int64_t> env_ids;

 private:
  std::int32_t new_chain() { return kChainLength * ++chains_; }

  Case case_;
  std::mt19937_64 random_;
  std::vector<std::int32_t> now_;
  std::int32_t chains_ = 0;
};

metarl::ReplayOptions make_options(const Case& c) {
  metarl::ReplayOptions options;
  options.capacity = c.capacity;
  options.seed = 7;
  const auto bytes = sizeof(std::int32_t) * static_cast<std::size_t>(c.stack);
  options.fields = {
      {"obs", bytes, 4}, {"next_obs", bytes, 4}, {"reward", 4, 4}, {"terminated", 1, 1}, {"truncated", 1, 1}};
  options.fields[0].stack = options.fields[1].stack = c.stack;
  options.fields[1].next_of = 0;
  metarl::StreamOptions& streams = options.streams;
  streams.num_envs = c.num_envs;
  streams.n_step = c.n_step;
  streams.gamma = 0.5;
  streams.share_next = c.share;
  streams.sequence_length = c.sequence_length;
  streams.burn_in = c.sequence_length > 2 ? 1 : 0;
  streams.stride = std::max(1, c.sequence_length / 2);
  streams.reward = 2;
  streams.terminated = 3;
  streams.truncated = 4;
  streams.reward_type = metarl::RewardType::float32;
  return options;
}

// Whether the frames at `frames` are those of a stack whose newest frame is the last of them.
bool is_stack(const std::int32_t* frames, int stack) {
  const std::int32_t newest = frames[stack - 1];
  const std::int32_t first = newest / kChainLength * kChainLength;
  for (int k = 0; k < stack; ++k) {
    if (frames[k] != std::max(first, newest - (stack - 1 - k))) return false;
  }
  return true;
}

void check_case(const Case& c, std::uint64_t seed) {
  std::unique_ptr<metarl::ReplayBuffer> buffer;
  if (c.prioritized) {
    buffer = std::make_unique<metarl::PrioritizedReplayBuffer>(make_options(c), metarl::PrioritizedOptions{});
  } else {
    buffer = std::make_unique<metarl::ReplayBuffer>(make_options(c));
  }
  Rows rows(c, seed);
  std::mt19937_64 random(seed + 1);
  const std::int64_t n = 32;
  const std::int64_t steps = std::max(1, c.sequence_length);
  const auto items = static_cast<std::size_t>(n * steps);
  const auto stack = static_cast<std::size_t>(c.stack);
  std::vector<std::int32_t> obs(items * stack), next(items * stack);
  std::vector<float> reward(items), weights(static_cast<std::size_t>(n)), discounts(static_cast<std::size_t>(n));
  std::vector<std::uint8_t> terminated(items), truncated(items), mask(items);
  std::vector<std::int64_t> indices(static_cast<std::size_t>(n));
  std::vector<double> probabilities(static_cast<std::size_t>(n));
  std::byte* columns[] = {reinterpret_cast<std::byte*>(obs.data()), reinterpret_cast<std::byte*>(next.data()),
                          reinterpret_cast<std::byte*>(reward.data()), reinterpret_cast<std::byte*>(terminated.data()),
                          reinterpret_cast<std::byte*>(truncated.data())};
  for (int call = 0; call < 60; ++call) {
    const auto count = static_cast<std::int64_t>(random() % 90);
    rows.make(count);
    std::vector<std::int64_t> slots(static_cast<std::size_t>(count));
    buffer->add(rows.sources().data(), rows.env_ids.data(), count, slots.data());
    CHECK(std::all_of(slots.begin(), slots.end(), [&](std::int64_t s) { return s >= 0 && s < c.capacity; }));
    if (buffer->size() == 0) continue;
    metarl::SampleOutput out{indices.data(), probabilities.data(), weights.data(), columns};
    out.discounts = discounts.data();
    out.mask = mask.data();
    metarl::SampleRequest request;
    request.n = n;
    request.beta = 0.5;
    request.mode = metarl::SamplingMode::independent;
    buffer->sample(request, out);
    for (std::size_t i = 0; i < items; ++i) {
      if (c.sequence_length > 0 && mask[i] == 0) {
        CHECK(obs[i * stack] == 0 && next[i * stack] == 0);
        CHECK(i % static_cast<std::size_t>(steps) > 0);
        continue;
      }
      const std::int32_t now = obs[i * stack + stack - 1];
      const std::int32_t later = next[i * stack + stack - 1];
      CHECK(is_stack(&obs[i * stack], c.stack) && is_stack(&next[i * stack], c.stack));
      if (c.sequence_length > 0 || c.n_step == 1) {
        CHECK(later == now + 1);
        CHECK(reward[i] == static_cast<float>(now % kChainLength));
        if (c.sequence_length > 0 && i % static_cast<std::size_t>(steps) > 0)
          CHECK(obs[(i - 1) * stack + stack - 1] + 1 == now);
        continue;
      }
      CHECK(later > now && later <= now + c.n_step);
      float sum = 0.0f;
      for (std::int32_t k = 0; k < later - now; ++k)
        sum += std::ldexp(static_cast<float>((now + k) % kChainLength), -k);
      CHECK(std::abs(reward[i] - sum) <= 1e-4f * sum);
      CHECK(discounts[i] == (terminated[i] != 0 ? 0.0f : std::ldexp(1.0f, -(later - now))));
    }
    std::vector<float> errors(static_cast<std::size_t>(n), static_cast<float>(call));
    buffer->update_priorities(indices.data(), errors.data(), n, nullptr, false);
    if (random() % 25 == 0) buffer->clear();
  }
}

TEST(every_environment_needs_room_for_a_transition) {
  for (const int stack : {1, 4}) {
    for (const bool share : {false, true}) {
      if (stack > 1 && !share) continue;
      metarl::ReplayOptions options;
      options.capacity = 60;
      const std::size_t bytes = sizeof(std::int32_t);
      options.fields = {{"obs", bytes * static_cast<std::size_t>(stack), bytes, stack},
                        {"next_obs", bytes * static_cast<std::size_t>(stack), bytes, stack, 0},
                        {"terminated", 1, 1}};
      options.streams.terminated = 2;
      options.streams.share_next = share;
      options.streams.skip_reset_rows = true;
      const std::int64_t most = 60 / (stack + (share ? 1 : 0));
      options.streams.num_envs = most;
      const metarl::ReplayBuffer fits(options);
      for (const std::int64_t num_envs : {most + 1, std::int64_t{0}, std::int64_t{1} << 40}) {
        options.streams.num_envs = num_envs;
        CHECK_THROWS(metarl::ReplayBuffer(options), std::invalid_argument);
      }
    }
  }
}

TEST(samples_follow_from_the_rows_under_all_options) {
  std::uint64_t seed = 0;
  for (const std::int64_t capacity : {13, 50, 400}) {
    for (const std::int64_t num_envs : {1, 3}) {
      for (const int stack : {1, 2, 4}) {
        for (const int n_step : {1, 3}) {
          for (const int sequence : {0, 1, 6}) {
            for (const bool share : {false, true}) {
              if ((stack > 1 && !share) || (sequence > 0 && n_step > 1)) continue;
              const std::int64_t most = capacity / (stack + (share ? 1 : 0));
              check_case({capacity, std::min(num_envs, most), stack, n_step, share, sequence, seed % 2 == 0}, seed);
              ++seed;
            }
          }
        }
      }
    }
  }
}

}  // namespace

METARL_TEST_MAIN()
