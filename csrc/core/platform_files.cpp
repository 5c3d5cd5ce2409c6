#include "core/platform_files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "core/retry.h"

namespace metarl {
namespace {

int error_of(int result) { return result == 0 ? 0 : errno; }

bool no_room(int code) { return code == ENOSPC || code == EFBIG || code == EDQUOT; }

}  // namespace

#if defined(__APPLE__)

namespace {

int file_bytes(int file, std::uint64_t* bytes) {
  struct stat status{};
  if (fstat(file, &status) != 0) return errno;
  *bytes = static_cast<std::uint64_t>(status.st_size);
  return 0;
}

// Space behind what the file has; its length stays.
int preallocate(int file, std::uint64_t more) {
  fstore_t store{};
  store.fst_flags = F_ALLOCATEALL;
  store.fst_posmode = F_PEOFPOSMODE;
  store.fst_length = static_cast<off_t>(more);
  return error_of(retry([&] { return fcntl(file, F_PREALLOCATE, &store); }));
}

int append_zeros(int file, std::uint64_t begin, std::uint64_t end) {
  const std::vector<std::byte> zeros(std::size_t{1} << 20);
  while (begin < end) {
    const auto piece = static_cast<std::size_t>(std::min<std::uint64_t>(zeros.size(), end - begin));
    const ssize_t written = retry([&] { return pwrite(file, zeros.data(), piece, static_cast<off_t>(begin)); });
    if (written < 0) return errno;
    begin += static_cast<std::uint64_t>(written);
  }
  return 0;
}

}  // namespace

int reserve_space(int file, std::uint64_t bytes) {
  std::uint64_t has = 0;
  int code = file_bytes(file, &has);
  if (code != 0 || has >= bytes) return code;
  code = preallocate(file, bytes - has);
  if (no_room(code)) return code;
  if (code != 0) return append_zeros(file, has, bytes);  // a file system that cannot
  return error_of(retry([&] { return ftruncate(file, static_cast<off_t>(bytes)); }));
}

int try_reserve_space(int file, std::uint64_t bytes) {
  std::uint64_t has = 0;
  if (file_bytes(file, &has) != 0 || has >= bytes) return 0;
  const int code = preallocate(file, bytes - has);
  return no_room(code) ? code : 0;
}

int sync_file(int file) {
  // fsync leaves the bytes in the disk's cache.
  const int code = error_of(retry([&] { return fcntl(file, F_FULLFSYNC); }));
  const bool unknown = code == ENOTSUP || code == EINVAL || code == ENOTTY;  // to file systems of other machines
  if (!unknown) return code;
  return error_of(retry([&] { return fsync(file); }));
}

int sync_data(int file) { return sync_file(file); }

void start_writing(int, std::uint64_t, std::uint64_t) {}

int write_out(int, std::byte* data, std::size_t begin, std::size_t bytes) {
  return error_of(msync(data + begin, bytes, MS_SYNC));
}

#elif defined(__linux__)

int reserve_space(int file, std::uint64_t bytes) {
  int code = 0;
  do {
    code = posix_fallocate(file, 0, static_cast<off_t>(bytes));
  } while (code == EINTR);
  return code;
}

int sync_file(int file) {
  return error_of(retry([&] { return fsync(file); }));
}

int sync_data(int file) {
  return error_of(retry([&] { return fdatasync(file); }));
}

int try_reserve_space(int file, std::uint64_t bytes) {
  if (bytes == 0) return 0;
  // Not posix_fallocate, which writes where the file system cannot.
  const int code = error_of(retry([&] { return fallocate(file, 0, 0, static_cast<off_t>(bytes)); }));
  return no_room(code) ? code : 0;
}

void start_writing(int file, std::uint64_t begin, std::uint64_t bytes) {
  sync_file_range(file, static_cast<off_t>(begin), static_cast<off_t>(bytes), SYNC_FILE_RANGE_WRITE);
}

int write_out(int file, std::byte*, std::size_t begin, std::size_t bytes) {
  constexpr unsigned kWrite = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  const int code = error_of(sync_file_range(file, static_cast<off_t>(begin), static_cast<off_t>(bytes), kWrite));
  // A file system that cannot, or a signal: the sync that follows waits.
  return code == EINVAL || code == ENOSYS || code == EINTR ? 0 : code;
}

#else
#error "metarl_core needs Linux or macOS (docs/installing.md)"
#endif

}  // namespace metarl
