// The emulator itself: exchanges as the CUDA programming guide defines them, races that show, faults that are reported.
#include <cstdint>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "check.h"
#include "simt/emulator.h"

using simt::Context;
using simt::Device;

namespace {

struct NoShared {};
constexpr std::uint32_t kAll = 0xFFFFFFFFu;

template <typename Shared = NoShared, typename Body>
void launch(Device& device, int blocks, int threads, Body body) {
  device.launch<Shared>("kernel", blocks, threads, body);
}

// What the fault says, "" if there is none.
template <typename Shared = NoShared, typename Body>
std::string fault_of(int blocks, int threads, Body body, Device* device = nullptr) {
  Device own(7);
  try {
    launch<Shared>(device != nullptr ? *device : own, blocks, threads, body);
  } catch (const simt::Fault& fault) {
    return fault.what();
  }
  return "";
}

bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

template <typename T>
std::vector<T> read(const T* at, std::size_t n) {
  return std::vector<T>(at, at + n);
}

}  // namespace

TEST(shuffles_exchange_between_the_lanes_of_a_warp) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Device device(seed);
    auto* from_next = device.allocate<std::uint64_t>(128, "from_next");
    auto* from_pair = device.allocate<int>(128, "from_pair");
    auto* prefix = device.allocate<int>(128, "prefix");
    auto* odd = device.allocate<std::uint32_t>(128, "odd");
    launch(device, 2, 64, [&](Context& ctx, NoShared*) {
      const int own = ctx.block() * 64 + ctx.thread();
      ctx.store(from_next + own,
                ctx.shuffle(kAll, (std::uint64_t{1} << 40) + static_cast<unsigned>(own), ctx.lane() + 1));
      ctx.store(from_pair + own, ctx.shuffle_xor(kAll, own, 1));
      int sum = 1;
      for (int step = 1; step < 8; step *= 2) {
        const int before = ctx.shuffle_up(kAll, sum, step, 8);
        if (ctx.lane() % 8 >= step) sum += before;
      }
      ctx.store(prefix + own, sum);
      ctx.store(odd + own, ctx.ballot(kAll, own % 2 == 1));
    });
    for (int i = 0; i < 128; ++i) {
      const int next = i % 32 == 31 ? i - 31 : i + 1;
      CHECK(from_next[i] == (std::uint64_t{1} << 40) + static_cast<unsigned>(next));
      CHECK(from_pair[i] == (i ^ 1));
      CHECK(prefix[i] == i % 8 + 1);
      CHECK(odd[i] == 0xAAAAAAAAu);
    }
  }
}

TEST(halves_of_a_warp_exchange_apart_under_their_masks) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Device device(seed);
    auto* out = device.allocate<int>(32, "out");
    launch(device, 1, 32, [&](Context& ctx, NoShared*) {
      int sum = ctx.thread();
      if (ctx.lane() < 16) {
        for (int step = 1; step < 16; step *= 2) sum += ctx.shuffle_xor(0x0000FFFFu, sum, step);
      } else {
        sum = static_cast<int>(ctx.ballot(0xFFFF0000u, ctx.lane() != 20));
      }
      ctx.store(out + ctx.thread(), ctx.shuffle(kAll, sum, ctx.lane() ^ 16));
    });
    for (int i = 0; i < 32; ++i) CHECK(out[i] == (i >= 16 ? 120 : static_cast<int>(0xFFEF0000u)));
  }
}

TEST(barriers_and_shared_memory) {
  struct Shared {
    int values[256];
  };
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Device device(seed);
    auto* out = device.allocate<int>(256 * 3, "out");
    launch<Shared>(device, 3, 256, [&](Context& ctx, Shared* shared) {
      ctx.store(shared->values + ctx.thread(), ctx.thread() * ctx.block());
      ctx.sync();
      ctx.store(out + ctx.block() * 256 + ctx.thread(), ctx.load(shared->values + 255 - ctx.thread()));
    });
    for (int i = 0; i < 256 * 3; ++i) CHECK(out[i] == (255 - i % 256) * (i / 256));
  }
}

TEST(atomics_lose_nothing_where_plain_additions_do) {
  std::set<std::uint64_t> sums;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Device device(seed);
    auto* racy = static_cast<std::uint64_t*>(device.allocate_zeroed(8, "racy"));
    auto* sum = static_cast<std::uint64_t*>(device.allocate_zeroed(8, "sum"));
    auto* top = static_cast<std::uint32_t*>(device.allocate_zeroed(4, "top"));
    launch(device, 8, 64, [&](Context& ctx, NoShared*) {
      ctx.store(racy, ctx.load(racy) + 1);
      ctx.atomic_add(sum, 1);
      ctx.atomic_max(top, static_cast<std::uint32_t>(ctx.block() * 64 + ctx.thread()));
    });
    CHECK(*sum == 512);
    CHECK(*top == 511);
    sums.insert(*racy);
  }
  CHECK(sums.size() > 10);  // the race differs from seed to seed
}

TEST(a_missing_barrier_differs_between_seeds) {
  struct Shared {
    int values[64];
  };
  std::set<std::vector<int>> results;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Device device(seed);
    auto* out = device.allocate<int>(64, "out");
    launch<Shared>(device, 1, 64, [&](Context& ctx, Shared* shared) {
      ctx.store(shared->values + ctx.thread(), 0);
      ctx.sync();
      ctx.store(shared->values + ctx.thread(), 1);
      // here one is missing
      ctx.store(out + ctx.thread(), ctx.load(shared->values + (ctx.thread() + 32) % 64));
    });
    results.insert(read(out, 64));
  }
  CHECK(results.size() > 10);
}

