#include <algorithm>
#include <cctype>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <unordered_set>

#include "core/checkpoint_layout.h"
#include "core/crc32c.h"
#include "core/little_endian.h"
#include "metarl/checkpoint_file.h"

namespace metarl {

using namespace checkpoint;

namespace {

constexpr std::uint64_t kMaxBytes = std::numeric_limits<std::int64_t>::max();
constexpr std::byte kZeros[kAlignment] = {};

std::vector<std::byte> encode_header(const CheckpointHeader& header, const std::vector<SectionSpec>& sections) {
  Value::List required(header.required.begin(), header.required.end());
  Value::List table;
  for (const SectionSpec& section : sections) {
    Value::List shape(section.shape.begin(), section.shape.end());
    table.push_back(Value(Value::List{section.name, section.dtype, std::move(shape)}));
  }
  Value all;
  all.set("required", std::move(required));
  all.set("values", header.values.is_null() ? Value(Value::Map()) : header.values);
  all.set("sections", std::move(table));
  std::vector<std::byte> bytes = encode_value(all);
  if (bytes.size() > kMaxCheckpointHeader) {
    throw std::invalid_argument("the header needs " + std::to_string(bytes.size()) + " bytes; at most " +
                                std::to_string(kMaxCheckpointHeader) + " are allowed");
  }
  return bytes;
}

std::uint64_t file_bytes_of(std::size_t header_bytes, const std::vector<SectionSpec>& sections) {
  std::uint64_t total = padded(kPrologueBytes + header_bytes);
  for (const SectionSpec& section : sections) {
    const std::uint64_t bytes = section_bytes(section);
    if (bytes > kMaxBytes - kAlignment - total) throw std::invalid_argument("the file would exceed 2^63 bytes");
    total += padded(bytes);
  }
  return total + footer_bytes(sections.size());
}

}  // namespace

std::uint64_t item_bytes(std::string_view dtype) {
  const auto refuse = [&]() -> std::uint64_t {
    throw std::invalid_argument("unknown dtype '" + std::string(dtype.substr(0, 40)) + "'");
  };
  if (dtype.size() < 3 || (dtype[0] != '<' && dtype[0] != '|')) return refuse();
  const char kind = dtype[1];
  std::uint64_t number = 0;
  std::size_t i = 2;
  for (; i < dtype.size() && dtype[i] >= '0' && dtype[i] <= '9'; ++i) {
    number = number * 10 + static_cast<std::uint64_t>(dtype[i] - '0');
    if (number > std::numeric_limits<std::int32_t>::max()) return refuse();
  }
  if (i == 2 || dtype[2] == '0') return refuse();
  const bool time = kind == 'M' || kind == 'm';
  if (i < dtype.size()) {  // the unit of a time: [ns], [25s], ...
    const std::string_view unit = dtype.substr(i);
    if (!time || unit.size() < 3 || unit.size() > 16 || unit.front() != '[' || unit.back() != ']') return refuse();
    for (const char c : unit.substr(1, unit.size() - 2)) {
      if (std::isalnum(static_cast<unsigned char>(c)) == 0) return refuse();
    }
  }
  const bool power = (number & (number - 1)) == 0;
  switch (kind) {
    case 'b':
      return number == 1 ? number : refuse();
    case 'i':
    case 'u':
      return power && number <= 8 ? number : refuse();
    case 'f':
      return power && number >= 2 && number <= 16 ? number : refuse();
    case 'c':
      return power && number >= 8 && number <= 32 ? number : refuse();
    case 'M':
    case 'm':
      return number == 8 ? number : refuse();
    case 'S':
    case 'V':
      return number;
    case 'U':
      return 4 * number;
    default:
      return refuse();
  }
}

std::uint64_t section_bytes(const SectionSpec& spec) {
  std::uint64_t bytes = item_bytes(spec.dtype);
  bool empty = false;
  for (const std::uint64_t extent : spec.shape) {
    if (extent == 0) {
      empty = true;  // the other extents must still be possible
    } else if (extent > kMaxBytes / bytes) {
      throw std::invalid_argument("shape is beyond 2^63 bytes");
    } else {
      bytes *= extent;
    }
  }
  return empty ? 0 : bytes;
}

CheckpointWriter::CheckpointWriter(ByteSink& sink, const CheckpointHeader& header, std::vector<SectionSpec> sections,
                                   Poll poll)
    : sink_(sink), sections_(std::move(sections)), poll_(std::move(poll)) {
  std::unordered_set<std::string> names;
  for (const SectionSpec& section : sections_) {
    left_.push_back(section_bytes(section));
    if (!names.insert(section.name).second) throw std::invalid_argument("two sections named '" + section.name + "'");
  }
  std::vector<std::byte> head(kPrologueBytes);
  const std::vector<std::byte> encoded = encode_header(header, sections_);
  head.insert(head.end(), encoded.begin(), encoded.end());
  head.resize(padded(head.size()));
  const std::uint64_t total = file_bytes_of(encoded.size(), sections_);
  std::byte* prologue = head.data();
  std::memcpy(prologue, kMagic, sizeof kMagic);
  store_little_endian(prologue + kVersionAt, kCheckpointVersion);
  store_little_endian(prologue + kFlagsAt, std::uint32_t{0});
  store_little_endian(prologue + kHeaderBytesAt, static_cast<std::uint64_t>(encoded.size()));
  store_little_endian(prologue + kFileBytesAt, total);
  store_little_endian(prologue + kHeaderChecksumAt, crc32c(prologue + kPrologueBytes, head.size() - kPrologueBytes));
  store_little_endian(prologue + kPrologueChecksumAt, crc32c(prologue, kPrologueChecksumAt));
  sink_.reserve(total);
  sink_.write(head.data(), head.size());
  bytes_ = head.size();
  close_full_sections();
}

std::uint64_t CheckpointWriter::file_bytes(const CheckpointHeader& header, const std::vector<SectionSpec>& sections) {
  return file_bytes_of(encode_header(header, sections).size(), sections);
}

std::string_view CheckpointWriter::current() const {
  return section_ < sections_.size() ? std::string_view(sections_[section_].name) : std::string_view();
}

// A section whose last byte was written gets its padding and checksum.
void CheckpointWriter::close_full_sections() {
  while (section_ < sections_.size() && left_[section_] == 0) {
    const std::size_t padding = static_cast<std::size_t>(padded(bytes_) - bytes_);
    checksum_ = crc32c(kZeros, padding, checksum_);
    sink_.write(kZeros, padding);
    bytes_ += padding;
    append_little_endian(footer_, checksum_);
    checksum_ = 0;
    ++section_;
  }
}

void CheckpointWriter::put(const std::byte* data, std::size_t bytes) {
  checksum_ = crc32c(data, bytes, checksum_);
  sink_.write(data, bytes);
  bytes_ += bytes;
  left_[section_] -= bytes;
  if (poll_) poll_();
}

void CheckpointWriter::write(const void* data, std::size_t bytes) {
  const auto* from = static_cast<const std::byte*>(data);
  if (bytes == 0) return;
  if (section_ >= sections_.size() || bytes > left_[section_]) {
    throw std::logic_error("more data than section '" + std::string(current()) + "' announced");
  }
  while (bytes > 0) {
    const std::size_t n = std::min(bytes, kPiece);
    put(from, n);
    from += n;
    bytes -= n;
  }
  close_full_sections();
}

void CheckpointWriter::write_strided(const void* first, std::size_t element_bytes, std::ptrdiff_t stride,
                                     std::int64_t n) {
  const auto* from = static_cast<const std::byte*>(first);
  if (stride == static_cast<std::ptrdiff_t>(element_bytes)) {
    write(from, element_bytes * static_cast<std::size_t>(n));
    return;
  }
  const auto rows =
      static_cast<std::int64_t>(std::max<std::size_t>(1, kPiece / std::max<std::size_t>(1, element_bytes)));
  piece_.resize(static_cast<std::size_t>(std::min(rows, n)) * element_bytes);
  for (std::int64_t begin = 0; begin < n; begin += rows) {
    const std::int64_t count = std::min(rows, n - begin);
    for (std::int64_t i = 0; i < count; ++i) {
      std::memcpy(piece_.data() + static_cast<std::size_t>(i) * element_bytes, from + (begin + i) * stride,
                  element_bytes);
    }
    write(piece_.data(), static_cast<std::size_t>(count) * element_bytes);
  }
}

void CheckpointWriter::finish() {
  if (section_ < sections_.size()) {
    throw std::logic_error("section '" + sections_[section_].name + "' lacks " + std::to_string(left_[section_]) +
                           " bytes");
  }
  append_little_endian(footer_, crc32c(footer_.data(), footer_.size()));
  sink_.write(footer_.data(), footer_.size());
}

}  // namespace metarl
