// Time of drawing from and updating a sum tree, from C++: metarl_bench_tree [--quick] [--threads N] [--csv]
//
// Beside each figure stands the floor that this machine sets for the same accesses: reading (sample) or reading and
// writing (update) the lines that no cache near the core holds, at random places known in advance, so that all misses
// overlap. A figure near its floor is bound by memory; the rest is arithmetic.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "bench/bench_timer.h"
#include "core/tree_kernels.h"
#include "metarl/aligned_memory.h"
#include "metarl/cpu_count.h"
#include "metarl/isa.h"
#include "metarl/sum_tree.h"

namespace {

using metarl::bench::least_seconds;

// A permutation of [0, capacity) in pieces of one batch, like the indices of a learner that never repeats itself.
struct Batches {
  Batches(std::int64_t capacity, std::int64_t batch, std::uint64_t seed) : size(static_cast<std::size_t>(batch)) {
    std::mt19937_64 random(seed);
    const std::int64_t kept = std::max(batch, std::min<std::int64_t>(capacity, std::int64_t{1} << 18) / batch * batch);
    indices.resize(static_cast<std::size_t>(kept));
    priorities.resize(indices.size() + size);  // one batch more: an index gets another priority each time round
    for (std::int64_t& i : indices) i = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(capacity));
    std::lognormal_distribution<double> priority(0.0, 1.0);
    for (double& p : priorities) p = priority(random);
  }
  const std::int64_t* next() {
    position = position + 2 * size <= indices.size() ? position + size : 0;
    return indices.data() + position;
  }
  const double* next_priorities() {
    priority_position = priority_position + 2 * size <= priorities.size() ? priority_position + size : 0;
    return priorities.data() + priority_position;
  }
  std::size_t size;
  std::size_t position = 0, priority_position = 0;
  std::vector<std::int64_t> indices;
  std::vector<double> priorities;
};

// One line of the leaves and the lines of the lowest nodes for each index; what lies above stays in the near caches.
struct Floor {
  explicit Floor(std::int64_t capacity)
      : leaves(static_cast<std::size_t>(capacity) * 4 + 64), nodes(static_cast<std::size_t>(capacity) / 2 + 256) {
    std::memset(leaves.data(), 1, leaves.size());
    std::memset(nodes.data(), 1, nodes.size());
  }
  void read(const std::int64_t* at, std::int64_t n) {
    std::uint64_t sum = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      const std::uint64_t* node = nodes.as<std::uint64_t>() + (at[i] >> 8) * 16;
      sum += node[0] + node[8] + leaves.as<std::uint32_t>()[at[i]];
    }
    sink = sink + sum;
  }
  void write(const std::int64_t* at, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) {
      std::uint64_t* node = nodes.as<std::uint64_t>() + (at[i] >> 8) * 16;
      ++node[0];
      ++node[8];
      ++leaves.as<std::uint32_t>()[at[i]];
    }
  }
  metarl::AlignedMemory leaves, nodes;
  volatile std::uint64_t sink = 0;
};

struct Result {
  double sample, sample_floor, update, update_floor;  // seconds an index
};

Result measure(metarl::SumTree& tree, Floor& floor, std::int64_t batch, double budget, std::uint64_t seed) {
  Batches batches(tree.capacity(), batch, seed);
  const double top = *std::max_element(batches.priorities.begin(), batches.priorities.end());
  std::vector<std::int64_t> indices(static_cast<std::size_t>(batch));
  std::vector<std::uint32_t> masses(indices.size());
  Result result{};
  const double n = static_cast<double>(batch);
  result.sample =
      least_seconds(budget,
                    [&] { tree.sample(batch, metarl::SamplingMode::stratified, indices.data(), masses.data()); }) /
      n;
  result.update =
      least_seconds(budget, [&] { tree.update(batches.next(), batches.next_priorities(), batch, top); }) / n;
  Batches ascending(tree.capacity(), batch, seed + 1);
  for (std::size_t first = 0; first + ascending.size <= ascending.indices.size(); first += ascending.size) {
    const auto begin = ascending.indices.begin() + static_cast<std::ptrdiff_t>(first);
    std::sort(begin, begin + static_cast<std::ptrdiff_t>(ascending.size));
  }
  result.sample_floor = least_seconds(budget / 2, [&] { floor.read(ascending.next(), batch); }) / n;
  result.update_floor = least_seconds(budget / 2, [&] { floor.write(batches.next(), batch); }) / n;
  return result;
}

