#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.h"
#include "metarl/sequence_priorities.h"

using metarl::mix_sequence_errors;
using metarl::StreamOptions;

namespace {

StreamOptions sequences(int length, int burn_in, double mix) {
  StreamOptions options;
  options.sequence_length = length;
  options.burn_in = burn_in;
  options.priority_mix = mix;
  return options;
}

// The formula for one sequence, from the list of the steps that count.
double oracle(const std::vector<double>& counted, double mix) {
  double sum = 0.0;
  for (const double error : counted) sum += std::fabs(error);
  double largest = 0.0;
  for (const double error : counted) largest = std::fmax(largest, std::fabs(error));
  return mix * largest + (1.0 - mix) * (sum / static_cast<double>(counted.size()));
}

std::string message(const std::vector<float>& errors, const std::uint8_t* mask, const StreamOptions& options) {
  std::vector<float> out(errors.size());
  try {
    mix_sequence_errors(errors.data(), mask, static_cast<std::int64_t>(errors.size()) / options.sequence_length,
                        options, out.data());
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST(priorities_are_those_of_the_formula) {
  std::mt19937_64 random(1);
  std::normal_distribution<float> normal;
  for (const int length : {1, 2, 7, 80}) {
    for (const int burn_in : {0, length / 2, length - 1}) {
      for (const double mix : {0.0, 0.3, 0.9, 1.0}) {
        for (const bool masked : {false, true}) {
          const std::int64_t n = 9;
          const auto steps = static_cast<std::size_t>(length);
          std::vector<float> errors(9 * steps);
          std::vector<std::uint8_t> mask(9 * steps);
          for (float& error : errors) error = normal(random) * std::exp2(static_cast<float>(random() % 40) - 20.0f);
          for (std::uint8_t& one : mask) one = static_cast<std::uint8_t>(random() % 2);
          for (std::size_t i = 0; i < 9; ++i) mask[i * steps + steps - 1] = 1;
          std::vector<float> priorities(9);
          const StreamOptions options = sequences(length, burn_in, mix);
          mix_sequence_errors(errors.data(), masked ? mask.data() : nullptr, n, options, priorities.data());
          for (std::size_t i = 0; i < 9; ++i) {
            std::vector<double> counted;
            for (std::size_t t = static_cast<std::size_t>(burn_in); t < steps; ++t) {
              if (!masked || mask[i * steps + t] != 0) counted.push_back(static_cast<double>(errors[i * steps + t]));
            }
            const double expected = oracle(counted, mix);
            CHECK(std::fabs(static_cast<double>(priorities[i]) - expected) <= 0x1p-24 * expected);
          }
        }
      }
    }
  }
}

TEST(the_largest_errors_do_not_overflow) {
  const std::vector<float> errors(64, std::numeric_limits<float>::max());
  float priority = 0.0f;
  mix_sequence_errors(errors.data(), nullptr, 1, sequences(64, 0, 0.1), &priority);
  CHECK(priority == std::numeric_limits<float>::max());
}

TEST(what_does_not_count_may_be_anything_and_what_counts_must_be_finite) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  const StreamOptions options = sequences(3, 1, 0.5);
  const std::uint8_t mask[] = {1, 1, 0, 1, 1, 1};
  CHECK(message({nan, 1.0f, inf, nan, 1.0f, 2.0f}, mask, options).empty());
  CHECK(message({1.0f, 1.0f, 1.0f, 1.0f, 1.0f, nan}, mask, options) == "td_errors[1, 2] is nan; must be finite");
  CHECK(message({1.0f, -inf, 1.0f, 1.0f, 1.0f, nan}, mask, options) == "td_errors[0, 1] is -inf; must be finite");
  const std::uint8_t none[] = {1, 1, 1, 1, 0, 0};
  CHECK(message({1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f}, none, options) ==
        "mask of sequence 1 has no step behind burn_in");
}

METARL_TEST_MAIN()
