#include "fuzz_targets.h"

#include <stdlib.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "metarl/checkpoint_file.h"
#include "metarl/mapped_files.h"
#include "metarl/replay_buffer.h"
#include "metarl/replay_state.h"

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

// ---- buffers: a state that loads must be one to go on from
// --------------------------------------------------------------

constexpr std::int64_t kCapacity = 24;

FieldSpec field(const char* name, std::size_t bytes, std::size_t alignment, const char* dtype,
                std::vector<std::uint64_t> shape) {
  FieldSpec spec{name, bytes, alignment};
  spec.dtype = dtype;
  spec.shape = std::move(shape);
  return spec;
}

// obs, reward, next_obs, terminated, truncated, task.
ReplayOptions stream_options() {
  ReplayOptions options;
  options.capacity = kCapacity;
  options.seed = 3;
  options.fields = {field("obs", 6, 1, "|u1", {3, 2}),      field("reward", 4, 4, "<f4", {}),
                    field("next_obs", 6, 1, "|u1", {3, 2}), field("terminated", 1, 1, "|b1", {}),
                    field("truncated", 1, 1, "|b1", {}),    field("task", 2, 2, "<u2", {})};
  options.fields[2].next_of = 0;
  options.streams.num_envs = 2;
  options.streams.reward = 1;
  options.streams.terminated = 3;
  options.streams.truncated = 4;
  options.streams.reward_type = RewardType::float32;
  return options;
}

// Rows [first, first + n) of the environments in turn, moving on by one frame a step, in episodes of seven.
struct FuzzRows {
  FuzzRows(std::int64_t first, std::int64_t n) {
    for (std::int64_t i = first; i < first + n; ++i) {
      const std::int64_t step = i / 2;
      const std::int64_t at = step % 7;
      for (std::int64_t frame = -2; frame <= 0; ++frame) {
        for (int pixel = 0; pixel < 2; ++pixel) {
          obs.push_back(pixel_of(i % 2, step / 7, at + frame));
          next.push_back(pixel_of(i % 2, step / 7, at + frame + 1));
        }
      }
      reward.push_back(static_cast<float>(step));
      terminated.push_back(at == 6 && step % 2 == 0);
      truncated.push_back(at == 6 && step % 2 == 1);
      task.push_back(static_cast<std::uint16_t>(step % 3));
      env.push_back(i % 2);
    }
  }
  static std::uint8_t pixel_of(std::int64_t env, std::int64_t episode, std::int64_t at) {
    return static_cast<std::uint8_t>(100 * env + 20 * (episode % 5) + (at < 0 ? 0 : at));
  }
  std::vector<ColumnSource> sources() const {
    const auto column = [](const void* data, std::ptrdiff_t stride) {
      return ColumnSource{static_cast<const std::byte*>(data), stride};
    };
    return {column(obs.data(), 6),        column(reward.data(), 4),    column(next.data(), 6),
            column(terminated.data(), 1), column(truncated.data(), 1), column(task.data(), 2)};
  }
  std::vector<std::uint8_t> obs, next, terminated, truncated;
  std::vector<float> reward;
  std::vector<std::uint16_t> task;
  std::vector<std::int64_t> env;
};

void add_rows(ReplayBuffer& buffer, std::int64_t first, std::int64_t n) {
  const FuzzRows rows(first, n);
  std::vector<std::int64_t> slots(static_cast<std::size_t>(n));
  buffer.add(rows.sources().data(), buffer.has_streams() ? rows.env.data() : nullptr, n, slots.data());
}

void sample_and_update(ReplayBuffer& buffer) {
  constexpr std::size_t kBatch = 8;
  const ReplayOptions& options = buffer.options();
  const std::size_t steps = static_cast<std::size_t>(std::max(options.streams.sequence_length, 1));
  std::vector<std::int64_t> indices(kBatch);
  std::vector<double> probabilities(kBatch);
  std::vector<float> weights(kBatch), discounts(kBatch), errors(kBatch, 0.5f);
  std::vector<std::uint8_t> mask(kBatch * steps);
  std::vector<std::vector<std::byte>> columns;
  std::vector<std::byte*> pointers;
  for (const FieldSpec& spec : options.fields) {
    columns.emplace_back(kBatch * steps * spec.bytes);
    pointers.push_back(columns.back().data());
  }
  SampleRequest request;
  request.n = kBatch;
  request.beta = 0.4;
  SampleOutput out{indices.data(), probabilities.data(), weights.data(), pointers.data()};
  out.discounts = options.streams.n_step > 1 ? discounts.data() : nullptr;
  out.mask = options.streams.sequence_length > 0 ? mask.data() : nullptr;
  try {
    const WriteMark mark = buffer.sample(request, out);
    if (options.streams.sequence_length == 0) {
      buffer.update_priorities(indices.data(), errors.data(), kBatch, &mark, false);
    }
  } catch (const BufferEmptyError&) {
    // A file may hold a buffer of hidden slots only.
  }
}

