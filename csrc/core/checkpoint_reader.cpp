#include <algorithm>
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

// What a file that is not ours probably is.
const char* guess(const std::byte* head, std::size_t n) {
  const auto starts = [&](const char* with, std::size_t bytes) {
    return n >= bytes && std::memcmp(head, with, bytes) == 0;
  };
  if (n == 0) return "it is empty";
  if (n >= 2 && head[0] == std::byte{0x80} && head[1] >= std::byte{2} && head[1] <= std::byte{5}) {
    return "it looks like a Python pickle, which is never loaded because that could run code";
  }
  if (starts("METARLCK", 8)) return "it is the checkpoint of a training run, not of a replay buffer";
  if (starts("PK\x03\x04", 4)) return "it looks like a zip archive (.npz or torch.save)";
  if (starts("\x93NUMPY", 6)) return "it looks like a .npy file";
  if (starts("\x89HDF\r\n", 6)) return "it looks like an HDF5 file";
  return "it does not start with the checkpoint signature";
}

}  // namespace

CheckpointReader::CheckpointReader(const ByteSource& source, std::string name, Poll poll)
    : source_(source), name_(std::move(name)), poll_(std::move(poll)) {
  read_head();
  read_footer();
}

void CheckpointReader::corrupt(std::string_view part, const std::string& what) const {
  throw CheckpointCorruptError(name_ + ": " + std::string(part) + ": " + what);
}

void CheckpointReader::read_head() {
  std::byte prologue[kPrologueBytes];
  const std::uint64_t size = source_.size();
  const std::size_t n = source_.read(0, prologue, kPrologueBytes);
  if (n == 0 || std::memcmp(prologue, kMagic, std::min(n, sizeof kMagic)) != 0) {
    throw CheckpointFormatError(name_ + " is not a metarl_core checkpoint: " + guess(prologue, n));
  }
  if (n < kPrologueBytes) corrupt("prologue", "truncated, " + std::to_string(n) + " bytes");
  if (load_little_endian<std::uint32_t>(prologue + kPrologueChecksumAt) != crc32c(prologue, kPrologueChecksumAt)) {
    corrupt("prologue", "checksum differs");
  }
  const auto version = load_little_endian<std::uint32_t>(prologue + kVersionAt);
  if (version > kCheckpointVersion) {
    throw CheckpointVersionError(name_ + " has format version " + std::to_string(version) +
                                 "; this version reads up to " + std::to_string(kCheckpointVersion));
  }
  if (version == 0) corrupt("prologue", "format version 0");
  if (load_little_endian<std::uint32_t>(prologue + kFlagsAt) != 0) corrupt("prologue", "unknown flags");
  file_bytes_ = load_little_endian<std::uint64_t>(prologue + kFileBytesAt);
  if (size != file_bytes_) {
    corrupt(size < file_bytes_ ? "truncated" : "trailing data",
            "should have " + std::to_string(file_bytes_) + " bytes, has " + std::to_string(size));
  }
  const auto header_bytes = load_little_endian<std::uint64_t>(prologue + kHeaderBytesAt);
  if (header_bytes > kMaxCheckpointHeader || padded(kPrologueBytes + header_bytes) > size) {
    corrupt("prologue", "claims a header of " + std::to_string(header_bytes) + " bytes");
  }
  data_begin_ = padded(kPrologueBytes + header_bytes);
  std::vector<std::byte> header(static_cast<std::size_t>(data_begin_) - kPrologueBytes);
  if (source_.read(kPrologueBytes, header.data(), header.size()) != header.size() ||
      load_little_endian<std::uint32_t>(prologue + kHeaderChecksumAt) != crc32c(header.data(), header.size())) {
    corrupt("header", "checksum differs");
  }
  const auto is_zero = [](std::byte b) { return b == std::byte{0}; };
  if (!std::all_of(header.begin() + static_cast<std::ptrdiff_t>(header_bytes), header.end(), is_zero)) {
    corrupt("header", "padding is not zero");
  }
  try {
    const Value all = decode_value(header.data(), static_cast<std::size_t>(header_bytes));
    for (const Value& feature : all.at("required").list()) header_.required.push_back(feature.string());
    header_.values = all.at("values");
    (void)header_.values.map();
    read_table(all.at("sections"));
  } catch (const std::invalid_argument& e) {
    corrupt("header", e.what());
  }
}

