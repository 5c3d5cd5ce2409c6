#include "metarl/mapped_files.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <filesystem>
#include <mutex>
#include <new>
#include <system_error>
#include <utility>

#include "core/crc32c.h"
#include "core/platform_files.h"
#include "core/retry.h"
#include "metarl/errors.h"

namespace metarl {
namespace {

constexpr std::string_view kPrefix = "metarl-";
constexpr std::string_view kIntent = "-intent.bin";
constexpr std::size_t kSyncPiece = std::size_t{64} << 20;
constexpr std::uint64_t kLargestNumber = std::uint64_t{1} << 62;

// The names in a folder last only once the folder is on the disk too.
void sync_folder(const std::string& path) {
  const int folder = retry([&] { return open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (folder < 0) throw FileError(errno, path);
  const int code = sync_file(folder);
  close(folder);
  if (code != 0 && code != EINVAL) throw FileError(code, path);
}

// Descriptors with locks. A lock ends with the last descriptor of it, and a forked child gets one of each: it closes
// them at once, or the folder would stay locked until it ends.
std::mutex& lock_guard_of_locks() {
  static std::mutex mutex;
  return mutex;
}
std::vector<int>& locks() {
  static std::vector<int> descriptors;
  return descriptors;
}

void keep_from_children(int descriptor) {
  static const int registered =
      pthread_atfork([] { lock_guard_of_locks().lock(); }, [] { lock_guard_of_locks().unlock(); },
                     [] {
                       for (const int lock : locks()) close(lock);
                       locks().clear();
                       lock_guard_of_locks().unlock();
                     });
  if (registered != 0) throw std::bad_alloc();
  const std::lock_guard guard(lock_guard_of_locks());
  locks().push_back(descriptor);
}

}  // namespace

// ---- the folder
// ------------------------------------------------------------------------------------------------------

StorageFolder::StorageFolder(std::string path) : path_(std::move(path)), owner_(getpid()) {
  if (mkdir(path_.c_str(), 0777) == 0) {
    const std::filesystem::path parent = std::filesystem::path(path_).parent_path();
    sync_folder(parent.empty() ? "." : parent.string());
  } else if (errno != EEXIST) {
    throw FileError(errno, path_);
  }
  const std::string name = file("metarl.lock");
  lock_ = retry([&] { return ::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666); });
  if (lock_ < 0) throw FileError(errno, name);
  if (retry([&] { return flock(lock_, LOCK_EX | LOCK_NB); }) == 0) {
    try {
      keep_from_children(lock_);
      return;
    } catch (...) {
      close(lock_);
      throw;
    }
  }
  const int code = errno;
  close(lock_);
  if (code != EWOULDBLOCK) throw FileError(code, name);
  throw StorageInUseError("'" + path_ + "' is the storage of another buffer, in this process or another one");
}

StorageFolder::~StorageFolder() {
  if (getpid() != owner_) return;  // closed when the process was forked
  const std::lock_guard guard(lock_guard_of_locks());
  std::erase(locks(), lock_);
  close(lock_);
}

std::string StorageFolder::file(const std::string& name) const {
  return (std::filesystem::path(path_) / name).string();
}

bool StorageFolder::has_state() const {
  struct stat status{};
  const std::string path = state_path();
  if (stat(path.c_str(), &status) == 0) return true;
  if (errno != ENOENT) throw FileError(errno, path);
  return false;
}

bool StorageFolder::has_columns() const {
  for (const auto& [name, set] : set_files()) {
    if (!name.ends_with(kIntent)) continue;
    const FileSource intent(file(name));
    std::vector<std::byte> bytes(static_cast<std::size_t>(std::min(intent.size(), std::uint64_t{8192})));
    intent.read(0, bytes.data(), bytes.size());
    if (std::any_of(bytes.begin(), bytes.end(), [](std::byte b) { return b != std::byte{0}; })) return true;
  }
  return false;
}

std::vector<std::pair<std::string, std::uint64_t>> StorageFolder::set_files() const {
  std::vector<std::pair<std::string, std::uint64_t>> files;
  std::error_code failure;
  auto entry = std::filesystem::directory_iterator(path_, failure);
  for (; !failure && entry != std::filesystem::directory_iterator(); entry.increment(failure)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with(kPrefix) || !name.ends_with(".bin")) continue;
    const char* begin = name.data() + kPrefix.size();
    const char* end = name.data() + name.size();
    std::uint64_t set = 0;
    const auto parsed = std::from_chars(begin, end, set);
    if (parsed.ec == std::errc() && parsed.ptr != end && *parsed.ptr == '-') files.emplace_back(name, set);
  }
  if (failure) throw FileError(failure.value(), path_);
  return files;
}

std::uint64_t StorageFolder::unused() const {
  std::uint64_t next = 0;
  for (const auto& [name, set] : set_files()) next = std::max(next, set + 1);
  return next;
}

void StorageFolder::remove(std::uint64_t set) const {
  for (const auto& [name, its_set] : set_files()) {
    if (its_set == set) unlink(file(name).c_str());
  }
}

void StorageFolder::remove_leftovers(const MappedFiles* used) const {
  for (const auto& [name, set] : set_files()) {
    if (used == nullptr || set != used->set()) unlink(file(name).c_str());
  }
}

// ---- a set of files
// --------------------------------------------------------------------------------------------------

// There are two records, written in turn: if one is torn, the announcement was not made, and the other one holds.
struct MappedFiles::Intent {
  static constexpr off_t kDistance = 4096;
  static const std::size_t kFileBytes;

