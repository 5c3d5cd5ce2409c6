// Replay buffers whose columns lie in files: opening, flushing, and what a crash may have overwritten.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <stdexcept>

#include "metarl/errors.h"
#include "metarl/replay_buffer.h"

namespace metarl {
namespace {

// The state that lies beside files with the columns. Links are in the columns' rows, but were saved with the state:
// what is in the rows may be newer.
class StateBesideColumns : public CheckpointState {
 public:
  explicit StateBesideColumns(const CheckpointReader& checkpoint)
      : CheckpointState(checkpoint, Saved::all_but_columns) {}

  void read(const StateArray& array) const override {
    if (array.spec.name.starts_with("columns/")) return;
    if (!array.spec.name.starts_with("links")) return CheckpointState::read(array);
    std::vector<std::byte> dense(static_cast<std::size_t>(array.size()) * array.element_bytes);
    StateArray copy = array;
    copy.data = dense.data();
    copy.stride = static_cast<std::ptrdiff_t>(array.element_bytes);
    CheckpointState::read(copy);
    for (std::int64_t i = 0; i < array.size(); ++i) {
      std::byte* stored = array.data + i * array.stride;
      const std::byte* saved = dense.data() + i * copy.stride;
      // A page that is not written to need not go to the disk.
      if (std::memcmp(stored, saved, array.element_bytes) != 0) std::memcpy(stored, saved, array.element_bytes);
    }
  }
};

}  // namespace

// How many slots are announced at least: each announcement waits for the disk. After a crash the flushed transitions in
// announced slots are lost, whether they were overwritten or not.
std::uint64_t ReplayBuffer::slots_ahead() const {
  const auto capacity = static_cast<std::uint64_t>(capacity_);
  return std::max(capacity / 64, std::min(capacity / 8, std::uint64_t{1024}));
}

void ReplayBuffer::announce_until(std::uint64_t until) {
  Storage& storage = *storage_;
  const auto capacity = static_cast<std::uint64_t>(capacity_);
  if (storage.all_next) {
    storage.files->announce(storage.flush, capacity);
    storage.all_announced = true;
    storage.all_next = false;
    return;
  }
  storage.files->announce(storage.flush, std::min(until - storage.flushed, capacity));
  storage.announced = until;
  storage.all_announced = mark_.written - storage.flushed >= capacity;  // and overwritten
}

// Before anything is written to the next slots.
void ReplayBuffer::announce(std::int64_t slots) {
  if (storage_ == nullptr || storage_->all_announced) return;
  const std::uint64_t needed = mark_.written + static_cast<std::uint64_t>(slots);
  if (needed > storage_->announced || storage_->all_next) {
    announce_until(std::max(needed, mark_.written + slots_ahead()));
  }
}

// The most that an add might have needed can be far more than what it took.
void ReplayBuffer::trim_announcement() {
  if (storage_ == nullptr || storage_->all_announced) return;
  const std::uint64_t enough = mark_.written + slots_ahead();
  if (storage_->announced <= enough) return;
  try {
    announce_until(enough);
  } catch (const FileError&) {
    storage_->announced =
        mark_.written;  // which of the two is on the disk is not known: the next write announces again
  }
}

// Hides what `overwritten` slots, written after the state that was loaded, took the place of. Returns whether anything
// was lost.
bool ReplayBuffer::lose(std::uint64_t overwritten) {
  const auto capacity = static_cast<std::uint64_t>(capacity_);
  overwritten = std::min(overwritten, capacity);
  if (overwritten == 0 || mark_.written + overwritten <= capacity) return false;  // slots that held nothing
  const SlotRange lost{capacity_, static_cast<std::int64_t>(mark_.written % capacity),
                       static_cast<std::int64_t>(overwritten)};
  std::vector<std::int64_t> hidden;
  if (streams_ != nullptr) streams_->forget(lost, slots_used_unlocked(), &hidden);
  std::erase_if(hidden, [this](std::int64_t slot) { return !valid().contains(slot); });
  for (std::int64_t k = 0; k < lost.count; ++k) {
    const std::int64_t slot = (lost.first + k) % capacity_;
    if (valid().contains(slot)) hidden.push_back(slot);
  }
  hide(hidden.data(), static_cast<std::int64_t>(hidden.size()));
  mark_.written += overwritten;
  return true;
}

void ReplayBuffer::open_new_files(const std::shared_ptr<StorageFolder>& folder, Value config) {
  storage_ = std::make_unique<Storage>();
  storage_->config = std::move(config);
  for (;;) {
    try {
      storage_->files = std::make_unique<MappedFiles>(folder, folder->unused(), MappedFiles::Mode::create);
      break;
    } catch (const FileError& failure) {
      if (failure.code != EEXIST) throw;  // another thread took that number
    }
  }
  store_.map(storage_->files.get());
  mutex_.bind_to_process();
  mutex_.set_closed(false);
}

void ReplayBuffer::open(std::shared_ptr<StorageFolder> folder, const CheckpointReader* state, Value config,
                        const Poll& poll) {
  if (!options_.mapped) throw std::logic_error("the buffer's columns are in memory");
  try {
    if (state == nullptr) {
      if (folder->has_columns()) {
        throw CheckpointCorruptError("'" + folder->state_path() + "' is missing, but the columns beside it are there");
      }
      folder->remove_leftovers(nullptr);
      open_new_files(folder, std::move(config));
      flush_unlocked(poll);
    } else {
      open_flushed(folder, *state, std::move(config));
    }
  } catch (...) {
    mutex_.set_closed(true);
    storage_.reset();  // files that were made just now go; they may take much of the disk
    throw;
  }
}

void ReplayBuffer::open_flushed(const std::shared_ptr<StorageFolder>& folder, const CheckpointReader& state,
                                Value config) {
  const StateBesideColumns source(state);
  storage_ = std::make_unique<Storage>();
  storage_->config = std::move(config);
  storage_->flush = source.count("flush");
  // Slots that are lost now stay announced: the next announcement counts from the flush too.
  storage_->flushed = source.count("written");
  storage_->files = std::make_unique<MappedFiles>(folder, source.count("file_set"), MappedFiles::Mode::open);
  store_.map(storage_->files.get());
  load(source, storage_->files->announced(storage_->flush));
  folder->remove_leftovers(storage_->files.get());
  mutex_.bind_to_process();
  mutex_.set_closed(false);
}

void ReplayBuffer::flush(const Poll& poll) {
  const std::lock_guard lock(mutex_);
  if (storage_ == nullptr) {
    throw std::invalid_argument("flush() needs storage='mmap:FOLDER'; the columns of this buffer are in memory");
  }
  flush_unlocked(poll);
}

void ReplayBuffer::flush_unlocked(const Poll& poll) {
  Storage& storage = *storage_;
  storage.files->sync(poll);
  AtomicFile file(storage.files->folder().state_path());
  visit_unlocked([&](const BufferState& whole) {
    BufferState state;
    state.numbers = whole.numbers;
    state.numbers.set("file_set", storage.files->set());
    state.numbers.set("flush", storage.flush + 1);
    std::copy_if(whole.arrays.begin(), whole.arrays.end(), std::back_inserter(state.arrays),
                 [](const StateArray& array) { return !array.spec.name.starts_with("columns/"); });
    write_state(state, storage.config, Saved::all_but_columns, file, poll);
  });
  if (poll) poll();
  file.sync();
  // If the last step fails, the state may have been replaced or not: from now on this flush is the newest one, and
  // everything that it holds counts as overwritten with the next write.
  storage.files->keep(true);
  ++storage.flush;
  storage.all_next = true;
  storage.all_announced = false;
  file.replace();
  storage.all_next = false;
  storage.flushed = storage.announced = mark_.written;
}

void ReplayBuffer::close(const Poll& poll) {
  try {
    mutex_.lock();
  } catch (const ClosedError&) {
    return;
  }
  const std::lock_guard lock(mutex_, std::adopt_lock);
  if (storage_ != nullptr) flush_unlocked(poll);
  store_ = TransitionStore(capacity_, store_.fields(), TransitionStore::Place::files);
  storage_.reset();
  mutex_.set_closed(true);
}

std::unique_ptr<ReplayBuffer> ReplayBuffer::make_empty() const {
  std::shared_ptr<StorageFolder> folder;
  Value config;
  {
    const std::lock_guard lock(mutex_);
    if (storage_ != nullptr) {
      folder = storage_->files->shared_folder();
      config = storage_->config;
    }
  }
  std::unique_ptr<ReplayBuffer> made = make_same();
  if (folder != nullptr) made->open_new_files(folder, std::move(config));
  return made;
}

}  // namespace metarl
