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

// |value - exact| in units of the last place of a float.
double error_in_ulp(float value, long double exact) {
  const float rounded = static_cast<float>(exact);
  const double ulp = static_cast<double>(std::nextafter(rounded, INFINITY)) - static_cast<double>(rounded);
  return static_cast<double>(std::fabs(static_cast<long double>(value) - exact)) / ulp;
}

TEST(short_powers_are_as_good_as_float_allows) {
  std::mt19937_64 random(5);
  std::uniform_real_distribution<double> exponent(-149.0, 0.0), power(0.0, 4.0);
  double worst = 0.0;
  for (int i = 0; i < 300000; ++i) {
    const double p = std::exp2(exponent(random)), smallest = std::exp2(exponent(random));
    const double beta = power(random);
    const long double exact = std::pow(static_cast<long double>(smallest) / static_cast<long double>(p), beta);
    if (exact > 3e38L || exact < 1e-45L) continue;
    float weight;
    metarl::baseline::probability_weights_short(&p, 1, metarl::log2_short(smallest), beta, &weight);
    worst = std::max(worst, error_in_ulp(weight, exact));
  }
  std::printf("largest error of a weight in single precision: %.3f ulp\n", worst);
  CHECK(worst < 0.55);
}

TEST(short_powers_have_the_same_bits_at_every_level_and_length) {
  std::mt19937_64 random(6);
  std::uniform_real_distribution<double> exponent(-149.0, 0.0), power(0.0, 12.0);
  for (int round = 0; round < 300; ++round) {
    const auto n = static_cast<std::int64_t>(random() % 100);
    std::vector<double> p(100);
    std::vector<float> single(100);
    std::vector<std::uint32_t> masses(100);
    for (std::size_t i = 0; i < p.size(); ++i) {
      single[i] = static_cast<float>(std::exp2(exponent(random)));
      p[i] = i % 3 == 0 ? static_cast<double>(single[i]) : std::exp2(6.0 * exponent(random));
      masses[i] = static_cast<std::uint32_t>(random() >> (32 + random() % 32)) | 1u;
    }
    const double beta = power(random), ratio = metarl::log2_short(p[0]);
    const auto all = [&](auto by_double, auto by_float, auto by_mass) {
      std::vector<float> out(303, -1.0f);
      out[300] = by_double(p.data(), n, ratio, beta, out.data()) ? 1.0f : 0.0f;
      out[301] = by_float(single.data(), n, ratio, beta, out.data() + 100) ? 1.0f : 0.0f;
      by_mass(masses.data(), n, 77.5, beta, out.data() + 200);
      return out;
    };
    const std::vector<float> expected =
        all(metarl::baseline::probability_weights_short, metarl::baseline::probability_weights_float,
            metarl::baseline::mass_weights);
#if defined(METARL_HAVE_X86_LEVELS)
    if (metarl::active_isa() >= metarl::Isa::avx2) {
      CHECK(all(metarl::avx2::probability_weights_short, metarl::avx2::probability_weights_float,
                metarl::avx2::mass_weights) == expected);
    }
    if (metarl::active_isa() >= metarl::Isa::avx512) {
      CHECK(all(metarl::avx512::probability_weights_short, metarl::avx512::probability_weights_float,
                metarl::avx512::mass_weights) == expected);
    }
#endif
    bool finite = true;
    for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) finite = finite && std::isfinite(expected[i]);
    CHECK((expected[300] == 1.0f) == finite);
    for (std::size_t i = static_cast<std::size_t>(n); i < 100; ++i) CHECK(expected[i] == -1.0f);
  }
}

TEST(bad_single_probabilities_are_found) {
  std::vector<float> p(75, 0.5f);
  double smallest = 0.0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    for (const float bad : {0.0f, -0.0f, -0.25f, std::nextafter(1.0f, 2.0f), float{NAN}, float{INFINITY}}) {
      p[i] = bad;
      CHECK(!METARL_SELECT_KERNEL(check_probabilities_float)(p.data(), 75, &smallest));
    }
    p[i] = 1e-45f;
    CHECK(METARL_SELECT_KERNEL(check_probabilities_float)(p.data(), 75, &smallest));
    CHECK(smallest == static_cast<double>(1e-45f));
    p[i] = 0.5f;
  }
}

METARL_TEST_MAIN()