  std::uint64_t number;  // of the announcement; the larger one is the newer
  std::uint64_t flush;
  std::uint64_t slots;
  std::uint32_t checksum;  // of what is before
  std::uint32_t zero;

  std::uint32_t sum() const {
    return crc32c(reinterpret_cast<const std::byte*>(this), offsetof(Intent, checksum), 0x6D74726C);
  }
};

const std::size_t MappedFiles::Intent::kFileBytes = static_cast<std::size_t>(kDistance) + sizeof(Intent);

MappedFiles::MappedFiles(std::shared_ptr<StorageFolder> folder, std::uint64_t set, Mode mode)
    : folder_(std::move(folder)),
      set_(set),
      mode_(mode),
      kept_(mode == Mode::open),
      owner_(getpid()),
      intent_path_(file("intent")) {
  const int flags = O_RDWR | O_CLOEXEC | (mode_ == Mode::create ? O_CREAT | O_EXCL : 0);
  intent_ = retry([&] { return ::open(intent_path_.c_str(), flags, 0666); });
  if (intent_ < 0) throw FileError(errno, intent_path_);
  try {
    if (mode_ == Mode::open) {
      announcements_ = newest().number;
      return;
    }
    // Announcements must not fail for want of space.
    int code = reserve_space(intent_, Intent::kFileBytes);
    if (code == 0) code = sync_file(intent_);
    if (code != 0) throw FileError(code, intent_path_);
  } catch (...) {
    release();  // an object whose constructor throws has no destructor
    throw;
  }
}

MappedFiles::~MappedFiles() { release(); }

void MappedFiles::release() noexcept {
  // A forked child shares the mappings and must leave the files to its parent.
  for (const Mapping& mapping : mappings_) {
    munmap(mapping.data, mapping.bytes);
    close(mapping.descriptor);
  }
  mappings_.clear();
  if (intent_ >= 0) close(std::exchange(intent_, -1));
  if (kept_ || getpid() != owner_) return;
  try {
    folder_->remove(set_);
  } catch (const std::exception&) {  // out of memory: whoever opens the folder next removes them
  }
}

std::string MappedFiles::file(const std::string& name) const {
  return folder_->file(std::string(kPrefix) + std::to_string(set_) + "-" + name + ".bin");
}

std::byte* MappedFiles::map(const std::string& name, std::size_t bytes) {
  if (bytes == 0) return nullptr;
  Mapping mapping{nullptr, bytes, file(name), -1};
  mappings_.reserve(mappings_.size() + 1);
  const int flags = O_RDWR | O_CLOEXEC | (mode_ == Mode::create ? O_CREAT | O_EXCL : 0);
  mapping.descriptor = retry([&] { return ::open(mapping.path.c_str(), flags, 0666); });
  if (mapping.descriptor < 0) throw FileError(errno, mapping.path);
  int code = 0;
  struct stat status{};
  if (mode_ == Mode::open) {
    if (fstat(mapping.descriptor, &status) != 0) code = errno;
    if (code == 0 && static_cast<std::uint64_t>(status.st_size) != bytes) {
      close(mapping.descriptor);
      throw CheckpointCorruptError(mapping.path + " has " + std::to_string(status.st_size) + " bytes; must have " +
                                   std::to_string(bytes));
    }
  }
  // A copy of a folder may have holes.
  if (code == 0) code = reserve_space(mapping.descriptor, bytes);
  if (code == 0 && mode_ == Mode::create) code = sync_file(mapping.descriptor);
  if (code == 0) {
    void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, mapping.descriptor, 0);
    if (memory == MAP_FAILED) {
      code = errno;
    } else {
      mapping.data = static_cast<std::byte*>(memory);
    }
  }
  if (code != 0) {
    close(mapping.descriptor);
    throw FileError(code, mapping.path);
  }
  std::byte* const data = mapping.data;
  mappings_.push_back(std::move(mapping));
  mapped_bytes_ += bytes;
  if (mode_ == Mode::create) sync_folder(folder_->path());
  return data;
}