TEST(one_seed_is_one_order) {
  std::vector<std::uint64_t> racy;
  for (int i = 0; i < 2; ++i) {
    Device device(5);
    auto* sum = static_cast<std::uint64_t*>(device.allocate_zeroed(8, "sum"));
    launch(device, 4, 128, [&](Context& ctx, NoShared*) { ctx.store(sum, ctx.load(sum) + 1); });
    racy.push_back(*sum);
  }
  CHECK(racy[0] == racy[1]);
}

TEST(wrong_masks_are_reported) {
  const std::string own = fault_of(1, 32, [](Context& ctx, NoShared*) { ctx.shuffle(0x0000FFFFu, 1, 0); });
  CHECK(contains(own, "is not in the mask of its own exchange"));
  const std::string source = fault_of(1, 32, [](Context& ctx, NoShared*) {
    if (ctx.lane() < 8) ctx.shuffle(0xFFu, 1, 9);
  });
  CHECK(contains(source, "reads lane 9, which is not in the mask"));
  const std::string absent = fault_of(1, 32, [](Context& ctx, NoShared*) {
    if (ctx.lane() != 3) ctx.ballot(kAll, true);
  });
  CHECK(contains(absent, "for lane 3, which has ended"));
  const std::string short_warp = fault_of(1, 40, [](Context& ctx, NoShared*) { ctx.ballot(kAll, true); });
  CHECK(contains(short_warp, "for lane 8, which does not exist"));
  const std::string other_mask = fault_of(1, 32, [](Context& ctx, NoShared*) {
    ctx.ballot(ctx.lane() == 0 ? kAll : 0xFFFFFFFEu | (ctx.lane() == 1 ? 1u : 0u), true);
  });
  CHECK(contains(other_mask, "waits with another mask"));
  const std::string other_place = fault_of(1, 32, [](Context& ctx, NoShared*) {
    if (ctx.lane() < 16) {
      ctx.ballot(kAll, true);
    } else {
      ctx.ballot(kAll, false);
    }
  });
  CHECK(contains(other_place, "is at the exchange of line"));
}

TEST(divergent_barriers_are_reported) {
  const std::string gone = fault_of(1, 64, [](Context& ctx, NoShared*) {
    if (ctx.thread() != 40) ctx.sync();
  });
  CHECK(contains(gone, "for thread 40, which has ended"));
  const std::string elsewhere = fault_of(1, 64, [](Context& ctx, NoShared*) {
    if (ctx.thread() < 32) {
      ctx.sync();
    } else {
      ctx.sync();
    }
  });
  CHECK(contains(elsewhere, "is at the barrier of line"));
  const std::string exchange = fault_of(1, 64, [](Context& ctx, NoShared*) {
    if (ctx.lane() != 5) ctx.ballot(kAll, true);
    ctx.sync();
  });
  CHECK(contains(exchange, "waits at"));
}

TEST(bad_accesses_are_reported) {
  Device device(1);
  auto* values = device.upload(std::vector<std::uint32_t>{1, 2, 3}, "values");
  auto* fresh = device.allocate<std::uint32_t>(8, "fresh");
  const auto fault = [&](auto body) { return fault_of(1, 1, body, &device); };
  CHECK(contains(fault([&](Context& ctx, NoShared*) { ctx.load(values + 3); }), "accesses 'values' at byte 12 of 12"));
  CHECK(contains(fault([&](Context& ctx, NoShared*) { ctx.store(values - 1, 0); }), "accesses"));
  CHECK(contains(fault([&](Context& ctx, NoShared*) { ctx.load(fresh + 2); }),
                 "'fresh' at byte 8, which was not written"));
  CHECK(contains(fault([&](Context& ctx, NoShared*) { ctx.atomic_add(fresh, 1); }), "which was not written"));
  CHECK(contains(fault([&](Context& ctx, NoShared*) { ctx.load_vector<4>(values); }), "accesses 'values'"));
  CHECK(contains(fault([&](Context& ctx, NoShared*) {
                   for (int i = 0; i < 8; ++i) ctx.store(fresh + i, 1);
                   ctx.load_vector<4>(fresh + 1);
                 }),
                 "is misaligned: 'fresh' at byte 4"));
  int host = 0;
  CHECK(!fault([&](Context& ctx, NoShared*) { ctx.store(&host, 1); }).empty());
  CHECK(contains(fault_of<std::uint64_t>(1, 1, [](Context& ctx, std::uint64_t* shared) { ctx.load(shared); }),
                 "'shared memory' at byte 0, which was not written"));
  // After a fault the device works on.
  launch(device, 1, 32, [&](Context& ctx, NoShared*) { ctx.atomic_add(values, 1); });
  CHECK(values[0] == 33);
}

TEST(launches_that_no_gpu_takes_are_refused) {
  CHECK(!fault_of(0, 32, [](Context&, NoShared*) {}).empty());
  CHECK(!fault_of(1, 1025, [](Context&, NoShared*) {}).empty());
}

METARL_TEST_MAIN()
