#include "metarl/shared_lane.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <stdexcept>

#include "core/platform_files.h"
#include "metarl/aligned_memory.h"
#include "metarl/errors.h"
#include "metarl/replay_buffer.h"

#if !defined(_WIN32)
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace metarl {

// Lock-free atomics are the same object in every process that maps them.
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

namespace {

constexpr std::uint64_t kMagic = 0x314E414C4C52544DULL;  // "MTRLLAN1"
constexpr std::size_t kPage = 4096;
constexpr std::int64_t kDrainRows = 4096;  // at most, between two locks of the buffer

std::size_t round_up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }

std::string lane_name(std::int64_t lane) { return "lane " + std::to_string(lane); }

}  // namespace

RowLayout::RowLayout(const std::vector<FieldSpec>& fields, bool with_env_ids) : has_env_ids(with_env_ids) {
  row_bytes = with_env_ids ? sizeof(std::int64_t) : 0;
  fingerprint = with_env_ids ? 2 : 1;
  for (const FieldSpec& field : fields) {
    check_allocation(row_bytes, 1);
    check_allocation(field.bytes, 1);
    row_bytes = round_up(row_bytes, field.alignment);
    offsets.push_back(row_bytes);
    sizes.push_back(field.bytes);
    row_bytes += field.bytes;
    for (const char c : field.name + '\0') fingerprint = (fingerprint ^ static_cast<unsigned char>(c)) * 0x100000001B3;
    fingerprint = (fingerprint ^ field.bytes) * 0x100000001B3;
  }
  row_bytes = round_up(row_bytes, sizeof(std::int64_t));
}

struct SharedLanes::Header {
  std::uint64_t magic;
  std::uint64_t fingerprint;
  std::uint64_t row_bytes;
  std::int64_t num_lanes;
  std::int64_t slots;
  std::uint64_t learner;  // stamp
  alignas(64) std::atomic<std::uint64_t> closed;
};

struct SharedLanes::Lane {
  // Written by the writer.
  alignas(64) std::atomic<std::uint64_t> head;  // rows published so far
  std::atomic<std::uint64_t> dropped;
  std::atomic<std::uint64_t> owner;  // stamp
  // Written by the learner.
  alignas(64) std::atomic<std::uint64_t> tail;  // rows drained so far
};

SharedLanes::SharedLanes(const RowLayout& layout, void* memory, std::size_t bytes)
    : layout_(layout), memory_(static_cast<std::byte*>(memory)), bytes_(bytes), sources_(layout.sizes.size()) {}

SharedLanes::Header& SharedLanes::header() const { return *reinterpret_cast<Header*>(memory_); }

SharedLanes::Lane& SharedLanes::lane(std::int64_t index) const {
  return reinterpret_cast<Lane*>(memory_ + kPage)[index];
}

std::byte* SharedLanes::row(std::int64_t lane_index, std::uint64_t number) const {
  const std::size_t rows = kPage + round_up(static_cast<std::size_t>(num_lanes()) * sizeof(Lane), kPage);
  const auto slots_each = static_cast<std::size_t>(slots());
  return memory_ + rows +
         (static_cast<std::size_t>(lane_index) * slots_each + static_cast<std::size_t>(number % slots_each)) *
             layout_.row_bytes;
}

std::int64_t SharedLanes::num_lanes() const { return header().num_lanes; }

std::int64_t SharedLanes::slots() const { return header().slots; }

#if !defined(_WIN32)

