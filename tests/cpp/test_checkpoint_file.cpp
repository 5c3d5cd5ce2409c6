#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <new>
#include <numeric>
#include <string>
#include <vector>

#include "check.h"
#include "core/checkpoint_layout.h"
#include "core/crc32c.h"
#include "core/little_endian.h"
#include "metarl/checkpoint_file.h"

using namespace metarl;

namespace {

std::size_t bytes_allocated = 0;  // by operator new, in all

}  // namespace

// Not inlined: GCC takes malloc and free inside for a mismatch then.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  bytes_allocated += bytes;
  if (void* memory = std::malloc(bytes)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

using Bytes = std::vector<std::byte>;

struct Folder {
  Folder() {
    char name[] = "/tmp/metarl-checkpoint-XXXXXX";
    path = mkdtemp(name);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string file(const std::string& name) const { return path + "/" + name; }
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& entry : std::filesystem::directory_iterator(path)) all.push_back(entry.path().filename().string());
    return all;
  }
  std::string path;
};

CheckpointHeader header() {
  CheckpointHeader header;
  header.values.set("capacity", std::int64_t{100});
  header.values.set("seed", std::numeric_limits<std::uint64_t>::max());
  header.values.set("beta", 0.1);
  header.values.set("fields", Value::List{Value(Value::List{"obs", "<f4", Value(Value::List{std::int64_t{3}})})});
  header.values.set("none", Value());
  header.values.set("stratified", true);
  return header;
}

std::vector<SectionSpec> specs() { return {{"obs", "<f4", {7, 3}}, {"empty", "|u1", {0, 5}}, {"flags", "|b1", {5}}}; }

std::vector<float> observations() {
  std::vector<float> values(21);
  std::iota(values.begin(), values.end(), 0.5f);
  return values;
}

Bytes example() {
  Bytes bytes(static_cast<std::size_t>(CheckpointWriter::file_bytes(header(), specs())));
  MemorySink sink(bytes.data(), bytes.size());
  CheckpointWriter writer(sink, header(), specs());
  const std::vector<float> obs = observations();
  writer.write(obs.data(), 4);  // in unequal pieces
  writer.write(obs.data() + 1, 20 * 4);
  struct Row {
    char other[6];
    char flag;
  } rows[5] = {};
  for (char i = 0; i < 5; ++i) rows[static_cast<int>(i)].flag = i;
  writer.write_strided(&rows[0].flag, 1, sizeof(Row), 5);
  writer.finish();
  return bytes;
}

void read_all(const Bytes& bytes) {
  const MemorySource source(bytes.data(), bytes.size());
  CheckpointReader(source, "bytes").verify();
}

// Recomputes the checksums of the head after an edit, so that what lies behind them is tested.
void reseal(Bytes& bytes) {
  using namespace checkpoint;
  const auto header_bytes = load_little_endian<std::uint64_t>(bytes.data() + kHeaderBytesAt);
  const std::uint64_t begin = padded(kPrologueBytes + header_bytes);
  if (begin <= bytes.size()) {
    store_little_endian(bytes.data() + kHeaderChecksumAt,
                        crc32c(bytes.data() + kPrologueBytes, static_cast<std::size_t>(begin) - kPrologueBytes));
  }
  store_little_endian(bytes.data() + kPrologueChecksumAt, crc32c(bytes.data(), kPrologueChecksumAt));
}

Bytes replaced(const std::string& from, const std::string& to) {
  Bytes bytes = example();
  auto* begin = reinterpret_cast<char*>(bytes.data());
  std::string text(begin, bytes.size());
  const std::size_t at = text.find(from);
  CHECK(at != std::string::npos);
  std::memcpy(begin + at, to.data(), to.size());
  reseal(bytes);
  return bytes;
}

std::string message_of(const Bytes& bytes) {
  try {
    read_all(bytes);
  } catch (const std::exception& e) {
    return e.what();
  }
  return "";
}

void save_pattern(const std::string& path, unsigned char fill, std::size_t bytes) {
  AtomicFile file(path);
  CheckpointHeader empty;
  CheckpointWriter writer(file, empty, {{"data", "|u1", {bytes}}});
  const std::vector<unsigned char> data(bytes, fill);
  writer.write(data.data(), bytes);
  writer.finish();
  file.commit();
}

