// All methods of a buffer from several threads at once. Run it under ThreadSanitizer (make tsan).
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "check.h"
#include "metarl/errors.h"
#include "metarl/replay_buffer.h"
#include "metarl/replay_state.h"

using namespace metarl;

namespace {

constexpr std::int64_t kCapacity = 1000;
constexpr std::int64_t kBatch = 64;

ReplayOptions options(int n_step) {
  ReplayOptions options;
  options.capacity = kCapacity;
  options.fields = {{"a", 8, 8}, {"image", 512, 1}, {"b", 8, 8}, {"terminated", 1, 1}, {"reward", 4, 4}};
  options.streams.n_step = n_step;
  if (n_step > 1) {
    options.streams.terminated = 3;
    options.streams.reward = 4;
    options.streams.reward_type = RewardType::float32;
  }
  return options;
}

// In every row all fields say the same number.
struct Rows {
  explicit Rows(std::int64_t n)
      : a(static_cast<std::size_t>(n)),
        image(static_cast<std::size_t>(n) * 512),
        b(a),
        ends(a.size()),
        reward(a.size()) {}
  void fill(std::uint64_t first) {
    for (std::size_t i = 0; i < a.size(); ++i) {
      a[i] = first + i;
      b[i] = ~a[i];
      std::fill_n(image.begin() + static_cast<std::ptrdiff_t>(512 * i), 512, static_cast<std::uint8_t>(a[i]));
      reward[i] = 1.0f;
      ends[i] = a[i] % 7 == 0;
    }
  }
  std::vector<ColumnSource> sources() const {
    return {{reinterpret_cast<const std::byte*>(a.data()), 8},
            {reinterpret_cast<const std::byte*>(image.data()), 512},
            {reinterpret_cast<const std::byte*>(b.data()), 8},
            {reinterpret_cast<const std::byte*>(ends.data()), 1},
            {reinterpret_cast<const std::byte*>(reward.data()), 4}};
  }
  std::vector<std::byte*> targets() {
    return {reinterpret_cast<std::byte*>(a.data()), reinterpret_cast<std::byte*>(image.data()),
            reinterpret_cast<std::byte*>(b.data()), reinterpret_cast<std::byte*>(ends.data()),
            reinterpret_cast<std::byte*>(reward.data())};
  }
  bool whole(std::size_t n) const {
    for (std::size_t i = 0; i < n; ++i) {
      if (b[i] != ~a[i]) return false;
      for (std::size_t k = 0; k < 512; ++k) {
        if (image[512 * i + k] != static_cast<std::uint8_t>(a[i])) return false;
      }
    }
    return true;
  }
  std::vector<std::uint64_t> a;
  std::vector<std::uint8_t> image;
  std::vector<std::uint64_t> b;
  std::vector<std::uint8_t> ends;
  std::vector<float> reward;
};

struct Counts {
  std::atomic<std::int64_t> adds{0}, samples{0}, updates{0}, snapshots{0}, clears{0}, torn{0}, wrong{0};
};

void add(ReplayBuffer* buffer, std::uint64_t first, int rounds, Counts* counts) {
  Rows rows(37);
  std::int64_t slots[37];
  // As long as the learners need rows, too: the buffer is cleared now and then.
  for (int k = 0; k < rounds || counts->samples < 2 * rounds; ++k) {
    rows.fill(first + static_cast<std::uint64_t>(k) * 37);
    buffer->add(rows.sources().data(), nullptr, 37, slots);
    for (const std::int64_t slot : slots) counts->wrong += slot < 0 || slot >= kCapacity;
    ++counts->adds;
  }
}

void learn(ReplayBuffer* buffer, int rounds, Counts* counts) {
  Rows rows(kBatch);
  std::int64_t indices[kBatch];
  double probabilities[kBatch];
  float weights[kBatch], errors[kBatch], discounts[kBatch];
  const std::vector<std::byte*> targets = rows.targets();
  for (int k = 0; k < rounds; ++k) {
    SampleRequest request;
    request.n = kBatch;
    request.beta = 0.5;
    request.mode = static_cast<SamplingMode>(k % 3);
    SampleOutput out{indices, probabilities, weights, targets.data(), discounts, nullptr};
    try {
      const WriteMark mark = buffer->sample(request, out);
      ++counts->samples;
      counts->torn += !rows.whole(kBatch);
      for (std::int64_t i = 0; i < kBatch; ++i) {
        counts->wrong +=
            indices[i] < 0 || indices[i] >= kCapacity || !(probabilities[i] > 0.0) || !std::isfinite(weights[i]);
        errors[i] = static_cast<float>(1 + (k + i) % 9);
      }
      buffer->update_priorities(indices, errors, kBatch, &mark, false);
      ++counts->updates;
    } catch (const BufferEmptyError&) {
      --k;
      std::this_thread::yield();
    }
  }
}

void look(ReplayBuffer* buffer, int rounds, Counts* counts) {
  for (int k = 0; k < rounds; ++k) {
    const std::int64_t n = buffer->size();
    counts->wrong += n < 0 || n > kCapacity;
    buffer->visit_state([&](const BufferState& state) {
      const StateArray *a = nullptr, *b = nullptr;
      for (const StateArray& array : state.arrays) {
        if (array.spec.name == "columns/a") a = &array;
        if (array.spec.name == "columns/b") b = &array;
        if (array.spec.name != "priorities") continue;
        for (std::int64_t i = 0; i < array.size(); ++i) {
          float priority;
          std::memcpy(&priority, array.data + i * array.stride, sizeof priority);
          counts->wrong += !(priority > 0.0f);
        }
      }
      counts->wrong += a == nullptr || b == nullptr;
      for (std::int64_t i = 0; i < a->size(); ++i) {
        std::uint64_t left, right;
        std::memcpy(&left, a->data + i * a->stride, sizeof left);
        std::memcpy(&right, b->data + i * b->stride, sizeof right);
        counts->torn += left != ~right;
      }
    });
    ++counts->snapshots;
  }
}

void work(ReplayBuffer* buffer, const char* name) {
  Counts counts;
  std::vector<std::thread> threads;
  for (std::uint64_t k = 0; k < 2; ++k) threads.emplace_back([&, k] { add(buffer, k << 32, 300, &counts); });
  for (int k = 0; k < 2; ++k) threads.emplace_back([&] { learn(buffer, 300, &counts); });
  threads.emplace_back([&] { look(buffer, 60, &counts); });
  threads.emplace_back([&] {
    for (int k = 0; k < 20; ++k) {
      buffer->clear();
      ++counts.clears;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  });
  for (std::thread& thread : threads) thread.join();
  std::printf("%s: %lld adds, %lld samples, %lld updates, %lld snapshots, %lld clears\n", name,
              static_cast<long long>(counts.adds), static_cast<long long>(counts.samples),
              static_cast<long long>(counts.updates), static_cast<long long>(counts.snapshots),
              static_cast<long long>(counts.clears));
  CHECK(counts.torn == 0);
  CHECK(counts.wrong == 0);
  CHECK(counts.adds >= 600 && counts.clears == 20);
  CHECK(counts.samples == 600 && counts.updates == 600);
}

}  // namespace

TEST(a_uniform_buffer_from_six_threads) {
  ReplayBuffer buffer(options(1));
  work(&buffer, "uniform");
}

TEST(a_prioritized_buffer_from_six_threads) {
  PrioritizedReplayBuffer buffer(options(1), {});
  work(&buffer, "prioritized");
}

TEST(n_step_transitions_from_six_threads) {
  PrioritizedReplayBuffer buffer(options(3), {});
  work(&buffer, "n-step");
}

METARL_TEST_MAIN()
