#include "metarl/checkpoint_io.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "core/platform_files.h"
#include "core/retry.h"

namespace metarl {
namespace {

constexpr int kMaxTemporaries = 64;
constexpr std::uint64_t kPushEvery = std::uint64_t{32} << 20;

bool same_file(int file, const std::string& path) {
  struct stat opened{};
  struct stat named{};
  return fstat(file, &opened) == 0 && stat(path.c_str(), &named) == 0 && opened.st_dev == named.st_dev &&
         opened.st_ino == named.st_ino;
}

// Opens and locks `path`, created if `create`; -1 (errno 0) if another process holds it, -1 with errno otherwise.
int open_locked(const std::string& path, bool create) {
  for (int attempt = 0; attempt < 100; ++attempt) {
    const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT : 0);
    const int file = retry([&] { return open(path.c_str(), flags, 0666); });
    if (file < 0) return -1;
    if (retry([&] { return flock(file, LOCK_EX | LOCK_NB); }) != 0) {
      const int code = errno;
      close(file);
      errno = code == EWOULDBLOCK ? 0 : code;
      return -1;
    }
    // Between opening and locking, the holder before may have renamed or removed it.
    if (same_file(file, path)) return file;
    close(file);
  }
  errno = 0;
  return -1;
}

}  // namespace

FileError::FileError(int error_code, std::string file)
    : std::runtime_error(std::generic_category().message(error_code) + ": '" + file + "'"),
      code(error_code),
      path(std::move(file)) {}

void MemorySink::reserve(std::uint64_t bytes) {
  if (bytes > left_) throw std::logic_error("MemorySink is too small");
}

void MemorySink::write(const std::byte* data, std::size_t bytes) {
  reserve(bytes);
  if (bytes > 0) std::memcpy(data_, data, bytes);
  data_ += bytes;
  left_ -= bytes;
}

std::size_t MemorySource::read(std::uint64_t offset, std::byte* to, std::size_t bytes) const {
  if (offset >= bytes_) return 0;
  const std::size_t n = std::min(bytes, bytes_ - static_cast<std::size_t>(offset));
  if (n > 0) std::memcpy(to, data_ + offset, n);
  return n;
}

FileSource::FileSource(std::string path) : path_(std::move(path)) {
  // O_NONBLOCK: a pipe without a writer must not hang.
  file_ = retry([&] { return open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); });
  if (file_ < 0) throw FileError(errno, path_);
  struct stat status{};
  const int code = fstat(file_, &status) != 0 ? errno : S_ISDIR(status.st_mode) ? EISDIR : 0;
  if (code == 0 && S_ISREG(status.st_mode)) {
    size_ = static_cast<std::uint64_t>(status.st_size);
    return;
  }
  close(file_);
  if (code != 0) throw FileError(code, path_);
  throw CheckpointFormatError(path_ + " is not a regular file");
}

FileSource::~FileSource() { close(file_); }

std::size_t FileSource::read(std::uint64_t offset, std::byte* to, std::size_t bytes) const {
  std::size_t done = 0;
  while (done < bytes) {
    const ssize_t n = retry([&] { return pread(file_, to + done, bytes - done, static_cast<off_t>(offset + done)); });
    if (n < 0) throw FileError(errno, path_);
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

void AtomicFile::fail(int code, const std::string& path) const { throw FileError(code, path); }

AtomicFile::AtomicFile(const std::string& path) : path_(path) {
  std::error_code ignored;
  const auto target = std::filesystem::canonical(path, ignored);
  if (!ignored) path_ = target.string();  // a link stays one
  struct stat existing{};
  const bool exists = stat(path_.c_str(), &existing) == 0;
  if (exists && S_ISDIR(existing.st_mode)) fail(EISDIR, path_);
  if (exists && !S_ISREG(existing.st_mode)) fail(EINVAL, path_);
  folder_ = std::filesystem::path(path_).parent_path().string();
  if (folder_.empty()) folder_.push_back('.');
  if (std::filesystem::path(path_).filename().empty()) fail(EISDIR, path_);
  open_temporary();
  if (exists) fchmod(file_, existing.st_mode & 07777);  // where the owner may
}

std::string AtomicFile::temporary_name(int number) const {
  const std::filesystem::path path(path_);
  std::filesystem::path name(".");
  name += path.filename();
  name += '.';
  name += std::to_string(number);
  name += ".tmp";
  return (std::filesystem::path(folder_) / name).string();
}

void AtomicFile::open_temporary() {
  for (number_ = 0; number_ < kMaxTemporaries; ++number_) {
    temporary_ = temporary_name(number_);
    file_ = open_locked(temporary_, true);
    if (file_ < 0 && errno != 0) {
      const int code = errno;
      fail(code, temporary_);
    }
    if (file_ < 0) continue;
    if (ftruncate(file_, 0) == 0) return;
    const int code = errno;
    unlink(temporary_.c_str());
    close(std::exchange(file_, -1));
    fail(code, temporary_);
  }
  fail(EBUSY, temporary_);
}

// Those of killed processes with a higher number.
void AtomicFile::remove_leftovers() {
  for (int number = number_ + 1; number < kMaxTemporaries; ++number) {
    const std::string path = temporary_name(number);
    const int file = open_locked(path, false);
    if (file < 0 && errno == ENOENT) break;
    if (file < 0) continue;
    unlink(path.c_str());
    close(file);
  }
}

AtomicFile::~AtomicFile() {
  if (file_ < 0) return;
  unlink(temporary_.c_str());
  close(file_);
}

void AtomicFile::reserve(std::uint64_t bytes) {
  // A full disk is known before anything is written; not every file system can.
  if (const int code = try_reserve_space(file_, bytes); code != 0) fail(code, path_);
}

void AtomicFile::write(const std::byte* data, std::size_t bytes) {
  while (bytes > 0) {
    const ssize_t n = retry([&] { return ::write(file_, data, bytes); });
    if (n < 0) fail(errno, path_);
    data += n;
    bytes -= static_cast<std::size_t>(n);
    written_ += static_cast<std::uint64_t>(n);
  }
  if (written_ - pushed_ >= kPushEvery) {
    // The disk works while the next pieces come, and few unwritten pages pile up.
    start_writing(file_, pushed_, written_ - pushed_);
    pushed_ = written_;
  }
}

void AtomicFile::sync() {
  if (const int code = sync_file(file_); code != 0) fail(code, path_);
}

void AtomicFile::replace() {
  if (rename(temporary_.c_str(), path_.c_str()) != 0) fail(errno, path_);
  close(std::exchange(file_, -1));
  const int folder = retry([&] { return open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (folder < 0) fail(errno, folder_);
  // Some file systems cannot sync a folder and say EINVAL.
  const int code = sync_file(folder);
  close(folder);
  if (code != 0 && code != EINVAL) fail(code, folder_);
  remove_leftovers();
}

}  // namespace metarl