// Byte that a whole file of save_pattern is filled with; throws if it is not whole.
int pattern_of(const std::string& path) {
  const FileSource source(path);
  const CheckpointReader reader(source, path);
  std::vector<unsigned char> data(static_cast<std::size_t>(reader.sections()[0].bytes));
  reader.read(reader.sections()[0], data.data());
  for (const unsigned char c : data) CHECK(c == data[0]);
  return data[0];
}

}  // namespace

TEST(crc32c_has_the_published_values) {  // RFC 3720, B.4
  Bytes data(32);
  CHECK(crc32c(data.data(), 32) == 0x8A9136AAu);
  std::fill(data.begin(), data.end(), std::byte{0xFF});
  CHECK(crc32c(data.data(), 32) == 0x62A8AB43u);
  for (int i = 0; i < 32; ++i) data[static_cast<std::size_t>(i)] = static_cast<std::byte>(i);
  CHECK(crc32c(data.data(), 32) == 0x46DD794Eu);
  CHECK(crc32c(nullptr, 0) == 0u);
}

TEST(crc32c_is_the_same_at_every_level) {
  Bytes data(40'000);
  std::uint32_t x = 1;
  for (std::byte& b : data) b = static_cast<std::byte>((x = x * 1664525u + 1013904223u) >> 24);
  for (std::size_t n = 0; n < data.size(); n = n < 70 ? n + 1 : n * 9 / 8) {
    const std::size_t offset = n % 9 < data.size() - n ? n % 9 : 0;
    const std::uint32_t expected = baseline::crc32c_register(n == 0 ? 0u : 77u, data.data() + offset, n);
    std::uint32_t bitwise = n == 0 ? 0u : 77u;
    for (std::size_t i = 0; i < n; ++i) {
      bitwise ^= static_cast<std::uint32_t>(data[offset + i]);
      for (int bit = 0; bit < 8; ++bit) bitwise = (bitwise & 1u) != 0 ? (bitwise >> 1) ^ 0x82F63B78u : bitwise >> 1;
    }
    CHECK(expected == bitwise);
#if defined(METARL_HAVE_X86_LEVELS)
    if (active_isa() >= Isa::avx2) CHECK(avx2::crc32c_register(n == 0 ? 0u : 77u, data.data() + offset, n) == expected);
    if (active_isa() >= Isa::avx512) {
      CHECK(avx512::crc32c_register(n == 0 ? 0u : 77u, data.data() + offset, n) == expected);
    }
#endif
  }
}

TEST(crc32c_speed) {
  const Bytes data(std::size_t{256} << 10, std::byte{7});
  const auto rate = [&](auto&& kernel) {
    double best = 0.0;
    for (int run = 0; run < 5; ++run) {
      const auto start = std::chrono::steady_clock::now();
      std::uint32_t state = 1;
      for (int i = 0; i < 64; ++i) state = kernel(state, data.data(), data.size());
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      best =
          std::max(best, 64.0 * static_cast<double>(data.size()) / seconds.count() / 1e9 + (state == 12345 ? 1e-9 : 0));
    }
    return best;
  };
  std::printf("crc32c: baseline %.1f GB/s", rate(baseline::crc32c_register));
#if defined(METARL_HAVE_X86_LEVELS)
  if (active_isa() >= Isa::avx2) std::printf(", avx2 %.1f GB/s", rate(avx2::crc32c_register));
#endif
  std::printf("\n");
}

TEST(values_come_back_bit_for_bit) {
  Value value = header().values;
  value.set("nan", std::numeric_limits<double>::quiet_NaN());
  value.set("-0", -0.0);
  value.set("min", std::numeric_limits<std::int64_t>::min());
  value.set("text", std::string("na\xC3\xAFve\0x", 8));
  const std::vector<std::byte> bytes = encode_value(value);
  CHECK(decode_value(bytes.data(), bytes.size()) == value);
  for (std::size_t n = 0; n < bytes.size(); ++n) CHECK_THROWS(decode_value(bytes.data(), n), std::invalid_argument);
  CHECK(!(Value(0.0) == Value(-0.0)));
  CHECK_THROWS(Value(std::int64_t{-1}).uint64(), std::invalid_argument);
  CHECK_THROWS(Value(std::numeric_limits<std::uint64_t>::max()).int64(), std::invalid_argument);
  CHECK_THROWS(value.set("nan", 0.0), std::invalid_argument);
}

TEST(deep_nesting_is_refused) {
  Value value;
  for (int i = 0; i < kMaxValueDepth; ++i) value = Value(Value::List{value});
  const std::vector<std::byte> bytes = encode_value(value);
  CHECK(decode_value(bytes.data(), bytes.size()) == value);
  CHECK_THROWS(encode_value(Value(Value::List{value})), std::invalid_argument);
  Bytes deep;
  for (int i = 0; i < 100'000; ++i) {
    deep.push_back(std::byte{'l'});
    append_little_endian(deep, std::uint32_t{1});
  }
  CHECK_THROWS(decode_value(deep.data(), deep.size()), std::invalid_argument);
}

TEST(round_trip) {
  const Bytes bytes = example();
  CHECK(bytes == example());
  const MemorySource source(bytes.data(), bytes.size());
  const CheckpointReader reader(source, "bytes");
  CHECK(reader.header() == header().values);
  CHECK(reader.sections().size() == 3);
  for (std::size_t i = 0; i < 3; ++i) CHECK(static_cast<const SectionSpec&>(reader.sections()[i]) == specs()[i]);
  reader.verify();
  std::vector<float> obs(21);
  reader.read(*reader.find("obs"), obs.data());
  CHECK(obs == observations());
  char flags[5 * 3] = {};
  SectionStream stream(reader, *reader.find("flags"));
  stream.read_strided(flags, 1, 3, 2);
  stream.read_strided(flags + 6, 1, 3, 3);
  stream.finish();
  for (int i = 0; i < 5; ++i) CHECK(flags[3 * i] == i);
  CHECK(reader.find("other") == nullptr);
}

TEST(writer_holds_callers_to_what_they_announced) {
  Bytes bytes(4096);
  MemorySink sink(bytes.data(), bytes.size());
  CheckpointWriter writer(sink, header(), {{"a", "|u1", {4}}});
  CHECK_THROWS(writer.write("12345", 5), std::logic_error);
  writer.write("123", 3);
  CHECK_THROWS(writer.finish(), std::logic_error);
  CHECK(writer.current() == "a");
  writer.write("4", 1);
  CHECK(writer.current().empty());
  CHECK_THROWS(writer.write("5", 1), std::logic_error);
  writer.finish();
  CHECK_THROWS(CheckpointWriter(sink, header(), {{"a", "|u1", {}}, {"a", "|u1", {}}}), std::invalid_argument);
  CHECK_THROWS(CheckpointWriter(sink, header(), {{"a", "|O8", {}}}), std::invalid_argument);
}

TEST(dtypes) {
  for (const char* good :
       {"<f4", "<f8", "<f2", "|u1", "|b1", "<c16", "<i8", "<M8[ns]", "<m8[25s]", "|S5", "<U3", "|V24"}) {
    CHECK(item_bytes(good) > 0);
  }
  CHECK(item_bytes("<U3") == 12);
  for (const char* bad : {"", "<", "<f", "f4", ">f4", "<f3", "<f0", "<i16", "|b2", "|O8", "<f4[ns]", "<M8[", "<M8[]",
                          "|S99999999999", "|V0", "<f4 ", "<f-4"}) {
    CHECK_THROWS(item_bytes(bad), std::invalid_argument);
  }
  CHECK(section_bytes({"x", "<f8", {0, 9}}) == 0);
  CHECK_THROWS(section_bytes({"x", "<f8", {0, 1ull << 62}}), std::invalid_argument);
  CHECK_THROWS(section_bytes({"x", "|u1", {1ull << 32, 1ull << 32}}), std::invalid_argument);
}

TEST(every_flipped_bit_is_found) {
  const Bytes good = example();
  read_all(good);
  long flips = 0;
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit, ++flips) {
      Bytes bad = good;
      bad[i] ^= static_cast<std::byte>(1 << bit);
      if (i < 8) {
        CHECK_THROWS(read_all(bad), CheckpointFormatError);
      } else {
        CHECK_THROWS(read_all(bad), CheckpointCorruptError);
      }
    }
  }
  std::printf("bit flips in a file of %zu bytes: %ld, all found\n", good.size(), flips);
}

