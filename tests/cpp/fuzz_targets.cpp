#include "fuzz_targets.h"

#include <cstdint>
#include <numeric>

#include "metarl/checkpoint_file.h"

namespace {

using namespace metarl;

FuzzBytes file_of(const CheckpointHeader& header, const std::vector<SectionSpec>& specs) {
  FuzzBytes bytes(static_cast<std::size_t>(CheckpointWriter::file_bytes(header, specs)));
  MemorySink sink(bytes.data(), bytes.size());
  CheckpointWriter writer(sink, header, specs);
  std::uint8_t next = 0;
  for (const SectionSpec& spec : specs) {
    FuzzBytes data(static_cast<std::size_t>(section_bytes(spec)));
    for (std::byte& b : data) b = static_cast<std::byte>(next++);
    writer.write(data.data(), data.size());
  }
  writer.finish();
  return bytes;
}

// The reader alone: the whole head, and every section, verified and read.
void load_container(const FuzzBytes& bytes) {
  const MemorySource source(bytes.data(), bytes.size());
  const CheckpointReader reader(source, "input");
  reader.check_features({"n_step"});
  for (const CheckpointReader::Section& section : reader.sections()) {
    std::vector<std::byte> data(static_cast<std::size_t>(section.bytes));
    reader.read(section, data.data());
  }
}

FuzzTarget container_target() {
  CheckpointHeader header;
  header.required = {"n_step"};
  header.values.set("capacity", std::int64_t{100});
  header.values.set("seed", std::uint64_t{7});
  header.values.set("beta", 0.1);
  header.values.set("fields", Value::List{Value(Value::List{"obs", "<f4", Value(Value::List{std::int64_t{3}})})});
  return {"container",
          {file_of({}, {}), file_of({}, {{"x", "|u1", {0}}}),
           file_of(header, {{"obs", "<f4", {7, 3}}, {"empty", "|u1", {0, 5}}, {"flags", "|b1", {5}}}),
           file_of(header, {{"time", "<M8[ns]", {4}}, {"text", "<U3", {2, 2}}})},
          std::size_t{256} << 10,
          load_container};
}

}  // namespace

std::vector<FuzzTarget> fuzz_targets() { return {container_target()}; }
