// Copies of large elements, compiled once per instruction-set level. Internal to the core.
#pragma once

#include <cstddef>

#include "metarl/isa.h"

namespace metarl {

// memcpy past the caches: the lines that are overwritten need not be read first, and what the caches hold stays there.
// `to` is a multiple of 16. Other threads see the result after copy_fence() of the thread that copied.
METARL_DECLARE_KERNEL(void copy_streaming, (std::byte * to, const std::byte* from, std::size_t bytes))
METARL_DECLARE_KERNEL(void copy_fence, ())

}  // namespace metarl
