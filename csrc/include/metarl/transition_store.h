// Ring storage of transitions, one slot each.
//
// The small fields of a slot lie side by side in one packed row (a cache line or two), so that a random access brings
// them all; a field above kMaxPackedBytes (an image) has an array of its own, each element at a multiple of 16 bytes.
// Not synchronised: one caller at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "metarl/aligned_memory.h"
#include "metarl/detail/add_portions.h"
#include "metarl/mapped_files.h"
#include "metarl/thread_pool.h"

namespace metarl {

struct FieldSpec {
  std::string name;
  std::size_t bytes;       // of one element, all its dimensions together
  std::size_t alignment;   // of its items: 1, 2, 4 or 8
  int stack = 1;           // frames on the leading axis, the newest one last; more than 1: see streams.h
  int next_of = -1;        // the field whose value in the following step this is
  bool recurrent = false;  // of a sequence, only the first step's value is returned
  // As checkpoints name the elements; without a dtype they are plain bytes.
  std::string dtype = {};
  std::vector<std::uint64_t> shape = {};
};

// Where the rows of one column come from: row i at data + i * stride bytes.
struct ColumnSource {
  const std::byte* data;
  std::ptrdiff_t stride;
};

class TransitionStore {
 public:
  // Copies of at least this size are shared among the threads; below, waking them takes longer.
  static constexpr std::size_t kThreadedBytes = std::size_t{1} << 20;

  enum class Place { memory, files };

  // In memory, or without any place until it is given one by map. Throws OutOfMemoryError (with the bytes asked for).
  TransitionStore(std::int64_t capacity, std::vector<FieldSpec> fields, Place place = Place::memory);
  // Puts the slots into files, which must outlive this object. Throws what MappedFiles::map does.
  void map(MappedFiles* files);

  const std::vector<FieldSpec>& fields() const { return fields_; }
  // Of the fields alone, and of a slot with its padding.
  std::size_t field_bytes() const { return field_bytes_; }
  std::size_t bytes_per_slot() const { return bytes_per_slot_; }

  // Threads for large copies, the caller included; 1 at first. They start with the first such copy.
  void set_num_threads(int num_threads);
  int num_threads() const;

  // Calls work(begin, end) for parts of [0, n), on several threads if all of it copies much. For one caller at a time.
  template <typename F>
  void for_rows(std::int64_t n, std::size_t bytes_each, F&& work) const {
    if (pool_ == nullptr || static_cast<std::size_t>(n) * bytes_each < kThreadedBytes) {
      work(std::int64_t{0}, n);
      return;
    }
    share_rows(
        n, bytes_each,
        [](void* context, std::int64_t begin, std::int64_t end) {
          (*static_cast<std::remove_reference_t<F>*>(context))(begin, end);
        },
        &work);
  }

  // Copies n rows of every column that has data into the slots [slot, slot + n), n <= capacity - slot.
  void write(std::int64_t slot, const ColumnSource* columns, std::int64_t n);
  // Copies the slots' columns to dense arrays, one a field.
  void gather(const std::int64_t* slots, std::int64_t n, std::byte* const* columns) const;
  // The same for field `f` alone; a negative slot gives zeros.
  void gather_field(std::size_t f, const std::int64_t* slots, std::int64_t n, std::byte* out) const;
  // Copies n elements of `bytes` each to a dense array; a null pointer gives zeros.
  static void copy_from(std::size_t bytes, const std::byte* const* from, std::int64_t n, std::byte* out);
  void prefetch_rows(const std::int64_t* slots, std::int64_t n) const;
  // Of slots in files: has the disk read all their pages at the same time, in place of one after the other as they are
  // touched. Negative slots are left out.
  void fetch(const std::int64_t* slots, std::int64_t n) const;
  bool fetches() const { return fetches_; }
  // Element of field `f` in a slot; those of the following slots are stride(f) bytes apart.
  std::byte* at(std::size_t f, std::int64_t slot) const { return address(columns_[f], slot); }
  std::ptrdiff_t stride(std::size_t f) const { return static_cast<std::ptrdiff_t>(columns_[f].stride); }
  bool is_packed(std::size_t f) const { return columns_[f].packed; }
  // Copies field `f` of the slots [slot, slot + n) to a dense array.
  void read(std::size_t f, std::int64_t slot, std::int64_t n, std::byte* out) const;

 private:
  struct Column {
    std::size_t bytes;
    std::size_t stride;  // from slot to slot
    std::size_t offset;  // in the packed row
    std::byte* data;     // of slot 0
    bool packed;
  };
  static std::byte* address(const Column& column, std::int64_t slot) {
    return column.data + static_cast<std::size_t>(slot) * column.stride;
  }
  template <typename Allocate>
  void place(Allocate&& allocate);
  void write_rows(std::int64_t slot, const ColumnSource* columns, std::int64_t first, std::int64_t count);
  void gather_rows(const std::int64_t* slots, std::int64_t first, std::int64_t count, std::byte* const* columns) const;
  void share_rows(std::int64_t n, std::size_t bytes_each, void (*work)(void*, std::int64_t, std::int64_t),
                  void* context) const;

  std::vector<FieldSpec> fields_;
  std::vector<Column> columns_;
  std::byte* rows_ = nullptr;
  std::vector<AlignedMemory> memory_;  // of the rows and of each large field, or:
  const MappedFiles* files_ = nullptr;
  bool fetches_ = false;
  std::size_t fetched_bytes_ = 0;  // smaller elements are not fetched
  std::int64_t capacity_;
  std::size_t row_bytes_ = 0;
  std::size_t field_bytes_ = 0;
  std::size_t bytes_per_slot_ = 0;
  std::unique_ptr<ThreadPool> pool_;
};

}  // namespace metarl
