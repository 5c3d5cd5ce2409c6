#include "metarl/cpu_count.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <string>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace metarl {
namespace {

constexpr double kNoLimit = std::numeric_limits<double>::infinity();

int affinity_cpus() {
#if defined(__linux__)
  // The mask must be as large as the kernel's, which is not known: grow it until the call accepts it.
  for (int cpus = 1024; cpus <= (1 << 20); cpus *= 2) {
    cpu_set_t* set = CPU_ALLOC(cpus);
    if (set == nullptr) break;
    const std::size_t bytes = CPU_ALLOC_SIZE(cpus);
    const bool ok = sched_getaffinity(0, bytes, set) == 0;
    const int count = ok ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (ok) return std::max(count, 1);
  }
#endif
  return std::max(static_cast<int>(std::thread::hardware_concurrency()), 1);
}

#if defined(__linux__)
// CPUs' worth of time that one cgroup v2 directory grants ("max" or "quota period" in cpu.max).
double cpu_max(const std::string& directory) {
  std::ifstream file(directory + "/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return kNoLimit;
  return std::strtod(quota.c_str(), nullptr) / period;
}

double cgroup_limit() {
  double limit = kNoLimit;
  std::ifstream groups("/proc/self/cgroup");
  std::string line;
  while (std::getline(groups, line)) {
    if (line.rfind("0::", 0) != 0) continue;
    // A limit on any ancestor counts.
    std::string path = line.substr(3);
    while (true) {
      limit = std::min(limit, cpu_max("/sys/fs/cgroup" + path));
      const std::size_t slash = path.rfind('/');
      if (slash == std::string::npos || path.empty()) break;
      path.erase(slash);
    }
  }
  limit = std::min(limit, cpu_max("/sys/fs/cgroup"));
  // cgroup v1
  double quota = 0;
  double period = 0;
  std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") >> quota;
  std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_period_us") >> period;
  if (quota > 0 && period > 0) limit = std::min(limit, quota / period);
  return limit;
}
#else
double cgroup_limit() { return kNoLimit; }
#endif

}  // namespace

int available_cpus() {
  const int affinity = affinity_cpus();
  const double limit = cgroup_limit();
  if (limit >= affinity) return affinity;
  return std::max(1, static_cast<int>(std::ceil(limit)));
}

}  // namespace metarl
