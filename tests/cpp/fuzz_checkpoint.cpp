// fuzz_checkpoint N [SEED]: N damaged checkpoints through the reader, deterministically. Run it under the asan preset.
//
// Inputs are flipped bits, truncations, splices, edited lengths and random bytes, most of them with the checksums made
// right again, so that what lies behind them is reached. Nothing but the three checkpoint errors may come out, and no
// allocation may exceed what the input's size justifies.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <new>
#include <string>
#include <vector>

#include "core/checkpoint_layout.h"
#include "core/crc32c.h"
#include "core/little_endian.h"
#include "fuzz_targets.h"
#include "metarl/checkpoint_file.h"

namespace {

std::size_t largest_allocation = 0;

}  // namespace

// Every allocation of the program is seen here.
void* operator new(std::size_t bytes) {
  if (bytes > largest_allocation) largest_allocation = bytes;
  if (void* p = std::malloc(bytes == 0 ? 1 : bytes)) return p;
  throw std::bad_alloc();
}
// Sanitizers check that every form of new is replaced together with the delete that matches it.
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept { return std::malloc(bytes == 0 ? 1 : bytes); }
void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }

namespace {

using namespace metarl;
using namespace metarl::checkpoint;

std::uint64_t state = 0;

std::uint64_t draw() {  // splitmix64 (Steele, Lea and Flood 2014)
  std::uint64_t z = (state += 0x9E3779B97F4A7C15ull);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

std::size_t draw_below(std::size_t n) { return n == 0 ? 0 : static_cast<std::size_t>(draw() % n); }

// Numbers at which lengths break.
std::uint64_t draw_length() {
  const std::uint64_t edges[] = {0,           1,           4,          40,         63,
                                 64,          65,          255,        1u << 16,   1u << 20,
                                 0x7FFFFFFFu, 0xFFFFFFFFu, 1ull << 40, 1ull << 62, (1ull << 63) - 1,
                                 1ull << 63,  ~0ull};
  const std::uint64_t edge = edges[draw_below(std::size(edges))];
  return draw() % 2 == 0 ? edge : edge + draw() % 5 - 2;
}

// Makes the checksums and the file's length right again, as far as the parts can still be found.
void reseal(FuzzBytes& bytes) {
  if (bytes.size() < kPrologueBytes) return;
  std::byte* head = bytes.data();
  const std::uint64_t size = bytes.size();
  const auto header_bytes = load_little_endian<std::uint64_t>(head + kHeaderBytesAt);
  store_little_endian(head + kFileBytesAt, size);
  if (header_bytes <= size - kPrologueBytes && padded(kPrologueBytes + header_bytes) <= size) {
    const std::size_t begin = static_cast<std::size_t>(padded(kPrologueBytes + header_bytes));
    store_little_endian(head + kHeaderChecksumAt, crc32c(head + kPrologueBytes, begin - kPrologueBytes));
    try {  // the sections' own checksums
      const Value all = decode_value(head + kPrologueBytes, static_cast<std::size_t>(header_bytes));
      std::uint64_t offset = begin;
      std::vector<std::byte> footer;
      for (const Value& entry : all.at("sections").list()) {
        SectionSpec spec{"", entry.list().at(1).string(), {}};
        for (const Value& extent : entry.list().at(2).list()) spec.shape.push_back(extent.uint64());
        const std::uint64_t bytes_of = section_bytes(spec);
        if (bytes_of > size - offset || padded(bytes_of) > size - offset) break;
        append_little_endian(footer, crc32c(head + offset, static_cast<std::size_t>(padded(bytes_of))));
        offset += padded(bytes_of);
      }
      append_little_endian(footer, crc32c(footer.data(), footer.size()));
      if (footer.size() <= size - offset) std::memcpy(head + offset, footer.data(), footer.size());
    } catch (const std::exception&) {
      // A header that cannot be read has no sections.
    }
  }
  store_little_endian(head + kPrologueChecksumAt, crc32c(head, kPrologueChecksumAt));
}

void mutate(FuzzBytes& bytes, const std::vector<FuzzBytes>& corpus) {
  // Half of the edits hit the head, where the lengths are.
  const std::size_t head = std::min<std::size_t>(bytes.size(), 1024);
  const std::size_t at = draw_below(draw() % 2 == 0 ? head : bytes.size());
  switch (draw() % 8) {
    case 0:
    case 1:
      if (!bytes.empty()) bytes[at] ^= static_cast<std::byte>(1u << draw_below(8));
      break;
    case 2:
      if (!bytes.empty()) bytes[at] = static_cast<std::byte>(draw());
      break;
    case 3:  // a length field of 4 or 8 bytes
      if (at + 8 <= bytes.size()) {
        const std::uint64_t length = draw_length();
        std::memcpy(bytes.data() + at, &length, draw() % 2 == 0 ? 4 : 8);
      }
      break;
    case 4:
      if (draw() % 4 == 0) bytes.resize(at);
      break;
    case 5: {  // a piece of another file, or of this one
      const FuzzBytes& other = corpus[draw_below(corpus.size())];
      const std::size_t from = draw_below(other.size());
      const std::size_t n = draw_below(std::min<std::size_t>(other.size() - from, 64) + 1);
      if (draw() % 2 == 0) {
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at), other.begin() + static_cast<std::ptrdiff_t>(from),
                     other.begin() + static_cast<std::ptrdiff_t>(from + n));
      } else if (!bytes.empty()) {
        std::memcpy(bytes.data() + at, other.data() + from, std::min(n, bytes.size() - at));
      }
      break;
    }
    case 6: {
      const std::size_t n = draw_below(std::min<std::size_t>(bytes.size() - at, 16) + 1);
      bytes.erase(bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.begin() + static_cast<std::ptrdiff_t>(at + n));
      break;
    }
    default:  // the tag of a value
      if (!bytes.empty()) bytes[at] = static_cast<std::byte>("0FTiudslm"[draw_below(9)]);
      break;
  }
}

