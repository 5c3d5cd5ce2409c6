// Hints that a cache line will be needed.
#pragma once

#include "metarl/detail/hd.h"

namespace metarl {

METARL_HD void prefetch(const void* p) {
#if defined(__GNUC__) && !defined(__CUDA_ARCH__)
  __builtin_prefetch(p, 0, 3);
#else
  (void)p;
#endif
}

METARL_HD void prefetch_to_write(const void* p) {
#if defined(__GNUC__) && !defined(__CUDA_ARCH__)
  __builtin_prefetch(p, 1, 3);
#else
  (void)p;
#endif
}

}  // namespace metarl
