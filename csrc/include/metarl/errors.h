// Errors of the core that have a Python class of their own (metarl_core/errors.py).
#pragma once

#include <new>
#include <stdexcept>
#include <string>

namespace metarl {

// A sample was asked of a buffer or tree that holds nothing that can be drawn.
struct BufferEmptyError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A priority update names a slot that was overwritten since it was sampled.
struct StaleIndexError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// In a forked child: the object was locked by another thread of the parent.
struct ForkedWhileLockedError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// An object was used after it was closed.
struct ClosedError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// An allocation was refused; the message states the bytes asked for.
class OutOfMemoryError : public std::bad_alloc {
 public:
  explicit OutOfMemoryError(const std::string& message) : message_(message) {}
  const char* what() const noexcept override { return message_.what(); }

 private:
  std::runtime_error message_;  // its copies cannot fail
};

// An operation on a file failed. `code` is the system's error number.
struct FileError : std::runtime_error {
  FileError(int error_code, std::string file);
  int code;
  std::string path;
};

// A file is not a checkpoint.
struct CheckpointFormatError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A checkpoint is newer than this version of the library.
struct CheckpointVersionError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A checkpoint is truncated or damaged; the message names the section.
struct CheckpointCorruptError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A checkpoint belongs to another configuration; the message lists what differs.
struct CheckpointMismatchError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace metarl