// Sections must fill the rest of the file exactly.
void CheckpointReader::read_table(const Value& table) {
  std::unordered_set<std::string> names;
  std::uint64_t offset = data_begin_;
  for (const Value& entry : table.list()) {
    const Value::List& parts = entry.list();
    if (parts.size() != 3) throw std::invalid_argument("an entry of the section table is not [name, dtype, shape]");
    Section section;
    section.name = parts[0].string();
    section.dtype = parts[1].string();
    if (!names.insert(section.name).second) throw std::invalid_argument("two sections named '" + section.name + "'");
    try {
      for (const Value& extent : parts[2].list()) section.shape.push_back(extent.uint64());
      section.bytes = section_bytes(section);
    } catch (const std::invalid_argument& e) {
      throw std::invalid_argument("section '" + section.name + "': " + e.what());
    }
    section.offset = offset;
    if (section.bytes > file_bytes_ - offset || padded(section.bytes) > file_bytes_ - offset) {
      throw std::invalid_argument("section '" + section.name + "' claims " + std::to_string(section.bytes) +
                                  " bytes, the file has " + std::to_string(file_bytes_));
    }
    offset += padded(section.bytes);
    sections_.push_back(std::move(section));
  }
  footer_begin_ = offset;
  if (file_bytes_ - offset != footer_bytes(sections_.size())) {
    throw std::invalid_argument("the sections do not fill the file");
  }
}

void CheckpointReader::read_footer() {
  std::vector<std::byte> footer(static_cast<std::size_t>(footer_bytes(sections_.size())));
  const std::size_t sums = footer.size() - 4;
  if (source_.read(footer_begin_, footer.data(), footer.size()) != footer.size() ||
      load_little_endian<std::uint32_t>(footer.data() + sums) != crc32c(footer.data(), sums)) {
    corrupt("footer", "checksum differs");
  }
  for (std::size_t i = 0; i < sections_.size(); ++i) {
    sections_[i].checksum = load_little_endian<std::uint32_t>(footer.data() + 4 * i);
  }
}

const CheckpointReader::Section* CheckpointReader::find(std::string_view name) const {
  for (const Section& section : sections_) {
    if (section.name == name) return &section;
  }
  return nullptr;
}

void CheckpointReader::check_features(const std::vector<std::string>& known) const {
  for (const std::string& feature : header_.required) {
    if (std::find(known.begin(), known.end(), feature) == known.end()) {
      throw CheckpointVersionError(name_ + " needs '" + feature + "', which this version does not know");
    }
  }
}

void CheckpointReader::verify(const Section& section) const { SectionStream(*this, section).finish(); }

void CheckpointReader::verify() const {
  for (const Section& section : sections_) verify(section);
}

void CheckpointReader::read(const Section& section, void* out) const {
  SectionStream stream(*this, section);
  stream.read(out, static_cast<std::size_t>(section.bytes));
  stream.finish();
}

SectionStream::SectionStream(const CheckpointReader& reader, const CheckpointReader::Section& section)
    : reader_(reader), section_(section), offset_(section.offset), left_(section.bytes) {}

void SectionStream::read(void* out, std::size_t bytes) {
  auto* to = static_cast<std::byte*>(out);
  if (bytes > left_) throw std::logic_error("more read than section '" + section_.name + "' holds");
  while (bytes > 0) {
    const std::size_t n = std::min(bytes, kPiece);
    if (reader_.source_.read(offset_, to, n) != n) reader_.corrupt("section '" + section_.name + "'", "truncated");
    checksum_ = crc32c(to, n, checksum_);
    offset_ += n;
    left_ -= n;
    to += n;
    bytes -= n;
    reader_.poll();
  }
}

void SectionStream::read_strided(void* first, std::size_t element_bytes, std::ptrdiff_t stride, std::int64_t n) {
  auto* to = static_cast<std::byte*>(first);
  if (stride == static_cast<std::ptrdiff_t>(element_bytes)) {
    read(to, element_bytes * static_cast<std::size_t>(n));
    return;
  }
  const auto rows =
      static_cast<std::int64_t>(std::max<std::size_t>(1, kPiece / std::max<std::size_t>(1, element_bytes)));
  piece_.resize(static_cast<std::size_t>(std::min(rows, n)) * element_bytes);
  for (std::int64_t begin = 0; begin < n; begin += rows) {
    const std::int64_t count = std::min(rows, n - begin);
    read(piece_.data(), static_cast<std::size_t>(count) * element_bytes);
    for (std::int64_t i = 0; i < count; ++i) {
      std::memcpy(to + (begin + i) * stride, piece_.data() + static_cast<std::size_t>(i) * element_bytes,
                  element_bytes);
    }
  }
}

void SectionStream::finish() {
  piece_.resize(static_cast<std::size_t>(std::min<std::uint64_t>(left_ + kAlignment, kPiece)));
  while (left_ > 0) read(piece_.data(), static_cast<std::size_t>(std::min<std::uint64_t>(left_, piece_.size())));
  std::byte padding[kAlignment];
  const std::size_t n = static_cast<std::size_t>(section_.offset + padded(section_.bytes) - offset_);
  const bool whole = reader_.source_.read(offset_, padding, n) == n;
  if (!whole || crc32c(padding, n, checksum_) != section_.checksum) {
    reader_.corrupt("section '" + section_.name + "'", "checksum differs");
  }
}

}  // namespace metarl