namespace {

class File {
 public:
  File(const std::string& path, int flags) : descriptor_(::open(path.c_str(), flags | O_CLOEXEC, 0600)) {
    if (descriptor_ < 0) throw FileError(errno, path);
  }
  ~File() { ::close(descriptor_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

void* map(const File& file, std::size_t bytes, const std::string& path) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (memory == MAP_FAILED) throw FileError(errno, path);
  return memory;
}

}  // namespace

std::unique_ptr<SharedLanes> SharedLanes::create(const std::string& path, std::int64_t num_lanes, std::int64_t slots,
                                                 const RowLayout& layout) {
  if (num_lanes < 1) throw std::invalid_argument("num_writers is " + std::to_string(num_lanes) + "; must be >= 1");
  if (slots < 1) throw std::invalid_argument("slots is " + std::to_string(slots) + "; must be >= 1");
  check_allocation(static_cast<std::uint64_t>(num_lanes), sizeof(Lane));
  check_allocation(static_cast<std::uint64_t>(slots), layout.row_bytes);
  check_allocation(static_cast<std::uint64_t>(num_lanes), static_cast<std::uint64_t>(slots) * layout.row_bytes);
  const std::size_t bytes =
      kPage + round_up(static_cast<std::size_t>(num_lanes) * sizeof(Lane), kPage) +
      round_up(static_cast<std::size_t>(num_lanes) * static_cast<std::size_t>(slots) * layout.row_bytes, kPage);
  const File file(path, O_RDWR | O_CREAT | O_EXCL);
  try {
    // Reserves the space: a file system that is full must be an error here, not a SIGBUS of a writer.
    const int failure = reserve_space(file.get(), bytes);
    if (failure != 0) throw FileError(failure, path);
    std::unique_ptr<SharedLanes> lanes(new SharedLanes(layout, map(file, bytes, path), bytes));
    auto* header = new (lanes->memory_) Header{};
    header->fingerprint = layout.fingerprint;
    header->row_bytes = layout.row_bytes;
    header->num_lanes = num_lanes;
    header->slots = slots;
    header->learner = own_process_stamp();
    for (std::int64_t i = 0; i < num_lanes; ++i) new (&lanes->lane(i)) Lane{};
    header->magic = kMagic;
    return lanes;
  } catch (...) {
    unlink(path.c_str());
    throw;
  }
}

std::unique_ptr<SharedLanes> SharedLanes::open(const std::string& path, const RowLayout& layout) {
  const File file(path, O_RDWR);
  struct stat status;
  if (fstat(file.get(), &status) != 0) throw FileError(errno, path);
  const auto bytes = static_cast<std::size_t>(status.st_size);
  if (bytes < kPage) throw std::runtime_error("'" + path + "' holds no lanes");
  std::unique_ptr<SharedLanes> lanes(new SharedLanes(layout, map(file, bytes, path), bytes));
  const Header& header = lanes->header();
  if (header.magic != kMagic) throw std::runtime_error("'" + path + "' holds no lanes");
  if (header.fingerprint != layout.fingerprint || header.row_bytes != layout.row_bytes) {
    throw std::runtime_error("the lanes in '" + path + "' were made for other fields");
  }
  return lanes;
}

SharedLanes::~SharedLanes() {
  if (memory_ != nullptr) munmap(memory_, bytes_);
}

#else

std::unique_ptr<SharedLanes> SharedLanes::create(const std::string&, std::int64_t, std::int64_t, const RowLayout&) {
  throw std::runtime_error("writer processes need POSIX shared memory, which this system does not have");
}

std::unique_ptr<SharedLanes> SharedLanes::open(const std::string&, const RowLayout&) {
  throw std::runtime_error("writer processes need POSIX shared memory, which this system does not have");
}

SharedLanes::~SharedLanes() = default;

#endif

LaneStats SharedLanes::stats(std::int64_t index) const {
  const Lane& from = lane(index);
  LaneStats stats;
  const std::uint64_t owner = from.owner.load(std::memory_order_acquire);
  stats.pid = pid_of_stamp(owner);
  stats.alive = owner != 0 && process_stamp(stats.pid) == owner;
  stats.drained = from.tail.load(std::memory_order_relaxed);
  stats.written = from.head.load(std::memory_order_acquire);
  stats.dropped = from.dropped.load(std::memory_order_relaxed);
  return stats;
}

bool SharedLanes::closed() const { return header().closed.load(std::memory_order_acquire) != 0; }

bool SharedLanes::learner_alive() const {
  const std::uint64_t learner = header().learner;
  return process_stamp(pid_of_stamp(learner)) == learner;
}

void SharedLanes::close() { header().closed.store(1, std::memory_order_release); }

void SharedLanes::attach(std::int64_t index) {
  std::atomic<std::uint64_t>& owner = lane(index).owner;
  const std::uint64_t self = own_process_stamp();
  std::uint64_t found = owner.load(std::memory_order_acquire);
  do {
    if (found != 0 && process_stamp(pid_of_stamp(found)) == found) {
      throw std::runtime_error(
          lane_name(index) + " is in use by " +
          (found == self ? "another handle of this process" : "process " + std::to_string(pid_of_stamp(found))));
    }
    // The acquire pairs with the release of the dead or detached writer's last publication.
  } while (!owner.compare_exchange_weak(found, self, std::memory_order_acq_rel, std::memory_order_acquire));
}

void SharedLanes::detach(std::int64_t index) noexcept {
  std::uint64_t self = own_process_stamp();
  lane(index).owner.compare_exchange_strong(self, 0, std::memory_order_acq_rel);
}

bool SharedLanes::try_write(std::int64_t index, const ColumnSource* columns, const std::int64_t* env_ids,
                            std::int64_t n) {
  const std::lock_guard lock(write_mutex_);
  Lane& to = lane(index);
  const std::uint64_t head = to.head.load(std::memory_order_relaxed);
  const std::uint64_t used = head - to.tail.load(std::memory_order_acquire);
  if (static_cast<std::uint64_t>(slots()) - used < static_cast<std::uint64_t>(n)) return false;
  for (std::int64_t i = 0; i < n; ++i) {
    std::byte* out = row(index, head + static_cast<std::uint64_t>(i));
    if (layout_.has_env_ids) std::memcpy(out, env_ids + i, sizeof(std::int64_t));
    for (std::size_t f = 0; f < layout_.sizes.size(); ++f) {
      std::memcpy(out + layout_.offsets[f], columns[f].data + i * columns[f].stride, layout_.sizes[f]);
    }
  }
  to.head.store(head + static_cast<std::uint64_t>(n), std::memory_order_release);
  return true;
}

void SharedLanes::count_dropped(std::int64_t index, std::int64_t n) {
  lane(index).dropped.fetch_add(static_cast<std::uint64_t>(n), std::memory_order_relaxed);
}

std::int64_t SharedLanes::drain_lane(std::int64_t index, ReplayBuffer* buffer, std::int64_t max_rows) {
  Lane& from = lane(index);
  std::uint64_t tail = from.tail.load(std::memory_order_relaxed);
  const std::uint64_t published = from.head.load(std::memory_order_acquire) - tail;
  if (published > static_cast<std::uint64_t>(slots())) throw std::runtime_error(lane_name(index) + " is corrupt");
  std::int64_t left = std::min(static_cast<std::int64_t>(published), max_rows);
  std::int64_t moved = 0;
  const std::int64_t num_envs = buffer->options().streams.num_envs;
  while (left > 0) {
    const auto to_end = slots() - static_cast<std::int64_t>(tail % static_cast<std::uint64_t>(slots()));
    const std::int64_t n = std::min({left, to_end, kDrainRows});
    const std::byte* rows = row(index, tail);
    const auto stride = static_cast<std::ptrdiff_t>(layout_.row_bytes);
    for (std::size_t f = 0; f < sources_.size(); ++f) sources_[f] = {rows + layout_.offsets[f], stride};
    slots_.resize(static_cast<std::size_t>(n));
    env_ids_.resize(static_cast<std::size_t>(n));
    for (std::int64_t i = 0; layout_.has_env_ids && i < n; ++i) {
      std::memcpy(&env_ids_[static_cast<std::size_t>(i)], rows + i * stride, sizeof(std::int64_t));
      const std::int64_t env = env_ids_[static_cast<std::size_t>(i)];
      if (env < 0 || env >= num_envs) throw std::runtime_error(lane_name(index) + " is corrupt");
    }
    buffer->add(sources_.data(), layout_.has_env_ids ? env_ids_.data() : nullptr, n, slots_.data());
    tail += static_cast<std::uint64_t>(n);
    from.tail.store(tail, std::memory_order_release);
    moved += n;
    left -= n;
  }
  return moved;
}

std::int64_t SharedLanes::drain(ReplayBuffer* buffer, std::int64_t max_rows) {
  const std::lock_guard lock(drain_mutex_);
  std::int64_t moved = 0;
  const std::int64_t first = next_lane_;
  for (std::int64_t k = 0; k < num_lanes() && moved < max_rows; ++k) {
    const std::int64_t index = (first + k) % num_lanes();
    moved += drain_lane(index, buffer, max_rows - moved);
    next_lane_ = (index + 1) % num_lanes();
  }
  if (moved < max_rows) next_lane_ = 0;
  return moved;
}

}  // namespace metarl