void MappedFiles::fetch(const std::byte* begin, std::size_t bytes) const {
  static const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<std::uintptr_t>(begin) & ~(page - 1);
  const auto last = reinterpret_cast<std::uintptr_t>(begin) + bytes;
  madvise(reinterpret_cast<void*>(first), last - first, MADV_WILLNEED);  // advice only
}

void MappedFiles::sync(const Poll& poll) {
  if (failed_) throw FileError(EIO, folder_->path());
  for (const Mapping& mapping : mappings_) {
    // Piece by piece, so that Ctrl-C is heard.
    int code = 0;
    for (std::size_t begin = 0; code == 0 && begin < mapping.bytes; begin += kSyncPiece) {
      if (poll) poll();
      code = write_out(mapping.descriptor, mapping.data, begin, std::min(kSyncPiece, mapping.bytes - begin));
    }
    if (code == 0) code = sync_data(mapping.descriptor);
    if (code != 0) {
      failed_ = true;
      throw FileError(code, mapping.path);
    }
  }
}

void MappedFiles::announce(std::uint64_t flush, std::uint64_t slots) {
  Intent intent{announcements_ + 1, flush, slots, 0, 0};
  intent.checksum = intent.sum();
  const auto offset = static_cast<off_t>(intent.number % 2) * Intent::kDistance;
  const ssize_t written = retry([&] { return pwrite(intent_, &intent, sizeof intent, offset); });
  if (written != static_cast<ssize_t>(sizeof intent)) throw FileError(written < 0 ? errno : EIO, intent_path_);
  if (const int code = sync_data(intent_); code != 0) throw FileError(code, intent_path_);
  announcements_ = intent.number;
}

MappedFiles::Intent MappedFiles::newest() const {
  const FileSource file(intent_path_);
  Intent newest{};
  int bad = file.size() == Intent::kFileBytes ? 0 : 2;
  for (std::uint64_t record = 0; record < 2; ++record) {
    Intent intent{};
    file.read(record * static_cast<std::uint64_t>(Intent::kDistance), reinterpret_cast<std::byte*>(&intent),
              sizeof intent);
    if (intent.checksum == intent.sum() && intent.number <= kLargestNumber) {
      if (intent.number > newest.number) newest = intent;
    } else if (intent.number != 0 || intent.flush != 0 || intent.slots != 0 || intent.checksum != 0) {
      ++bad;  // one may be torn
    }
  }
  if (bad > 1) throw CheckpointCorruptError(intent_path_ + " is damaged");
  return newest;
}

std::uint64_t MappedFiles::announced(std::uint64_t flush) const {
  const Intent intent = newest();
  if (intent.flush > flush) return ~std::uint64_t{0};
  return intent.flush == flush ? intent.slots : 0;
}

}  // namespace metarl
