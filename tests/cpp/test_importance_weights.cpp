#include <cmath>
#include <random>
#include <vector>

#include "check.h"
#include "core/tree_kernels.h"
#include "metarl/detail/pow.h"
#include "metarl/importance_weights.h"

using metarl::pow_positive;

TEST(power_is_within_one_and_a_half_ulp) {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> exponent(-100.0, 100.0), power(-1.0, 1.0);
  double worst = 0.0;
  for (int i = 0; i < 300000; ++i) {
    const double x = std::exp2(exponent(random));
    const double y = power(random);
    const long double exact = std::pow(static_cast<long double>(x), static_cast<long double>(y));
    const double rounded = static_cast<double>(exact);
    const double ulp = std::nextafter(rounded, INFINITY) - rounded;
    worst = std::max(worst, static_cast<double>(std::fabs(pow_positive(x, y) - exact)) / ulp);
  }
  std::printf("largest error of x^y: %.3f ulp\n", worst);
  CHECK(worst < 1.5);
}

TEST(special_cases) {
  CHECK(pow_positive(0.0, 0.5) == 0.0);
  CHECK(pow_positive(0.0, 0.0) == 1.0);
  CHECK(pow_positive(7.25, 0.0) == 1.0);
  CHECK(pow_positive(0.1, 1.0) == 0.1);
  CHECK(pow_positive(1.0, 0.37) == 1.0);
  CHECK(pow_positive(4.0, 0.5) == 2.0);
  CHECK(pow_positive(2.0, 3.0) == 8.0);
  CHECK(pow_positive(2.0, 2000.0) == INFINITY);
  CHECK(pow_positive(0.5, 2000.0) == 0.0);
  CHECK(std::fabs(pow_positive(5e-324, 0.5) / 2.2227587494850775e-162 - 1.0) < 1e-15);
  const double far = static_cast<double>(std::pow(1e300L, static_cast<long double>(0.6)));
  CHECK(std::fabs(pow_positive(1e300, 0.6) / far - 1.0) < 1e-15);
}

TEST(arrays_equal_scalars_at_the_active_level) {
  std::mt19937_64 random(2);
  std::uniform_real_distribution<double> exponent(-300.0, 300.0);
  std::vector<double> x(1003), fast(1003), plain(1003);
  for (double& value : x) value = std::exp2(exponent(random));
  x[0] = 0.0;
  x[1] = 5e-324;
  METARL_SELECT_KERNEL(pow_array)(x.data(), 1003, 0.6, fast.data());
  metarl::baseline::pow_array(x.data(), 1003, 0.6, plain.data());
  CHECK(fast == plain);
  for (std::size_t i = 0; i < x.size(); ++i) CHECK(fast[i] == pow_positive(x[i], 0.6));
}

TEST(powers_have_the_same_bits_over_the_whole_range_and_at_every_length) {
  std::mt19937_64 random(3);
  std::uniform_real_distribution<double> exponent(-1074.0, 1023.9), power(-3.0, 3.0);
  std::vector<double> x(75), fast(75);
  for (int round = 0; round < 400; ++round) {
    for (double& value : x) value = std::exp2(exponent(random));
    const double y = power(random);
    const auto n = static_cast<std::int64_t>(random() % (x.size() + 1));
    std::fill(fast.begin(), fast.end(), -1.0);
    METARL_SELECT_KERNEL(pow_array)(x.data(), n, y, fast.data());
    for (std::size_t i = 0; i < x.size(); ++i) {
      CHECK(fast[i] == (i < static_cast<std::size_t>(n) ? pow_positive(x[i], y) : -1.0));
    }
  }
}

TEST(every_bad_probability_is_found) {
  std::vector<double> p(75, 0.5);
  std::mt19937_64 random(4);
  double smallest = 0.0;
  for (std::size_t n = 1; n <= p.size(); ++n) {
    const std::size_t i = random() % n;
    for (const double bad : {0.0, -0.25, std::nextafter(1.0, 2.0), double{NAN}, double{INFINITY}, -double{INFINITY}}) {
      p[n - 1 - i] = bad;
      CHECK(!METARL_SELECT_KERNEL(check_probabilities)(p.data(), static_cast<std::int64_t>(n), &smallest));
    }
    p[n - 1 - i] = 5e-324;
    CHECK(METARL_SELECT_KERNEL(check_probabilities)(p.data(), static_cast<std::int64_t>(n), &smallest));
    CHECK(smallest == 5e-324);
    p[n - 1 - i] = 0.5;
  }
}

TEST(normalisations) {
  using metarl::WeightNormalization;
  const std::vector<std::uint32_t> masses{4, 1, 16};
  std::vector<float> weights(3);
  metarl::mass_importance_weights(masses.data(), 3, 32, 1, 8, 0.5, WeightNormalization::max, weights.data());
  CHECK(weights == (std::vector<float>{0.5f, 1.0f, 0.25f}));
  metarl::mass_importance_weights(masses.data() + 2, 1, 32, 1, 8, 0.5, WeightNormalization::batch_max, weights.data());
  CHECK(weights[0] == 1.0f);
  metarl::mass_importance_weights(masses.data(), 3, 32, 1, 8, 0.5, WeightNormalization::none, weights.data());
  CHECK(weights == (std::vector<float>{1.0f, 2.0f, 0.5f}));
  metarl::mass_importance_weights(masses.data(), 3, 32, 1, 8, 0.5, WeightNormalization::sum, weights.data());
  CHECK(std::fabs(weights[0] - 0.5f / 1.75f) < 1e-7f);
  const std::vector<std::uint32_t> zero{0, 0};
  metarl::mass_importance_weights(zero.data(), 2, 0, 0, 8, 0.5, WeightNormalization::max, weights.data());
  CHECK(weights[0] == 1.0f && weights[1] == 1.0f);
}

METARL_TEST_MAIN()
