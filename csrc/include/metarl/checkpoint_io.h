// Where a checkpoint goes and comes from: files replaced in one step, and memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "metarl/errors.h"

namespace metarl {

class ByteSink {
 public:
  virtual ~ByteSink() = default;
  // Called once, first, with the number of bytes to come.
  virtual void reserve(std::uint64_t bytes) = 0;
  virtual void write(const std::byte* data, std::size_t bytes) = 0;
};

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  virtual std::uint64_t size() const = 0;
  // Returns the number of bytes read: fewer than asked for only at the end.
  virtual std::size_t read(std::uint64_t offset, std::byte* to, std::size_t bytes) const = 0;
};

// Memory of the caller, which must be large enough.
class MemorySink : public ByteSink {
 public:
  MemorySink(std::byte* data, std::size_t bytes) : data_(data), left_(bytes) {}
  void reserve(std::uint64_t bytes) override;
  void write(const std::byte* data, std::size_t bytes) override;

 private:
  std::byte* data_;
  std::size_t left_;
};

class MemorySource : public ByteSource {
 public:
  MemorySource(const std::byte* data, std::size_t bytes) : data_(data), bytes_(bytes) {}
  std::uint64_t size() const override { return bytes_; }
  std::size_t read(std::uint64_t offset, std::byte* to, std::size_t bytes) const override;

 private:
  const std::byte* data_;
  std::size_t bytes_;
};

// A regular file. Throws FileError.
class FileSource : public ByteSource {
 public:
  explicit FileSource(std::string path);
  ~FileSource() override;
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;
  std::uint64_t size() const override { return size_; }
  std::size_t read(std::uint64_t offset, std::byte* to, std::size_t bytes) const override;

 private:
  std::string path_;
  int file_ = -1;
  std::uint64_t size_ = 0;
};

// Replaces a file in one step: after a crash at any moment `path` holds either the old content or the new one, whole.
//
// What is written goes to a temporary file `.NAME.N.tmp` in the same folder, N = 0, 1, ...: the first one that no other
// process holds locked. commit() makes it durable (fsync), renames it, and makes the rename durable (fsync of the
// folder). Without commit() the temporary file is removed. One that a killed process left is used again by the next
// save. Processes that save to one path at the same time do not disturb each other; the last commit wins.
// A symbolic link is followed; permissions of an existing file are kept. Throws FileError.
class AtomicFile : public ByteSink {
 public:
  explicit AtomicFile(const std::string& path);
  ~AtomicFile() override;
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void reserve(std::uint64_t bytes) override;
  void write(const std::byte* data, std::size_t bytes) override;
  void commit() {
    sync();
    replace();
  }
  // The two halves of commit: what was written becomes durable; `path` becomes it. Only where replace throws, it is not
  // known which content is there after a crash.
  void sync();
  void replace();

 private:
  std::string temporary_name(int number) const;
  void open_temporary();
  void remove_leftovers();
  [[noreturn]] void fail(int code, const std::string& path) const;

  std::string path_;
  std::string folder_;
  std::string temporary_;
  int file_ = -1;
  int number_ = -1;
  std::uint64_t written_ = 0;
  std::uint64_t pushed_ = 0;  // handed to the disk already
};

}  // namespace metarl
