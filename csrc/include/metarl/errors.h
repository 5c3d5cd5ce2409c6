// Errors of the core that have a Python class of their own (metarl_core/errors.py).
#pragma once

#include <stdexcept>

namespace metarl {

// A sample was asked of a buffer or tree that holds nothing that can be drawn.
struct BufferEmptyError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A priority update names a slot that was overwritten since it was sampled.
struct StaleIndexError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// An allocation was refused; the message states the bytes asked for.
struct OutOfMemoryError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace metarl
