#include <cmath>
#include <cstdlib>
#include <new>
#include <random>
#include <thread>
#include <vector>

#include "check.h"
#include "core/block_copy.h"
#include "metarl/errors.h"
#include "metarl/replay_buffer.h"
#include "metarl/replay_state.h"

namespace {

// Allocations of this thread until one fails; none fails below 0.
thread_local long g_allocations_left = -1;

}  // namespace

void* operator new(std::size_t bytes) {
  if (g_allocations_left >= 0 && g_allocations_left-- == 0) throw std::bad_alloc();
  if (void* p = std::malloc(bytes == 0 ? 1 : bytes)) return p;
  throw std::bad_alloc();
}
// Sanitizers check that every form of new is replaced together with the delete that matches it.
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept { return std::malloc(bytes == 0 ? 1 : bytes); }
void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }

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

metarl::ReplayOptions options(std::int64_t capacity, std::uint64_t seed) {
  metarl::ReplayOptions result;
  result.capacity = capacity;
  result.fields = fields();
  result.seed = seed;
  return result;
}

void add(metarl::ReplayBuffer& buffer, const ColumnSource* columns, std::int64_t n) {
  std::vector<std::int64_t> slots(static_cast<std::size_t>(n));
  buffer.add(columns, nullptr, n, slots.data());
}

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
    mark = buffer.sample({n, 0.4, metarl::SamplingMode::stratified},
                         SampleOutput{indices.data(), probabilities.data(), weights.data(), columns});
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
  PrioritizedReplayBuffer buffer(options(37, 1), {});
  std::int32_t written = 0;
  for (const std::int32_t n : {1, 36, 5, 37, 38, 100, 1}) {
    add(buffer, Rows(written, n).sources().data(), n);
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
  PrioritizedReplayBuffer buffer(options(8, 1), {});
  add(buffer, Rows(0, 6).sources().data(), 6);
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
  PrioritizedReplayBuffer buffer(options(8, 1), {});
  add(buffer, Rows(0, 8).sources().data(), 8);
  const Sampled sampled(buffer, 4);
  add(buffer, Rows(8, 3).sources().data(), 3);
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
  PrioritizedReplayBuffer buffer(options(500, 1), {});
  add(buffer, Rows(0, 10).sources().data(), 10);
  std::vector<std::thread> threads;
  std::vector<int> failures(4, 0);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int step = 0; step < 100; ++step) {
        const Rows rows(t * 1000 + step, 20);
        add(buffer, rows.sources().data(), 20);
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

namespace {

// The whole object as the bytes of a checkpoint.
std::vector<std::byte> content_of(const metarl::ReplayBuffer& buffer) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(metarl::saved_bytes(buffer, {})));
  metarl::MemorySink sink(bytes.data(), bytes.size());
  metarl::save_buffer(buffer, {}, sink);
  return bytes;
}

// Repeats a call with the first, second, ... allocation failing until it succeeds; each failure leaves `buffer` as it
// was. Returns the number of failures.
template <typename F>
int check_failing_allocations(const PrioritizedReplayBuffer& buffer, F&& call) {
  for (int failures = 0;; ++failures) {
    const std::vector<std::byte> before = content_of(buffer);
    bool failed = false;
    g_allocations_left = failures;
    try {
      call();
    } catch (const std::bad_alloc&) {
      failed = true;
    }
    g_allocations_left = -1;
    if (!failed) return failures;
    CHECK(content_of(buffer) == before);
  }
}

}  // namespace

TEST(a_failed_allocation_changes_nothing) {
  PrioritizedReplayBuffer buffer(options(300, 0), {});
  const Rows rows(0, 300);
  add(buffer, rows.sources().data(), 300);
  const Sampled sampled(buffer, 32);
  const std::vector<std::byte> saved = content_of(buffer);
  const std::vector<float> huge(32, 1e30f);
  CHECK(check_failing_allocations(
            buffer, [&] { buffer.update_priorities(sampled.indices.data(), huge.data(), 32, nullptr, false); }) > 0);

  // The next rows get the running maximum after the scale has followed the small priorities: it must be lowered.
  std::vector<std::int64_t> all(300);
  for (std::size_t i = 0; i < 300; ++i) all[i] = static_cast<std::int64_t>(i);
  const std::vector<float> small(300, 1e-5f);
  for (int k = 0; k < 5; ++k) buffer.update_priorities(all.data(), small.data(), 300, &sampled.mark, false);
  const Rows more(300, 90);
  const auto sources = more.sources();
  add(buffer, sources.data(), 0);
  CHECK(check_failing_allocations(buffer, [&] { add(buffer, sources.data(), 90); }) > 0);
  CHECK(buffer.size() == 300);

  CHECK(check_failing_allocations(buffer, [&] {
          const metarl::MemorySource source(saved.data(), saved.size());
          const metarl::CheckpointReader checkpoint(source, "saved");
          const auto fresh = buffer.make_empty();
          fresh->load(metarl::CheckpointState(checkpoint));
          buffer.exchange(*fresh);
        }) > 0);
  CHECK(content_of(buffer) == saved);
}