FuzzBytes random_bytes() {
  FuzzBytes bytes(1 + draw_below(300));
  for (std::byte& b : bytes) b = static_cast<std::byte>(draw());
  if (draw() % 2 == 0) std::memcpy(bytes.data(), kMagic, std::min(bytes.size(), sizeof kMagic));
  return bytes;
}

// The message without file name, numbers and names.
std::string kind_of(const char* what) {
  std::string kind;
  bool quoted = false;
  for (const char* c = what; *c != '\0' && kind.size() < 60; ++c) {
    if (*c == '\'') quoted = !quoted;
    if (!quoted && (*c < '0' || *c > '9') && *c != '\'' && *c != '-') kind += *c;
  }
  return kind;
}

}  // namespace

int main(int argc, char** argv) {
  const long long n = argc > 1 ? std::atoll(argv[1]) : 20'000;
  state = argc > 2 ? std::strtoull(argv[2], nullptr, 0) : 0;
  const std::vector<FuzzTarget> targets = fuzz_targets();
  std::map<std::string, long long> outcomes;
  long long accepted = 0;
  for (long long i = 0; i < n; ++i) {
    const FuzzTarget& target = targets[static_cast<std::size_t>(i) % targets.size()];
    FuzzBytes input = draw() % 64 == 0 ? random_bytes() : target.corpus[draw_below(target.corpus.size())];
    for (std::size_t edits = 1 + draw_below(4); edits > 0; --edits) mutate(input, target.corpus);
    if (draw() % 8 != 0) reseal(input);
    const std::size_t allowed = 64 * input.size() + target.fixed_bytes;
    largest_allocation = 0;
    const char* failure = nullptr;
    std::string outcome;
    try {
      target.load(input);
      ++accepted;
    } catch (const CheckpointFormatError& e) {
      outcome = kind_of(e.what());
    } catch (const CheckpointVersionError& e) {
      outcome = kind_of(e.what());
    } catch (const CheckpointCorruptError& e) {
      outcome = kind_of(e.what());
    } catch (const CheckpointMismatchError& e) {
      outcome = kind_of(e.what());
    } catch (const std::exception& e) {
      failure = e.what();
    }
    if (failure != nullptr || largest_allocation > allowed) {
      std::fprintf(stderr, "input %lld of %s: %s (allocation of %zu bytes for %zu)\n", i, target.name,
                   failure != nullptr ? failure : "too large an allocation", largest_allocation, input.size());
      if (std::FILE* file = std::fopen("fuzz-failure.ckpt", "wb")) {
        std::fwrite(input.data(), 1, input.size(), file);
        std::fclose(file);
      }
      return EXIT_FAILURE;
    }
    if (!outcome.empty()) ++outcomes[outcome];
  }
  for (const auto& [outcome, count] : outcomes) {
    if (count >= n / 1000 + 1) std::printf("%10lld  %s\n", count, outcome.c_str());
  }
  std::printf("fuzz: %lld inputs over %zu targets, %lld accepted, %lld refused in %zu ways, none failed\n", n,
              targets.size(), accepted, n - accepted, outcomes.size());
  return n > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
