#include "metarl/replay_state.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "core/poll.h"
#include "metarl/errors.h"
#include "metarl/replay_buffer.h"

namespace metarl {
namespace {

const char* object_name(Saved saved) { return saved == Saved::all ? "replay buffer" : "replay buffer without columns"; }

CheckpointHeader header_of(const BufferState& state, const Value& config, Saved saved) {
  CheckpointHeader header;
  header.values.set("object", object_name(saved));
  header.values.set("config", config);
  header.values.set("state", state.numbers);
  return header;
}

std::vector<SectionSpec> specs_of(const BufferState& state) {
  std::vector<SectionSpec> specs;
  for (const StateArray& array : state.arrays) specs.push_back(array.spec);
  return specs;
}

std::string shape_text(const std::vector<std::uint64_t>& shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

}  // namespace

void write_state(const BufferState& state, const Value& config, Saved saved, ByteSink& sink, const Poll& poll) {
  CheckpointWriter writer(sink, header_of(state, config, saved), specs_of(state), poll);
  for (const StateArray& array : state.arrays) {
    writer.write_strided(array.data, array.element_bytes, array.stride, array.size());
  }
  writer.finish();
}

void save_buffer(const ReplayBuffer& buffer, const Value& config, ByteSink& sink, const Poll& poll) {
  buffer.visit_state([&](const BufferState& state) { write_state(state, config, Saved::all, sink, poll); });
}

std::uint64_t saved_bytes(const ReplayBuffer& buffer, const Value& config) {
  std::uint64_t bytes = 0;
  buffer.visit_state([&](const BufferState& state) {
    bytes = CheckpointWriter::file_bytes(header_of(state, config, Saved::all), specs_of(state));
  });
  return bytes;
}

const Value& saved_config(const CheckpointReader& checkpoint, Saved saved) {
  const Value* object = checkpoint.header().find("object");
  if (object == nullptr || !(*object == Value(object_name(saved)))) {
    const bool storage = object != nullptr && *object == Value(object_name(Saved::all_but_columns));
    throw CheckpointFormatError(storage ? "the checkpoint is part of a folder; open that as storage='mmap:FOLDER'"
                                        : "the checkpoint does not hold a replay buffer");
  }
  checkpoint.check_features({});
  const Value* config = checkpoint.header().find("config");
  if (config == nullptr) checkpoint.corrupt("config", "is missing");
  return *config;
}

CheckpointState::CheckpointState(const CheckpointReader& checkpoint, Saved saved) : checkpoint_(checkpoint) {
  saved_config(checkpoint, saved);
  numbers_ = checkpoint.header().find("state");
  if (numbers_ == nullptr || !std::holds_alternative<Value::Map>(numbers_->data())) {
    checkpoint.corrupt("state", "is missing");
  }
}

void CheckpointState::refuse(const std::string& name, const std::string& problem) const { fail(name, problem); }

void CheckpointState::fail(const std::string& name, const std::string& problem) const {
  checkpoint_.corrupt("'" + name + "'", problem);
}

bool CheckpointState::has(const std::string& name) const {
  return numbers_->find(name) != nullptr || checkpoint_.find(name) != nullptr;
}

const Value& CheckpointState::number(const std::string& name) const {
  if (const Value* value = numbers_->find(name)) return *value;
  fail(name, "is missing");
}

std::uint64_t CheckpointState::count(const std::string& name) const {
  return static_cast<std::uint64_t>(integer(name, 0, static_cast<std::int64_t>(kLargestCount)));
}

std::int64_t CheckpointState::integer(const std::string& name, std::int64_t least, std::int64_t most) const {
  const Value& value = number(name);
  try {
    const std::int64_t result = value.int64();
    if (result >= least && result <= most) return result;
    fail(name,
         "is " + std::to_string(result) + "; must be in [" + std::to_string(least) + ", " + std::to_string(most) + "]");
  } catch (const std::invalid_argument& e) {
    fail(name, e.what());
  }
}

double CheckpointState::real(const std::string& name) const {
  const Value& value = number(name);
  try {
    return value.float64();
  } catch (const std::invalid_argument& e) {
    fail(name, e.what());
  }
}

void CheckpointState::read(const StateArray& array) const {
  const CheckpointReader::Section* section = checkpoint_.find(array.spec.name);
  if (section == nullptr) fail(array.spec.name, "is missing");
  if (static_cast<const SectionSpec&>(*section) != array.spec) {
    fail(array.spec.name, "expected " + array.spec.dtype + " of shape " + shape_text(array.spec.shape) + ", got " +
                              section->dtype + " of shape " + shape_text(section->shape));
  }
  SectionStream stream(checkpoint_, *section);
  stream.read_strided(array.data, array.element_bytes, array.stride, array.size());
  stream.finish();
}

// ---- of the buffers
// --------------------------------------------------------------------------------------------------

namespace {

std::size_t num_words(std::int64_t slots) { return static_cast<std::size_t>((slots + 63) / 64); }

StateArray words_array(std::uint64_t* words, std::int64_t slots) {
  return {{"valid", "<u8", {num_words(slots)}}, reinterpret_cast<std::byte*>(words), 8, 8};
}

StateArray slot_array(const char* name, const char* dtype, std::byte* data, std::size_t bytes, std::int64_t slots) {
  return {{name, dtype, {static_cast<std::uint64_t>(slots)}}, data, bytes, static_cast<std::ptrdiff_t>(bytes)};
}

// What the streams keep besides the slots, in memory of its own.
struct StreamTables {
  StreamTables(const Streams& streams, std::int64_t num_envs)
      : envs(static_cast<std::uint64_t>(num_envs)),
        columns(static_cast<std::uint64_t>(streams.state_columns())),
        table(static_cast<std::size_t>(envs * columns)),
        pending(static_cast<std::size_t>(envs) * streams.pending_bytes()) {}

