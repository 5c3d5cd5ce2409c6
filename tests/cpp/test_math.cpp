// Accuracy of detail/math.h against long double functions, printed in units in the last place.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "check.h"
#include "metarl/detail/math.h"
#include "metarl/detail/philox.h"

namespace {

// |got - exact| in ulps of exact, rounded to T.
template <class T>
double error_ulps(T got, long double exact) {
  const T rounded = static_cast<T>(exact);
  const T next = std::nextafter(std::abs(rounded), std::numeric_limits<T>::infinity());
  const long double ulp = static_cast<long double>(next) - std::abs(rounded);
  return static_cast<double>(std::abs(static_cast<long double>(got) - exact) / ulp);
}

double random_in(std::uint32_t i, double low, double high) {
  const metarl::PhiloxBlock b = metarl::philox(99, i, 0, 0);
  return low + (high - low) * metarl::uniform53(b.v[0], b.v[1]);
}

template <class T>
double worst_sincos(double range, std::uint32_t count) {
  double worst = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    const T x = static_cast<T>(random_in(i, -range, range));
    const metarl::SinCos<T> got = metarl::sincos(x);
    worst = std::max({worst, error_ulps(got.sin, std::sin(static_cast<long double>(x))),
                      error_ulps(got.cos, std::cos(static_cast<long double>(x)))});
  }
  return worst;
}

template <class T>
double worst_near_multiples(int count) {  // where one of the two is nearly 0
  double worst = 0;
  for (int k = -count; k <= count; ++k) {
    T x = static_cast<T>(k * 1.5707963267948966192313L);
    for (int step = 0; step < 3; ++step, x = std::nextafter(x, std::numeric_limits<T>::infinity())) {
      const metarl::SinCos<T> got = metarl::sincos(x);
      worst = std::max({worst, error_ulps(got.sin, std::sin(static_cast<long double>(x))),
                        error_ulps(got.cos, std::cos(static_cast<long double>(x)))});
    }
  }
  return worst;
}

}  // namespace

TEST(sincos_double_is_within_one_ulp) {
  for (const double range : {0.8, 4.0, 100.0, 1.6e6}) {
    const double worst = worst_sincos<double>(range, 1000000);
    std::printf("  double, |x| <= %g: %.3f ulp\n", range, worst);
    CHECK(worst <= 1.0);
  }
  const double worst = worst_near_multiples<double>(20000);
  std::printf("  double, beside multiples of pi/2: %.3f ulp\n", worst);
  CHECK(worst <= 1.0);
}

TEST(sincos_float_is_within_one_and_a_half_ulp) {
  for (const double range : {0.8, 4.0, 100.0, 1600.0}) {
    const double worst = worst_sincos<float>(range, 1000000);
    std::printf("  float, |x| <= %g: %.3f ulp\n", range, worst);
    CHECK(worst <= 1.5);
  }
  const double worst = worst_near_multiples<float>(1000);
  std::printf("  float, beside multiples of pi/2: %.3f ulp\n", worst);
  CHECK(worst <= 1.5);
}

TEST(sincos_exact_and_special_values) {
  CHECK(metarl::sincos(0.0).sin == 0.0);
  CHECK(metarl::sincos(0.0).cos == 1.0);
  CHECK(metarl::sincos(-0.3).sin == -metarl::sincos(0.3).sin);
  CHECK(metarl::sincos(-0.3).cos == metarl::sincos(0.3).cos);
  CHECK(std::isnan(metarl::sincos(std::numeric_limits<double>::infinity()).sin));
  CHECK(std::isnan(metarl::sincos(std::numeric_limits<double>::quiet_NaN()).cos));
}

TEST(natural_log_is_within_two_ulp) {
  double worst = 0;
  for (std::uint32_t i = 0; i < 1000000; ++i) {
    const double x = std::ldexp(random_in(i, 0.5, 1.0), -static_cast<int>(i % 64));
    worst = std::max(worst, error_ulps(metarl::natural_log(x), std::log(static_cast<long double>(x))));
  }
  std::printf("  natural_log on [2^-64, 1): %.3f ulp\n", worst);
  CHECK(worst <= 2.0);
  CHECK(metarl::natural_log(1.0) == 0.0);
}

TEST(round_nearest_and_clamp) {
  for (const double x : {-2.5, -1.5, -0.5, 0.5, 1.5, 2.4999, 2.5001, 1e9 + 0.5}) {
    CHECK(metarl::round_nearest(x) == std::nearbyint(x));
    CHECK(metarl::round_nearest(static_cast<float>(x > 1e6 ? 7.5 : x)) ==
          std::nearbyint(static_cast<float>(x > 1e6 ? 7.5 : x)));
  }
  CHECK(metarl::clamp(3.0, -1.0, 2.0) == 2.0);
  CHECK(metarl::clamp(-3.0, -1.0, 2.0) == -1.0);
  CHECK(metarl::clamp(0.5, -1.0, 2.0) == 0.5);
}

METARL_TEST_MAIN()