TEST(threads_copy_what_one_thread_copies) {
  // Elements of several sizes, so that parts begin at odd places; 20000 of them are 12 MB.
  const std::vector<metarl::FieldSpec> specs{{"id", 4, 4}, {"image", 300, 1}, {"large", 317, 1}};
  const std::int64_t n = 20000;
  std::vector<metarl::TransitionStore> stores;
  for (int k = 0; k < 2; ++k) stores.emplace_back(n, specs);
  stores[1].set_num_threads(3);
  CHECK(stores[0].num_threads() == 1 && stores[1].num_threads() == 3);
  std::mt19937_64 random(9);
  std::vector<std::vector<std::byte>> given;
  std::vector<ColumnSource> sources;
  for (const auto& spec : specs) {
    given.emplace_back(static_cast<std::size_t>(n) * spec.bytes);
    for (auto& byte : given.back()) byte = static_cast<std::byte>(random());
    sources.push_back({given.back().data(), static_cast<std::ptrdiff_t>(spec.bytes)});
  }
  std::vector<std::int64_t> slots(static_cast<std::size_t>(n));
  for (auto& slot : slots) slot = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n));
  for (metarl::TransitionStore& store : stores) {
    store.write(0, sources.data(), n);
    std::vector<std::vector<std::byte>> all, some;
    std::vector<std::byte*> pointers;
    for (const auto& spec : specs) {
      all.emplace_back(static_cast<std::size_t>(n) * spec.bytes);
      some.emplace_back(all.back().size());
      pointers.push_back(some.back().data());
    }
    for (std::size_t f = 0; f < specs.size(); ++f) store.read(f, 0, n, all[f].data());
    CHECK(all == given);
    store.gather(slots.data(), n, pointers.data());
    for (std::size_t f = 0; f < specs.size(); ++f) {
      std::vector<std::byte> field(some[f].size());
      store.gather_field(f, slots.data(), n, field.data());
      CHECK(field == some[f]);
      bool equal = true;
      for (std::size_t i = 0; i < slots.size(); ++i) {
        const std::size_t bytes = specs[f].bytes;
        equal = equal &&
                std::equal(some[f].begin() + static_cast<std::ptrdiff_t>(i * bytes),
                           some[f].begin() + static_cast<std::ptrdiff_t>((i + 1) * bytes),
                           given[f].begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(slots[i]) * bytes));
      }
      CHECK(equal);
    }
  }
}

TEST(streaming_copies_are_copies) {
  std::vector<decltype(&metarl::baseline::copy_streaming)> copies{&metarl::baseline::copy_streaming};
#if defined(METARL_HAVE_X86_LEVELS)
  if (metarl::active_isa() >= metarl::Isa::avx2) copies.push_back(&metarl::avx2::copy_streaming);
  if (metarl::active_isa() >= metarl::Isa::avx512) copies.push_back(&metarl::avx512::copy_streaming);
#endif
  const metarl::AlignedMemory to(1024);
  std::vector<std::byte> from(1024);
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<std::byte>(i * 7 + i / 256);
  for (const auto copy : copies) {
    for (std::size_t offset = 0; offset < 80; offset += 16) {
      for (const int size : {0, 1, 15, 63, 64, 65, 127, 128, 300, 700}) {
        const auto bytes = static_cast<std::size_t>(size);
        std::fill_n(to.data(), to.size(), std::byte{0xEE});
        copy(to.data() + offset, from.data() + 3, bytes);
        METARL_SELECT_KERNEL(copy_fence)();
        CHECK(std::equal(from.begin() + 3, from.begin() + 3 + static_cast<std::ptrdiff_t>(bytes), to.data() + offset));
        CHECK(to.data()[offset + bytes] == std::byte{0xEE});
        CHECK(offset == 0 || to.data()[offset - 1] == std::byte{0xEE});
      }
    }
  }
}

METARL_TEST_MAIN()
