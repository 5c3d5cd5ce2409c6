// Rows from other processes: a file that is mapped into all of them holds one lane for each writer, a ring with one
// producer and one consumer.
//
// A row is whole or absent: a writer copies all rows of one call behind the published ones and then publishes them by
// one store of the lane's head. A writer that dies at any moment leaves its lane as it was at the last call, and
// another process can go on with it. A lane belongs to a process, which is named by its id and the time it started, so
// that a number that the system uses again is no confusion.
//
// Needs POSIX; elsewhere create() and open() throw.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "metarl/replay_options.h"
#include "metarl/transition_store.h"

namespace metarl {

class ReplayBuffer;

// A running process, by its id and start time; 0 if there is none or it is a zombie.
std::uint64_t process_stamp(std::int64_t pid);
inline std::int64_t pid_of_stamp(std::uint64_t stamp) { return static_cast<std::int64_t>(stamp >> 42); }
std::uint64_t own_process_stamp();

// How a row lies in a lane: the environment (int64, if the buffer has several), then the fields, each aligned.
struct RowLayout {
  RowLayout(const std::vector<FieldSpec>& fields, bool with_env_ids);
  std::vector<std::size_t> offsets, sizes;
  std::size_t row_bytes = 0;
  bool has_env_ids;
  std::uint64_t fingerprint = 0;
};

struct LaneStats {
  std::int64_t pid = 0;  // of the process that has the lane, 0 if none has
  bool alive = false;
  std::uint64_t written = 0;  // rows published so far
  std::uint64_t drained = 0;
  std::uint64_t dropped = 0;  // rows that writers gave up to publish, as the lane was full
};

// The mapped file. Every object has a mapping of its own.
class SharedLanes {
 public:
  // Makes the file, which must not exist. Throws FileError (also if the file system is full), std::invalid_argument.
  static std::unique_ptr<SharedLanes> create(const std::string& path, std::int64_t num_lanes, std::int64_t slots,
                                             const RowLayout& layout);
  // Throws FileError, std::runtime_error if the file is no such one or has other fields.
  static std::unique_ptr<SharedLanes> open(const std::string& path, const RowLayout& layout);
  ~SharedLanes();
  SharedLanes(const SharedLanes&) = delete;
  SharedLanes& operator=(const SharedLanes&) = delete;

  std::int64_t num_lanes() const;
  std::int64_t slots() const;
  const RowLayout& layout() const { return layout_; }
  LaneStats stats(std::int64_t lane) const;
  bool closed() const;
  bool learner_alive() const;
  // Learner: closed() is true for the writers from now on.
  void close();

  // Writer. Takes the lane for this process; throws std::runtime_error if a living process has it.
  void attach(std::int64_t lane);
  void detach(std::int64_t lane) noexcept;
  // Publishes all rows or, if there is no room for them, none. Precondition: attached, n <= slots().
  bool try_write(std::int64_t lane, const ColumnSource* columns, const std::int64_t* env_ids, std::int64_t n);
  void count_dropped(std::int64_t lane, std::int64_t n);

  // Learner. Moves up to max_rows published rows of all lanes, one lane after the other from the first on (or from
  // where the last call reached its max_rows), into the buffer; returns their number. Throws std::runtime_error if a
  // lane is corrupt, and what ReplayBuffer::add throws: the rows stay then.
  std::int64_t drain(ReplayBuffer* buffer, std::int64_t max_rows);

 private:
  struct Header;
  struct Lane;
  SharedLanes(const RowLayout& layout, void* memory, std::size_t bytes);
  Header& header() const;
  Lane& lane(std::int64_t index) const;
  std::byte* row(std::int64_t lane_index, std::uint64_t number) const;
  std::int64_t drain_lane(std::int64_t index, ReplayBuffer* buffer, std::int64_t max_rows);

  const RowLayout layout_;
  std::byte* memory_ = nullptr;
  std::size_t bytes_ = 0;
  std::mutex write_mutex_, drain_mutex_;  // of the threads that share this object
  std::int64_t next_lane_ = 0;
  std::vector<ColumnSource> sources_;
  std::vector<std::int64_t> env_ids_, slots_;
};

}  // namespace metarl