TEST(every_truncation_is_found) {
  const Bytes good = example();
  CHECK_THROWS(read_all(Bytes()), CheckpointFormatError);
  for (std::size_t n = 1; n < good.size(); ++n) {
    CHECK_THROWS(read_all(Bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(n))), CheckpointCorruptError);
  }
  Bytes longer = good;
  longer.push_back(std::byte{0});
  CHECK_THROWS(read_all(longer), CheckpointCorruptError);
}

TEST(messages_name_the_section) {
  Bytes bytes = example();
  const MemorySource source(bytes.data(), bytes.size());
  const std::uint64_t offset = CheckpointReader(source, "x").find("flags")->offset;
  bytes[static_cast<std::size_t>(offset)] ^= std::byte{1};
  CHECK(message_of(bytes) == "bytes: section 'flags': checksum differs");
  bytes.pop_back();
  CHECK(message_of(bytes).find("bytes: truncated: should have ") == 0);
}

TEST(a_huge_claim_is_refused_before_anything_is_allocated) {
  // The shape (7, 3) becomes (7, 2^40), then one that overflows.
  std::string three("u\x03\0\0\0\0\0\0\0", 9);
  const std::string message = message_of(replaced(three, std::string("u\0\0\0\0\0\x01\0\0", 9)));
  CHECK(message.find("section 'obs' claims 30786325577728 bytes") != std::string::npos);
  CHECK(message_of(replaced(three, std::string("u\0\0\0\0\0\0\0\x70", 9))).find("section 'obs': shape is beyond") !=
        std::string::npos);
}