void fill(metarl::SumTree& tree) {
  std::mt19937_64 random(1);
  std::lognormal_distribution<double> priority(0.0, 1.0);
  constexpr std::int64_t kChunk = 65536;
  std::vector<std::int64_t> indices(kChunk);
  std::vector<double> priorities(kChunk);
  for (std::int64_t first = 0; first < tree.capacity(); first += kChunk) {
    const std::int64_t n = std::min(kChunk, tree.capacity() - first);
    for (std::int64_t i = 0; i < n; ++i) {
      indices[static_cast<std::size_t>(i)] = first + i;
      priorities[static_cast<std::size_t>(i)] = priority(random);
    }
    tree.set(indices.data(), priorities.data(), n);
  }
}

std::int64_t available_memory() {
  std::int64_t kilobytes = std::int64_t{1} << 40;
  if (std::FILE* file = std::fopen("/proc/meminfo", "r")) {
    char line[128];
    long long value = 0;
    while (std::fgets(line, sizeof line, file) != nullptr) {
      if (std::sscanf(line, "MemAvailable: %lld", &value) == 1) kilobytes = value;
    }
    std::fclose(file);
  }
  return kilobytes * 1024;
}

}  // namespace

int main(int argc, char** argv) {
  bool quick = false, csv = false;
  int max_threads = metarl::available_cpus();
  double budget = 0.25;
  std::vector<std::int64_t> capacities;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--quick") {
      quick = true;
    } else if (argument == "--csv") {
      csv = true;
    } else if (argument == "--threads" && i + 1 < argc) {
      max_threads = std::max(1, std::atoi(argv[++i]));
    } else if (argument == "--seconds" && i + 1 < argc) {
      budget = std::atof(argv[++i]);
    } else if (argument == "--capacity" && i + 1 < argc) {
      capacities.push_back(std::atoll(argv[++i]));
    } else {
      std::fprintf(stderr,
                   "usage: %s [--quick] [--csv] [--threads N] [--seconds S] [--capacity N ...]\n"
                   "  --threads N   with 1 ... N threads, a tree each (default: the processors allowed)\n"
                   "  --seconds S   time for each figure (default 0.25)\n",
                   argv[0]);
      return 2;
    }
  }
  if (capacities.empty()) capacities = {1 << 16, 1 << 20, 1 << 24, 100'000'000};
  if (quick) {
    capacities = {1 << 16, 1 << 20};
    budget = 0.05;
  }
  std::printf(csv ? "capacity,threads,batch,sample_ns,sample_floor_ns,update_ns,update_floor_ns\n"
                  : "instruction set %s; ns an index, least of many repetitions; floor: the same lines, known in "
                    "advance\n\n   leaves threads batch |  sample   floor |  update   floor\n",
              metarl::isa_name(metarl::active_isa()));
  for (const std::int64_t capacity : capacities) {
    for (int threads = 1; threads <= max_threads; threads *= 2) {
      if (threads * capacity * 11 > available_memory()) {
        std::fprintf(stderr, "%lld leaves, %d threads: left out, not enough memory\n", static_cast<long long>(capacity),
                     threads);
        continue;
      }
      std::vector<std::unique_ptr<metarl::SumTree>> trees;
      std::vector<std::unique_ptr<Floor>> floors;
      for (int t = 0; t < threads; ++t) {
        trees.push_back(std::make_unique<metarl::SumTree>(capacity, static_cast<std::uint64_t>(t)));
        fill(*trees.back());
        floors.push_back(std::make_unique<Floor>(capacity));
      }
      for (const std::int64_t batch : {32, 256, 1024, 8192}) {
        std::vector<Result> results(static_cast<std::size_t>(threads));
        std::vector<std::thread> running;
        for (int t = 0; t < threads; ++t) {
          const auto k = static_cast<std::size_t>(t);
          running.emplace_back([&, k] { results[k] = measure(*trees[k], *floors[k], batch, budget, k + 7); });
        }
        for (std::thread& thread : running) thread.join();
        // Of the slowest thread; n threads do n times the work in that time.
        Result r{};
        for (const Result& each : results) {
          r.sample = std::max(r.sample, each.sample);
          r.sample_floor = std::max(r.sample_floor, each.sample_floor);
          r.update = std::max(r.update, each.update);
          r.update_floor = std::max(r.update_floor, each.update_floor);
        }
        std::printf(csv ? "%lld,%d,%lld,%.2f,%.2f,%.2f,%.2f\n" : "%9lld %7d %5lld | %7.2f %7.2f | %7.2f %7.2f\n",
                    static_cast<long long>(capacity), threads, static_cast<long long>(batch), r.sample * 1e9,
                    r.sample_floor * 1e9, r.update * 1e9, r.update_floor * 1e9);
        std::fflush(stdout);
      }
    }
  }
  return 0;
}
