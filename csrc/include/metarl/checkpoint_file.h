// Checkpoint files: a header of numbers and strings, and named arrays, each with its checksum. The layout is in
// docs/checkpoint-format.md. Writing and reading stream: no copy of the arrays is made.
//
// Loading runs no code and trusts nothing: every length is checked against the file's actual size before it is used.
// Not synchronised: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "metarl/checkpoint_io.h"
#include "metarl/checkpoint_value.h"

namespace metarl {

constexpr std::uint32_t kCheckpointVersion = 1;
constexpr std::size_t kMaxCheckpointHeader = std::size_t{1} << 20;

// Called between pieces of at most 1 MiB; what it throws ends the operation.
using Poll = std::function<void()>;

// An array: row-major, little endian. dtype as NumPy writes it: "<f4", "|u1", "|b1", "<M8[ns]", "|V24", ...
struct SectionSpec {
  std::string name;
  std::string dtype;
  std::vector<std::uint64_t> shape;
  bool operator==(const SectionSpec&) const = default;
};

// Bytes of one item and of the whole array.
// Throws std::invalid_argument if the dtype is unknown or the array is larger than 2^63 - 1 bytes.
std::uint64_t item_bytes(std::string_view dtype);
std::uint64_t section_bytes(const SectionSpec& spec);

// What the file says of itself.
struct CheckpointHeader {
  // Names of features that a reader must know to understand the rest; see CheckpointReader::check_features.
  std::vector<std::string> required;
  Value values;  // a map
};

class CheckpointWriter {
 public:
  // Announces the whole layout and writes the file's head. Section names must differ.
  // Throws std::invalid_argument (a section or the header cannot be stored) and what the sink throws.
  CheckpointWriter(ByteSink& sink, const CheckpointHeader& header, std::vector<SectionSpec> sections, Poll poll = {});
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  // The sections are written in the announced order, each in any number of pieces.
  // Throws std::logic_error if more is written than was announced.
  void write(const void* data, std::size_t bytes);
  // n elements that lie `stride` bytes apart.
  void write_strided(const void* first, std::size_t element_bytes, std::ptrdiff_t stride, std::int64_t n);
  // Throws std::logic_error if something announced is missing.
  void finish();

  // Name of the section that the next byte belongs to, "" at the end.
  std::string_view current() const;
  static std::uint64_t file_bytes(const CheckpointHeader& header, const std::vector<SectionSpec>& sections);

 private:
  void put(const std::byte* data, std::size_t bytes);
  void close_full_sections();

  ByteSink& sink_;
  std::vector<SectionSpec> sections_;
  Poll poll_;
  std::vector<std::uint64_t> left_;  // bytes of each section to come
  std::vector<std::byte> footer_;
  std::vector<std::byte> piece_;  // scratch of write_strided
  std::uint64_t bytes_ = 0;       // written so far
  std::size_t section_ = 0;
  std::uint32_t checksum_ = 0;
};

class CheckpointReader {
 public:
  struct Section : SectionSpec {
    std::uint64_t bytes = 0;
    std::uint64_t offset = 0;  // in the file, a multiple of 64
    std::uint32_t checksum = 0;
  };

  // Reads and checks everything but the sections' data. `name` stands in messages; `source` must outlive this.
  // Throws CheckpointFormatError, CheckpointVersionError, CheckpointCorruptError and what the source throws.
  CheckpointReader(const ByteSource& source, std::string name, Poll poll = {});

  const Value& header() const { return header_.values; }
  const std::vector<std::string>& required() const { return header_.required; }
  const std::vector<Section>& sections() const { return sections_; }
  // nullptr if there is none of that name.
  const Section* find(std::string_view name) const;

  // Throws CheckpointVersionError if the file requires a feature that is not among `known`.
  void check_features(const std::vector<std::string>& known) const;
  // Throws CheckpointCorruptError if the data differ from their checksum.
  void verify(const Section& section) const;
  void verify() const;
  // Reads the whole section into `bytes` bytes. Throws as verify does, after having written to `out`.
  void read(const Section& section, void* out) const;
  [[noreturn]] void corrupt(std::string_view part, const std::string& what) const;
  void poll() const {
    if (poll_) poll_();
  }

 private:
  friend class SectionStream;
  void read_head();
  void read_table(const Value& table);
  void read_footer();

  const ByteSource& source_;
  std::string name_;
  Poll poll_;
  CheckpointHeader header_;
  std::vector<Section> sections_;
  std::uint64_t file_bytes_ = 0;
  std::uint64_t data_begin_ = 0;
  std::uint64_t footer_begin_ = 0;
};

// Reads a section piece by piece. Preconditions: no more is read than the section holds, finish() after the last piece.
class SectionStream {
 public:
  SectionStream(const CheckpointReader& reader, const CheckpointReader::Section& section);
  void read(void* out, std::size_t bytes);
  // Into n elements that lie `stride` bytes apart.
  void read_strided(void* first, std::size_t element_bytes, std::ptrdiff_t stride, std::int64_t n);
  // Reads on without keeping anything, and throws CheckpointCorruptError if the checksum is wrong.
  void finish();

 private:
  const CheckpointReader& reader_;
  const CheckpointReader::Section& section_;
  std::uint64_t offset_;
  std::uint64_t left_;
  std::uint32_t checksum_ = 0;
  std::vector<std::byte> piece_;
};

}  // namespace metarl
