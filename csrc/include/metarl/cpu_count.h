// How many threads this process may use.
#pragma once

namespace metarl {

// The number of CPUs in the affinity mask of the calling thread, or fewer if the cgroup limits CPU time to less
// (rounded up); at least 1.
int available_cpus();

}  // namespace metarl