TEST(newer_files_and_features_are_named) {
  Bytes bytes = example();
  store_little_endian(bytes.data() + checkpoint::kVersionAt, std::uint32_t{2});
  reseal(bytes);
  CHECK_THROWS(read_all(bytes), CheckpointVersionError);
  store_little_endian(bytes.data() + checkpoint::kVersionAt, std::uint32_t{0});
  reseal(bytes);
  CHECK_THROWS(read_all(bytes), CheckpointCorruptError);

  CheckpointHeader future = header();
  future.required = {"n_step", "telepathy"};
  Bytes other(static_cast<std::size_t>(CheckpointWriter::file_bytes(future, {})));
  MemorySink sink(other.data(), other.size());
  CheckpointWriter(sink, future, {}).finish();
  const MemorySource source(other.data(), other.size());
  const CheckpointReader reader(source, "bytes");
  reader.check_features({"telepathy", "n_step", "more"});
  CHECK_THROWS(reader.check_features({"n_step"}), CheckpointVersionError);
}

TEST(other_files_are_named) {
  const auto from_text = [](const std::string& text) {
    const auto* begin = reinterpret_cast<const std::byte*>(text.data());
    return Bytes(begin, begin + text.size());
  };
  CHECK(message_of(from_text("\x80\x04\x95more")).find("pickle") != std::string::npos);
  CHECK(message_of(from_text("PK\x03\x04")).find("zip") != std::string::npos);
  CHECK(message_of(from_text("METARLCKxxxx")).find("training run") != std::string::npos);
  CHECK_THROWS(read_all(from_text("hello")), CheckpointFormatError);
  Folder folder;
  CHECK_THROWS(FileSource(folder.file("none")), FileError);
  CHECK_THROWS(FileSource(folder.path), FileError);
  mkfifo(folder.file("pipe").c_str(), 0600);
  CHECK_THROWS(FileSource(folder.file("pipe")), CheckpointFormatError);
}

TEST(poll_ends_an_operation) {
  int calls = 0;
  const Poll stop = [&calls] {
    if (++calls == 3) throw std::runtime_error("stop");
  };
  Folder folder;
  const std::string path = folder.file("a");
  save_pattern(path, 1, 2'000'000);
  const std::vector<char> data(2'000'000);
  CHECK_THROWS(
      [&] {
        AtomicFile file(path);
        CheckpointWriter(file, {}, {{"data", "|u1", {data.size()}}}, stop).write(data.data(), data.size());
      }(),
      std::runtime_error);
  CHECK(folder.names() == std::vector<std::string>{"a"});
  CHECK(pattern_of(path) == 1);
  calls = 0;
  const FileSource source(path);
  const CheckpointReader reader(source, path, stop);
  CHECK_THROWS(reader.verify(), std::runtime_error);
}

