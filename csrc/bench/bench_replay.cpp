// Time of a prioritized replay buffer from C++, without Python: metarl_bench_replay [--seconds S] [--capacity N ...]
//
// The small transitions of `metarl bench replay` (two observations of four floats, an action, a reward, a flag); what
// stands there above these figures is the way through Python.
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "bench/bench_timer.h"
#include "metarl/isa.h"
#include "metarl/replay_buffer.h"

namespace {

using metarl::ColumnSource;
using metarl::bench::least_seconds;

constexpr std::int64_t kChunk = 1024;
constexpr double kBeta = 0.4;

std::vector<metarl::FieldSpec> fields() {
  return {{"obs", 16, 4}, {"action", 8, 8}, {"reward", 4, 4}, {"next_obs", 16, 4}, {"done", 1, 1}};
}

// kChunk transitions, or a batch's arrays.
struct Rows {
  explicit Rows(std::int64_t n) {
    std::size_t f = 0;
    for (const metarl::FieldSpec& field : fields()) {
      memory[f].resize(static_cast<std::size_t>(n) * field.bytes);
      sources[f] = {memory[f].data(), static_cast<std::ptrdiff_t>(field.bytes)};
      columns[f] = memory[f].data();
      ++f;
    }
  }
  std::array<std::vector<std::byte>, 5> memory;
  std::array<ColumnSource, 5> sources;
  std::array<std::byte*, 5> columns;
};

struct Batch {
  explicit Batch(std::int64_t n)
      : rows(n),
        indices(static_cast<std::size_t>(n)),
        probabilities(indices.size()),
        weights(indices.size()),
        out{indices.data(), probabilities.data(), weights.data(), rows.columns.data()} {}
  Rows rows;
  std::vector<std::int64_t> indices;
  std::vector<double> probabilities;
  std::vector<float> weights;
  metarl::SampleOutput out;
};

void measure(std::int64_t capacity, double budget) {
  metarl::ReplayOptions options;
  options.capacity = capacity;
  options.fields = fields();
  metarl::PrioritizedReplayBuffer buffer(options, metarl::PrioritizedOptions{});
  const Rows rows(kChunk);
  std::vector<std::int64_t> slots(kChunk);
  std::mt19937_64 random(1);
  std::lognormal_distribution<float> error(0.0f, 1.0f);
  std::vector<float> errors(std::size_t{1} << 16);
  for (float& e : errors) e = error(random);
  for (std::int64_t first = 0; first < capacity; first += kChunk) {
    buffer.add(rows.sources.data(), nullptr, kChunk, slots.data());
    buffer.update_priorities(slots.data(), errors.data() + first % (1 << 15), kChunk, nullptr, false);
  }
  for (const std::int64_t n : {1, 32, 256, 1024}) {
    Batch batch(n);
    metarl::SampleRequest request;
    request.n = n;
    request.beta = kBeta;
    std::vector<std::int64_t> indices(std::size_t{1} << 18);
    for (std::int64_t& i : indices) i = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(capacity));
    std::size_t position = 0;
    std::size_t error_position = 0;
    // One batch of errors more than of indices: no update repeats what is there.
    const auto next = [](std::size_t* at, std::size_t step, std::size_t size) {
      *at = *at + 2 * step <= size ? *at + step : 0;
      return *at;
    };
    const auto step = static_cast<std::size_t>(n);
    const auto next_errors = [&] { return errors.data() + next(&error_position, step, errors.size() - step); };
    const double sample = least_seconds(budget, [&] { buffer.sample(request, batch.out); });
    const double update = least_seconds(budget, [&] {
      buffer.update_priorities(indices.data() + next(&position, step, indices.size()), next_errors(), n, nullptr,
                               false);
    });
    const double loop = least_seconds(budget, [&] {
      const metarl::WriteMark mark = buffer.sample(request, batch.out);
      buffer.update_priorities(batch.indices.data(), next_errors(), n, &mark, false);
    });
    const double add = least_seconds(budget, [&] { buffer.add(rows.sources.data(), nullptr, n, slots.data()); });
    const double scale = 1e9 / static_cast<double>(n);
    std::printf("%9lld %5lld | %8.1f %8.1f %8.1f %8.1f\n", static_cast<long long>(capacity), static_cast<long long>(n),
                sample * scale, update * scale, loop * scale, add * scale);
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  double budget = 0.25;
  std::vector<std::int64_t> capacities;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--seconds" && i + 1 < argc) {
      budget = std::atof(argv[++i]);
    } else if (argument == "--capacity" && i + 1 < argc) {
      capacities.push_back(std::atoll(argv[++i]) / kChunk * kChunk);
    } else {
      std::fprintf(stderr,
                   "usage: %s [--seconds S] [--capacity N ...]\n"
                   "  --seconds S    time for each figure (default 0.25)\n"
                   "  --capacity N   slots, rounded down to a multiple of %lld\n",
                   argv[0], static_cast<long long>(kChunk));
      return 2;
    }
  }
  if (capacities.empty()) capacities = {1 << 16, 1 << 20, 1 << 24};
  std::printf(
      "instruction set %s; ns a transition, least of many repetitions\n\n"
      " capacity batch |   sample   update     loop      add\n",
      metarl::isa_name(metarl::active_isa()));
  for (const std::int64_t capacity : capacities) {
    if (capacity < kChunk) {
      std::fprintf(stderr, "capacity must be at least %lld\n", static_cast<long long>(kChunk));
      return 2;
    }
    measure(capacity, budget);
  }
  return 0;
}
