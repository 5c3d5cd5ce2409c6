#include <cmath>
#include <thread>
#include <vector>

#include "check.h"
#include "metarl/errors.h"
#include "metarl/replay_buffer.h"

using metarl::ColumnSource;
using metarl::PrioritizedReplayBuffer;
using metarl::SampleOutput;

namespace {

// Columns of 1, 4 and 300 bytes, all derived from one id.
struct Rows {
  std::vector<unsigned char> flags;
  std::vector<std::int32_t> ids;
  std::vector<unsigned char> images;

  explicit Rows(std::int32_t first, std::int32_t n) {
    for (std::int32_t i = first; i < first + n; ++i) {
      flags.push_back(static_cast<unsigned char>(i % 251));
      ids.push_back(i);
      images.insert(images.end(), 300, static_cast<unsigned char>(i % 249));
    }
  }

  std::vector<ColumnSource> sources() const {
    return {{reinterpret_cast<const std::byte*>(flags.data()), 1},
            {reinterpret_cast<const std::byte*>(ids.data()), 4},
            {reinterpret_cast<const std::byte*>(images.data()), 300}};
  }
};

std::vector<metarl::FieldSpec> fields() { return {{"flag", 1, 1}, {"id", 4, 4}, {"image", 300, 1}}; }

struct Sampled {
  std::vector<std::int64_t> indices;
  std::vector<double> probabilities;
  std::vector<float> weights;
  std::vector<unsigned char> flags;
  std::vector<std::int32_t> ids;
  std::vector<unsigned char> images;
  metarl::WriteMark mark;

  Sampled(metarl::ReplayBuffer& buffer, std::int64_t n)
      : indices(static_cast<std::size_t>(n)),
        probabilities(indices.size()),
        weights(indices.size()),
        flags(indices.size()),
        ids(indices.size()),
        images(indices.size() * 300) {
    std::byte* const columns[] = {reinterpret_cast<std::byte*>(flags.data()), reinterpret_cast<std::byte*>(ids.data()),
                                  reinterpret_cast<std::byte*>(images.data())};
    mark = buffer.sample(n, 0.4, SampleOutput{indices.data(), probabilities.data(), weights.data(), columns});
  }

  bool consistent() const {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (flags[i] != ids[i] % 251 || images[i * 300] != ids[i] % 249 || images[i * 300 + 299] != ids[i] % 249) {
        return false;
      }
    }
    return true;
  }
};

}  // namespace

TEST(rows_survive_wrapping_and_long_batches) {
  PrioritizedReplayBuffer buffer(37, fields(), 1, {});
  std::int32_t written = 0;
  for (const std::int32_t n : {1, 36, 5, 37, 38, 100, 1}) {
    buffer.add(Rows(written, n).sources().data(), n);
    written += n;
    const Sampled sampled(buffer, 200);
    CHECK(sampled.consistent());
    for (std::size_t i = 0; i < 200; ++i) {
      const std::int64_t id = sampled.ids[i];
      CHECK(id >= written - buffer.size() && id < written && id % 37 == sampled.indices[i]);
    }
  }
}

TEST(a_failed_update_changes_nothing) {
  PrioritizedReplayBuffer buffer(8, fields(), 1, {});
  buffer.add(Rows(0, 6).sources().data(), 6);
  const std::int64_t outside[] = {0, 6};
  const float errors[] = {2.0f, 3.0f};
  CHECK_THROWS(buffer.update_priorities(outside, errors, 2, nullptr, false), std::out_of_range);
  const std::int64_t inside[] = {0, 5};
  const float bad[] = {2.0f, NAN};
  CHECK_THROWS(buffer.update_priorities(inside, bad, 2, nullptr, false), std::invalid_argument);
  double priority = 0.0;
  buffer.read_priorities(inside, 1, &priority);
  CHECK(priority == 1.0);
  CHECK(buffer.running_max() == 1.0f);
}

TEST(stale_slots_are_found_from_the_write_mark) {
  PrioritizedReplayBuffer buffer(8, fields(), 1, {});
  buffer.add(Rows(0, 8).sources().data(), 8);
  const Sampled sampled(buffer, 4);
  buffer.add(Rows(8, 3).sources().data(), 3);
  const std::int64_t slots[] = {0, 2, 3, 7};
  const float errors[] = {9.0f, 9.0f, 9.0f, 9.0f};
  CHECK_THROWS(buffer.update_priorities(slots, errors, 4, &sampled.mark, true), metarl::StaleIndexError);
  buffer.update_priorities(slots, errors, 4, &sampled.mark, false);
  CHECK(buffer.stale_updates() == 2);
  double priorities[4];
  buffer.read_priorities(slots, 4, priorities);
  CHECK(priorities[0] == 1.0 && priorities[1] == 1.0 && priorities[2] == 9.0 && priorities[3] == 9.0);
}

TEST(threads_may_share_a_buffer) {
  PrioritizedReplayBuffer buffer(500, fields(), 1, {});
  buffer.add(Rows(0, 10).sources().data(), 10);
  std::vector<std::thread> threads;
  std::vector<int> failures(4, 0);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int step = 0; step < 100; ++step) {
        const Rows rows(t * 1000 + step, 20);
        buffer.add(rows.sources().data(), 20);
        const Sampled sampled(buffer, 64);
        failures[static_cast<std::size_t>(t)] += sampled.consistent() ? 0 : 1;
        const std::vector<float> errors(64, static_cast<float>(step + 1));
        buffer.update_priorities(sampled.indices.data(), errors.data(), 64, &sampled.mark, false);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const int count : failures) CHECK(count == 0);
  CHECK(buffer.size() == 500);
}

METARL_TEST_MAIN()