TEST(saving_replaces_the_file_and_keeps_links_and_permissions) {
  Folder folder;
  const std::string path = folder.file("a");
  save_pattern(path, 1, 100);
  chmod(path.c_str(), 0640);
  CHECK(symlink("a", folder.file("link").c_str()) == 0);
  save_pattern(folder.file("link"), 2, 100);
  CHECK(pattern_of(path) == 2);
  CHECK(std::filesystem::is_symlink(folder.file("link")));
  struct stat status{};
  CHECK(stat(path.c_str(), &status) == 0 && (status.st_mode & 07777) == 0640);
  CHECK(folder.names().size() == 2);
  CHECK_THROWS(save_pattern(folder.path, 1, 1), FileError);
  CHECK_THROWS(save_pattern(folder.file("missing/x"), 1, 1), FileError);
  CHECK_THROWS(save_pattern("/dev/null", 1, 1), FileError);
}

TEST(two_at_once_do_not_disturb_each_other) {
  Folder folder;
  const std::string path = folder.file("a");
  AtomicFile first(path);
  AtomicFile second(path);
  CHECK(folder.names().size() == 2);
  first.write(reinterpret_cast<const std::byte*>("first"), 5);
  second.write(reinterpret_cast<const std::byte*>("second"), 6);
  first.commit();
  CHECK(std::filesystem::file_size(path) == 5);
  second.commit();
  CHECK(std::filesystem::file_size(path) == 6);
  CHECK(folder.names() == std::vector<std::string>{"a"});
}

TEST(leftovers_are_used_or_removed) {
  Folder folder;
  const std::string path = folder.file("a");
  for (const char* name : {".a.0.tmp", ".a.1.tmp", ".a.2.tmp"}) {
    std::ofstream(folder.file(name)) << std::string(1000, 'x');
  }
  save_pattern(path, 3, 10);
  CHECK(pattern_of(path) == 3);
  CHECK(folder.names() == std::vector<std::string>{"a"});
}

TEST(a_full_disk_leaves_the_old_file) {
  Folder folder;
  const std::string path = folder.file("a");
  save_pattern(path, 1, 100'000);
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{300'000, 300'000};
    setrlimit(RLIMIT_FSIZE, &limit);
    try {
      save_pattern(path, 2, 1'000'000);
    } catch (const FileError& e) {
      _exit(e.code == EFBIG ? 0 : 2);
    }
    _exit(1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  CHECK(pattern_of(path) == 1);
  CHECK(folder.names() == std::vector<std::string>{"a"});
}

TEST(a_killed_process_leaves_the_old_file_or_the_new) {
  Folder folder;
  const std::string path = folder.file("a");
  int last = 1;
  save_pattern(path, 1, 3'000'000);
  for (int round = 0; round < 15; ++round) {
    const pid_t child = fork();
    if (child == 0) {
      for (int fill = 1;; fill = fill % 250 + 1) save_pattern(path, static_cast<unsigned char>(fill), 3'000'000);
    }
    usleep(static_cast<useconds_t>(2'000 + 1'700 * round));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    last = pattern_of(path);
    CHECK(last >= 1);
  }
  save_pattern(path, 255, 10);
  CHECK(pattern_of(path) == 255);
  CHECK(folder.names() == std::vector<std::string>{"a"});
}

// Every one of the lists claims all that is left.
TEST(nested_counts_allocate_for_the_bytes_once) {
  Bytes bytes(std::size_t{1} << 16, std::byte{'0'});
  for (std::size_t at = 0; at < 5 * 30; at += 5) {
    bytes[at] = std::byte{'l'};
    const auto left = static_cast<std::uint32_t>(bytes.size() - at - 5);
    for (int i = 0; i < 4; ++i) bytes[at + 1 + static_cast<std::size_t>(i)] = static_cast<std::byte>(left >> (8 * i));
  }
  const std::size_t before = bytes_allocated;
  CHECK_THROWS(decode_value(bytes.data(), bytes.size()), std::invalid_argument);
  CHECK(bytes_allocated - before <= 160 * bytes.size());
}

METARL_TEST_MAIN()