FuzzBytes saved(const ReplayBuffer& buffer) {
  FuzzBytes bytes(static_cast<std::size_t>(saved_bytes(buffer, {})));
  MemorySink sink(bytes.data(), bytes.size());
  save_buffer(buffer, {}, sink);
  return bytes;
}

FuzzTarget buffer_target(const char* name, std::shared_ptr<ReplayBuffer> buffer) {
  FuzzTarget target{name, {saved(*buffer)}, std::size_t{1} << 20, {}};
  for (const std::int64_t n : {6, 20, 80}) {
    add_rows(*buffer, n, n);
    sample_and_update(*buffer);
    target.corpus.push_back(saved(*buffer));
  }
  target.load = [buffer](const FuzzBytes& bytes) {
    const MemorySource source(bytes.data(), bytes.size());
    const CheckpointReader reader(source, "input");
    const std::unique_ptr<ReplayBuffer> loaded = buffer->make_empty();
    loaded->load(CheckpointState(reader));
    // What was accepted must be safe to use, over the end of the ring and back.
    sample_and_update(*loaded);
    add_rows(*loaded, 1, 2 * kCapacity + 6);
    sample_and_update(*loaded);
    saved(*loaded);
  };
  return target;
}

// A folder for one run, in memory where there is such a place: announcements wait for the disk.
std::string temporary_folder() {
  std::string pattern = (std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : "/tmp") + std::string("/fuzz-XXXXXX");
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
  return pattern;
}

// A state beside columns that do not belong to it: each input that is accepted leaves other ones behind.
template <typename Buffer, typename... Arguments>
FuzzTarget folder_target(const char* name, ReplayOptions options, Arguments... arguments) {
  options.mapped = true;
  const std::string path = temporary_folder();
  std::shared_ptr<StorageFolder> folder(new StorageFolder(path), [path](StorageFolder* made) {
    delete made;
    std::filesystem::remove_all(path);
  });
  const auto make = [options, arguments...] { return std::make_unique<Buffer>(options, arguments...); };
  FuzzTarget target{name, {}, std::size_t{1} << 20, {}};
  const std::unique_ptr<Buffer> buffer = make();
  buffer->open(folder, nullptr, {});
  for (const std::int64_t n : {6, 20, 80}) {
    const FileSource source(folder->state_path());
    target.corpus.emplace_back(source.size());
    source.read(0, target.corpus.back().data(), target.corpus.back().size());
    add_rows(*buffer, n, n);
    sample_and_update(*buffer);
    buffer->flush();
  }
  target.load = [folder, make](const FuzzBytes& bytes) {
    const MemorySource source(bytes.data(), bytes.size());
    const CheckpointReader reader(source, "input");
    const std::unique_ptr<Buffer> opened = make();
    try {
      opened->open(folder, &reader, {});
    } catch (const FileError& error) {  // it names files that do not exist
      throw CheckpointCorruptError(error.what());
    }
    sample_and_update(*opened);
    add_rows(*opened, 1, 2 * kCapacity + 6);
    sample_and_update(*opened);
    saved(*opened);
  };
  return target;
}

}  // namespace

std::vector<FuzzTarget> fuzz_targets() {
  std::vector<FuzzTarget> targets{container_target()};
  ReplayOptions plain = stream_options();
  plain.fields[2].next_of = -1;
  plain.streams = {};
  targets.push_back(buffer_target("uniform", std::make_shared<ReplayBuffer>(plain)));
  targets.push_back(
      buffer_target("prioritized", std::make_shared<PrioritizedReplayBuffer>(plain, PrioritizedOptions{})));
  ReplayOptions tasks = plain;
  tasks.tasks = {5, 2, false};
  targets.push_back(buffer_target("tasks", std::make_shared<PrioritizedReplayBuffer>(tasks, PrioritizedOptions{})));
  tasks.reservoir = true;
  targets.push_back(buffer_target("reservoir", std::make_shared<ReplayBuffer>(tasks)));
  ReplayOptions steps = stream_options();
  steps.streams.n_step = 3;
  targets.push_back(buffer_target("n-step", std::make_shared<PrioritizedReplayBuffer>(steps, PrioritizedOptions{})));
  ReplayOptions stacked = steps;
  stacked.streams.share_next = true;
  stacked.fields[0].stack = stacked.fields[2].stack = 3;
  targets.push_back(buffer_target("stacked", std::make_shared<PrioritizedReplayBuffer>(stacked, PrioritizedOptions{})));
  stacked.tasks = {5, 2, false};
  targets.push_back(folder_target<PrioritizedReplayBuffer>("folder", stacked, PrioritizedOptions{}));
  ReplayOptions sequences = stream_options();
  sequences.streams.sequence_length = 5;
  sequences.streams.burn_in = 2;
  sequences.streams.stride = 3;
  targets.push_back(buffer_target("sequences", std::make_shared<ReplayBuffer>(sequences)));
  return targets;
}
