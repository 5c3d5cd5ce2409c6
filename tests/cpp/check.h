// A unit test in a few lines: TEST(name) { CHECK(condition); } and METARL_TEST_MAIN() once a program.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <vector>

namespace metarl_test {

struct Case {
  const char* name;
  void (*run)();
};

inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

inline int& failures() {
  static int n = 0;
  return n;
}

inline int run_all() {
  for (const Case& c : cases()) {
    const int before = failures();
    try {
      c.run();
    } catch (const std::exception& e) {
      std::fprintf(stderr, "%s: unexpected exception: %s\n", c.name, e.what());
      ++failures();
    }
    std::printf("%-60s %s\n", c.name, failures() == before ? "ok" : "FAILED");
  }
  std::printf("%zu tests, %d failed checks\n", cases().size(), failures());
  return failures() == 0 && !cases().empty() ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace metarl_test

#define TEST(name)                                                                                     \
  static void test_##name();                                                                           \
  static const bool registered_##name = (metarl_test::cases().push_back({#name, &test_##name}), true); \
  static void test_##name()

#define CHECK(condition)                                                                 \
  do {                                                                                   \
    if (!(condition)) {                                                                  \
      std::fprintf(stderr, "%s:%d: CHECK(%s) failed\n", __FILE__, __LINE__, #condition); \
      ++metarl_test::failures();                                                         \
    }                                                                                    \
  } while (false)

#define CHECK_THROWS(expression, type)                                                              \
  do {                                                                                              \
    bool thrown = false;                                                                            \
    try {                                                                                           \
      (void)(expression);                                                                           \
    } catch (const type&) {                                                                         \
      thrown = true;                                                                                \
    }                                                                                               \
    if (!thrown) {                                                                                  \
      std::fprintf(stderr, "%s:%d: %s did not throw %s\n", __FILE__, __LINE__, #expression, #type); \
      ++metarl_test::failures();                                                                    \
    }                                                                                               \
  } while (false)

#define METARL_TEST_MAIN() \
  int main() { return metarl_test::run_all(); }
