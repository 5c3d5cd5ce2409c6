// Columns of a replay buffer in memory-mapped files: for buffers that are larger than memory, or outlive their process.
//
// A folder holds one buffer at a time:
//   metarl.lock           locked by whoever has the folder open
//   metarl-state.ckpt     what was flushed last: everything but the columns, replaced in one step (checkpoint_file.h)
//   metarl-S-rows.bin, metarl-S-column-F.bin     the columns of set S
//   metarl-S-intent.bin   which slots may have been overwritten since
// The state names the set it belongs to; a restored buffer takes a new set, so that the old one stays whole until the
// new state is in place. Files of other sets are leftovers and are removed.
//
// A slot that is written after a flush no longer holds what the flushed state says of it. So such writes are announced
// first, durably: what was flushed and not announced since is whole, whatever happens. docs/checkpoint-format.md has
// the layout of the files.
//
// Not synchronised: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "metarl/checkpoint_file.h"

namespace metarl {

// A folder is open already, here or in another process.
struct StorageInUseError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class MappedFiles;

class StorageFolder {
 public:
  // Creates the folder (not those above it) and locks it. Throws FileError, StorageInUseError.
  explicit StorageFolder(std::string path);
  ~StorageFolder();
  StorageFolder(const StorageFolder&) = delete;
  StorageFolder& operator=(const StorageFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const;
  std::string state_path() const { return file("metarl-state.ckpt"); }
  bool has_state() const;
  // Whether there are columns that a buffer wrote to.
  bool has_columns() const;

  // A set that no file has the number of.
  std::uint64_t unused() const;
  void remove(std::uint64_t set) const;
  // Removes all files of sets but this one.
  void remove_leftovers(const MappedFiles* used) const;

 private:
  std::vector<std::pair<std::string, std::uint64_t>> set_files() const;

  std::string path_;
  int lock_ = -1;
  const std::int64_t owner_;  // process
};

// The files of one set.
class MappedFiles {
 public:
  enum class Mode { create, open };

  MappedFiles(std::shared_ptr<StorageFolder> folder, std::uint64_t set, Mode mode);
  ~MappedFiles();
  MappedFiles(const MappedFiles&) = delete;
  MappedFiles& operator=(const MappedFiles&) = delete;

  StorageFolder& folder() const { return *folder_; }
  std::shared_ptr<StorageFolder> shared_folder() const { return folder_; }
  std::uint64_t set() const { return set_; }

  // Whether the files stay when this object goes; at first, those that were opened do.
  void keep(bool kept) { kept_ = kept; }

  // Maps a file of that many bytes: a new one, zeroed, with its disk space reserved, or an existing one. Throws
  // FileError (no space, for example), CheckpointCorruptError if an existing file has another size.
  std::byte* map(const std::string& name, std::size_t bytes);
  std::size_t mapped_bytes() const { return mapped_bytes_; }
  // Asks for the pages to be read, which comes back before they are.
  void fetch(const std::byte* begin, std::size_t bytes) const;
  // Returns when everything written to the mappings is on the disk. Throws FileError, and what poll throws. What could
  // not be written is lost to the system's memory too: after a FileError all later calls throw.
  void sync(const Poll& poll);

  // Announces that up to `slots` slots may have been overwritten since the flush of that number; durable on return.
  // Throws FileError: then it is announced, or what was before still is.
  void announce(std::uint64_t flush, std::uint64_t slots);
  // The number that was announced last, 0 if none since that flush; the largest number if there was a later flush.
  // Throws FileError, CheckpointCorruptError.
  std::uint64_t announced(std::uint64_t flush) const;

 private:
  struct Mapping {
    std::byte* data;
    std::size_t bytes;
    std::string path;
    int descriptor;
  };
  struct Intent;
  Intent newest() const;
  std::string file(const std::string& name) const;
  void release() noexcept;

  std::shared_ptr<StorageFolder> folder_;
  const std::uint64_t set_;
  const Mode mode_;
  bool kept_;
  const std::int64_t owner_;  // process
  std::vector<Mapping> mappings_;
  std::size_t mapped_bytes_ = 0;
  bool failed_ = false;  // a sync did
  std::string intent_path_;
  int intent_ = -1;
  std::uint64_t announcements_ = 0;
};

}  // namespace metarl