  std::vector<StateArray> arrays() {
    const std::size_t row = static_cast<std::size_t>(columns) * sizeof(std::int64_t);
    const std::size_t bytes = pending.size() / static_cast<std::size_t>(envs);
    return {{{"streams", "<i8", {envs, columns}},
             reinterpret_cast<std::byte*>(table.data()),
             row,
             static_cast<std::ptrdiff_t>(row)},
            {{"pending", "|u1", {envs, bytes}}, pending.data(), bytes, static_cast<std::ptrdiff_t>(bytes)}};
  }

  std::uint64_t envs;
  std::uint64_t columns;
  std::vector<std::int64_t> table;
  std::vector<std::byte> pending;
};

}  // namespace

void ReplayBuffer::visit_state(const std::function<void(const BufferState&)>& visitor) const {
  const std::lock_guard lock(mutex_);
  visit_unlocked(visitor);
}

void ReplayBuffer::visit_unlocked(const std::function<void(const BufferState&)>& visitor) const {
  BufferState state;
  state.numbers.set("written", mark_.written);
  if (mutex_.stream() != 0) state.numbers.set("random_stream", mutex_.stream());
  describe_numbers(&state.numbers);
  describe_arrays(&state.arrays);
  const std::int64_t used = slots_used_unlocked();
  if (!valid().is_prefix() || valid().size() != used) {
    state.arrays.push_back(words_array(const_cast<std::uint64_t*>(valid().words()), used));
  }
  if (options_.reservoir) {
    state.numbers.set("reservoir_draws", reservoir_draws_);
    state.arrays.push_back(slot_array("written_at", "<u8", written_at_.data(), 8, used));
  }
  std::vector<std::uint32_t> positions;
  if (tasks_ != nullptr && !tasks_->is_lost()) {  // without: in the order of slots
    positions.resize(static_cast<std::size_t>(used));
    tasks_->read_positions(used, positions.data());
    state.arrays.push_back(
        slot_array("task_positions", "<u4", reinterpret_cast<std::byte*>(positions.data()), 4, used));
  }
  std::unique_ptr<StreamTables> tables;
  if (streams_ != nullptr) {
    tables = std::make_unique<StreamTables>(*streams_, options_.streams.num_envs);
    streams_->read_state(tables->table.data(), tables->pending.data());
    for (StateArray& array : tables->arrays()) state.arrays.push_back(std::move(array));
  }
  visitor(state);
}

void ReplayBuffer::load(const StateSource& source) { load(source, 0); }

// If the state is older than the columns: `overwritten` slots were announced since.
void ReplayBuffer::load(const StateSource& source, std::uint64_t overwritten) {
  mark_ = {next_epoch(), source.count("written")};
  mutex_.set_stream(source.has("random_stream") ? source.count("random_stream") : 0);
  take_numbers(source);
  std::vector<StateArray> arrays;
  describe_arrays(&arrays);
  for (const StateArray& array : arrays) source.read(array);
  const std::int64_t used = slots_used_unlocked();
  SlotSet all(capacity_);
  if (source.has("valid")) {
    std::vector<std::uint64_t> words(num_words(used));
    source.read(words_array(words.data(), used));
    if (used % 64 != 0 && (words[num_words(used) - 1] >> (used % 64)) != 0) {
      source.refuse("valid", "has bits behind the last slot");
    }
    all.assign(words.data(), used);
  } else {
    all.insert_range(0, used);
  }
  if (streams_ != nullptr) load_streams(source);
  complete_load(source, std::move(all));
  if (options_.reservoir) load_reservoir(source);
  const bool lost = lose(overwritten);
  if (tasks_ == nullptr) return;
  if (lost) {  // positions have gaps now
    rebuild_tasks(nullptr, [&source] { source.poll(); });
  } else {
    load_tasks(source);
  }
}

void ReplayBuffer::load_reservoir(const StateSource& source) {
  reservoir_draws_ = source.count("reservoir_draws");
  const std::int64_t used = slots_used_unlocked();
  source.read(slot_array("written_at", "<u8", written_at_.data(), 8, used));
  for (std::int64_t slot = 0; slot < used; ++slot) {
    if (slot % kPollItems == 0) source.poll();
    if (written_at_.as<std::uint64_t>()[slot] >= mark_.written) {
      source.refuse("written_at", "of slot " + std::to_string(slot) + " is not before `written`");
    }
  }
}

void ReplayBuffer::load_tasks(const StateSource& source) {
  const std::int64_t used = slots_used_unlocked();
  std::vector<std::uint32_t> positions;
  if (source.has("task_positions")) {
    positions.resize(static_cast<std::size_t>(used));
    source.read(slot_array("task_positions", "<u4", reinterpret_cast<std::byte*>(positions.data()), 4, used));
  }
  try {
    rebuild_tasks(positions.empty() ? nullptr : positions.data(), [&source] { source.poll(); });
  } catch (const std::invalid_argument& e) {
    source.refuse("task_positions", e.what());
  }
}

void ReplayBuffer::load_streams(const StateSource& source) {
  StreamTables tables(*streams_, options_.streams.num_envs);
  for (const StateArray& array : tables.arrays()) source.read(array);
  try {
    streams_->check_state(tables.table.data(), mark_.written);
  } catch (const std::invalid_argument& e) {
    source.refuse("streams", e.what());
  }
  const std::int64_t used = slots_used_unlocked();
  const int next = streams_->next_column();
  const int previous = streams_->previous_column();
  const auto link = [this](int column, std::int64_t slot) {
    std::uint32_t value = ~std::uint32_t{0};
    if (column >= 0) std::memcpy(&value, store_.at(static_cast<std::size_t>(column), slot), sizeof value);
    return value;
  };
  for (std::int64_t slot = 0; slot < used; ++slot) {
    if (slot % kPollItems == 0) source.poll();
    if (!streams_->links_are_safe(link(next, slot), link(previous, slot), used)) {
      source.refuse("links", "of slot " + std::to_string(slot) + " are out of range");
    }
  }
  streams_->restore_state(tables.table.data(), tables.pending.data());
}

void ReplayBuffer::exchange(ReplayBuffer& other, const Poll& poll) {
  const std::lock_guard lock(mutex_);
  if (storage_ != nullptr) {
    other.flush_unlocked(poll);  // the folder's state names the new files from here on
    storage_->files->keep(false);
  }
  std::swap(mark_, other.mark_);
  std::swap(draws_, other.draws_);
  mutex_.set_stream(other.mutex_.stream());
  std::swap(storage_, other.storage_);
  std::swap(store_, other.store_);
  std::swap(valid_, other.valid_);
  std::swap(streams_, other.streams_);
  std::swap(tasks_, other.tasks_);
  std::swap(seen_rescales_, other.seen_rescales_);
  std::swap(written_at_, other.written_at_);
  std::swap(reservoir_draws_, other.reservoir_draws_);
  if (streams_ != nullptr) {
    streams_->set_store(&store_);
    other.streams_->set_store(&other.store_);
  }
  on_exchange(other);
}

std::unique_ptr<ReplayBuffer> ReplayBuffer::make_same() const { return std::make_unique<ReplayBuffer>(options_); }

void ReplayBuffer::describe_numbers(Value* numbers) const { numbers->set("draws", draws_); }

void ReplayBuffer::take_numbers(const StateSource& source) { draws_ = source.count("draws"); }

void ReplayBuffer::describe_arrays(std::vector<StateArray>* arrays) const {
  for (std::size_t f = 0; f < store_.fields().size(); ++f) {
    const FieldSpec& field = store_.fields()[f];
    const bool is_link = streams_ != nullptr && (static_cast<int>(f) == streams_->next_column() ||
                                                 static_cast<int>(f) == streams_->previous_column());
    SectionSpec spec{(is_link ? "links" : "columns/") + field.name,
                     field.dtype,
                     {static_cast<std::uint64_t>(slots_used_unlocked())}};
    if (spec.dtype.empty()) {
      spec.dtype = "|V" + std::to_string(field.bytes);
    } else {
      spec.shape.insert(spec.shape.end(), field.shape.begin(), field.shape.end());
    }
    arrays->push_back({std::move(spec), store_.at(f, 0), field.bytes, store_.stride(f)});
  }
}

void ReplayBuffer::complete_load(const StateSource&, SlotSet valid) { *valid_ = std::move(valid); }

void ReplayBuffer::on_exchange(ReplayBuffer&) {}

}  // namespace metarl
