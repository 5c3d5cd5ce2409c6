// State of a replay buffer in device memory as a Python dict, and back.
#include <pybind11/numpy.h>

#include <algorithm>
#include <cstring>

#include "bindings/arrays.h"
#include "cuda_bindings/call.h"
#include "cuda_bindings/replay_object.h"

namespace metarl::cuda {
namespace {

std::string link_name(const PyDeviceReplay& self, std::size_t stored) {
  return "links" + self.replay->stored_fields()[stored].name;
}

void add_streams(const PyDeviceReplay& self, py::dict* result, Stream stream) {
  StreamTables tables;
  {
    const py::gil_scoped_release released;
    tables = self.replay->read_streams(stream);
  }
  py::array_t<std::int64_t> table({tables.num_envs, tables.columns});
  std::copy(tables.table.begin(), tables.table.end(), table.mutable_data());
  py::array_t<std::uint8_t> pending({tables.num_envs, tables.pending_bytes});
  if (!tables.pending.empty()) std::memcpy(pending.mutable_data(), tables.pending.data(), tables.pending.size());
  (*result)["streams"] = std::move(table);
  (*result)["pending"] = std::move(pending);
}

template <typename T>
const T* dense(const py::dict& state, const char* name, std::int64_t size) {
  const py::object object = state[name];
  if (!is_array_of<T>(object.ptr()) || py::cast<py::array>(object).size() != size) {
    throw py::value_error("state['" + std::string(name) + "'] is no array of " + std::to_string(size));
  }
  return static_cast<const T*>(py::cast<py::array>(object).data());
}

StreamTables streams_of(const PyDeviceReplay& self, const py::dict& state) {
  StreamTables tables = self.replay->empty_streams();
  const auto* table = dense<std::int64_t>(state, "streams", static_cast<std::int64_t>(tables.table.size()));
  const auto* pending = dense<std::uint8_t>(state, "pending", static_cast<std::int64_t>(tables.pending.size()));
  std::copy_n(table, tables.table.size(), tables.table.begin());
  if (!tables.pending.empty()) std::memcpy(tables.pending.data(), pending, tables.pending.size());
  return tables;
}

void add_tasks(const PyDeviceReplay& self, std::int64_t n, py::dict* result, Stream stream) {
  std::vector<TaskEntry> entries;
  {
    const py::gil_scoped_release released;
    entries = self.replay->read_tasks(n, stream);
  }
  py::array_t<std::uint32_t> positions(n);
  std::transform(entries.begin(), entries.end(), positions.mutable_data(),
                 [](const TaskEntry& entry) { return entry.position; });
  (*result)["task_positions"] = std::move(positions);
}

// Without positions those of a task are in the order of slots.
std::vector<TaskEntry> tasks_of(const PyDeviceReplay& self, const py::dict& state, const Replay::Content& content) {
  const std::uint32_t* positions =
      state.contains("task_positions") ? dense<std::uint32_t>(state, "task_positions", content.n) : nullptr;
  const std::size_t column = static_cast<std::size_t>(self.task_column);
  const py::object given = py::dict(state["columns"])[self.columns[column].name.c_str()];
  const py::array_t<std::int64_t, py::array::c_style | py::array::forcecast> tasks(given);
  std::vector<TaskEntry> entries(static_cast<std::size_t>(content.n), TaskEntry{0, 0, 0});
  std::vector<std::uint32_t> counts(static_cast<std::size_t>(kMostTasks));
  for (std::size_t slot = 0; slot < entries.size(); ++slot) {
    if ((content.valid[slot / 32] >> (slot % 32) & 1) == 0) continue;
    const auto task = static_cast<std::uint16_t>(tasks.data()[slot]);
    entries[slot] = {positions != nullptr ? positions[slot] : counts[task]++, task, 1};
  }
  return entries;
}

}  // namespace

Replay::State read_state(const PyDeviceReplay& self) {
  const Stream stream = waiting_stream(py::none(), self.device());
  const py::gil_scoped_release released;
  return self.replay->state(stream);
}

py::array_t<double> priorities(Handle self) {
  const Stream stream = waiting_stream(py::none(), self->device());
  const std::int64_t n = read_state(*self).slots_used;
  std::vector<float> raw(static_cast<std::size_t>(n));
  {
    const py::gil_scoped_release released;
    self->replay->read_priorities(n, raw.data(), stream);
  }
  py::array_t<double> result(n);
  std::copy(raw.begin(), raw.end(), result.mutable_data());
  return result;
}

py::dict snapshot(Handle self) {
  const Stream stream = waiting_stream(py::none(), self->device());
  const Replay::State state = read_state(*self);
  const std::int64_t n = state.slots_used;
  py::dict result;
  result["written"] = state.replay.written;
  result["draws"] = state.tree.draws;
  const bool uniform = self->replay->settings().uniform;
  if (!uniform) {
    result["stale_updates"] = state.replay.stale_updates;
    result["running_max_priority"] = static_cast<double>(state.replay.running_max);
    result["scale_exponent"] = state.tree.scale_exponent;
    result["changes_since_rescale"] = state.tree.changes;
  }
  py::dict columns;
  for (std::size_t c = 0; c < self->replay->stored_fields().size(); ++c) {
    const bool is_link = self->replay->is_link(c);
    std::vector<py::ssize_t> shape = {n};
    if (!is_link) shape.insert(shape.end(), self->stored[c].shape.begin(), self->stored[c].shape.end());
    py::array column(is_link ? py::dtype::of<std::uint32_t>() : self->stored[c].dtype, shape);
    auto* to = static_cast<std::byte*>(column.mutable_data());
    {
      const py::gil_scoped_release released;
      self->replay->read_field(c, n, to, stream);
    }
    if (is_link) {
      result[link_name(*self, c).c_str()] = std::move(column);
    } else {
      columns[self->stored[c].name.c_str()] = std::move(column);
    }
  }
  result["columns"] = std::move(columns);
  py::array_t<float> raw(n);
  py::array_t<std::uint32_t> masses(n);
  py::array_t<std::uint64_t> valid((n + 63) / 64);
  std::fill_n(valid.mutable_data(), valid.size(), 0u);
  float* to_raw = raw.mutable_data();
  std::uint32_t* to_masses = masses.mutable_data();
  // Little-endian words of 32 bits are half a word of 64.
  auto* to_valid = reinterpret_cast<std::uint32_t*>(valid.mutable_data());
  {
    const py::gil_scoped_release released;
    self->replay->read_priorities(n, to_raw, stream);
    self->tree().read_leaves(n, to_masses, to_valid, stream);
  }
  if (!uniform) {
    result["priorities"] = std::move(raw);
    result["masses"] = std::move(masses);
  }
  if (static_cast<std::int64_t>(state.tree.num_valid) != n) result["valid"] = std::move(valid);
  if (self->replay->has_streams()) add_streams(*self, &result, stream);
  if (self->replay->has_tasks()) add_tasks(*self, n, &result, stream);
  return result;
}

// The state has been checked by a buffer on the CPU.
void restore(Handle self, const py::dict& state) {
  const Stream stream = waiting_stream(py::none(), self->device());
  Replay::Content content{};
  content.written = py::cast<std::uint64_t>(state["written"]);
  const auto capacity = static_cast<std::uint64_t>(self->replay->capacity());
  content.n = static_cast<std::int64_t>(std::min(content.written, capacity));
  const Replay::State before = read_state(*self);
  content.tree.draws = py::cast<std::uint64_t>(state["draws"]);
  content.tree.rescales = before.tree.rescales + 1;
  content.tree.calls = before.tree.calls;
  std::vector<std::uint32_t> no_masses;
  std::vector<float> no_priorities;
  if (self->replay->settings().uniform) {
    no_masses.resize(static_cast<std::size_t>(content.n));
    no_priorities.resize(static_cast<std::size_t>(content.n));
    content.masses = no_masses.data();
    content.raw = no_priorities.data();
  } else {
    content.stale_updates = py::cast<std::uint64_t>(state["stale_updates"]);
    content.running_max = py::cast<float>(state["running_max_priority"]);
    content.tree.changes = py::cast<std::uint64_t>(state["changes_since_rescale"]);
    content.tree.scale_exponent = py::cast<std::int32_t>(state["scale_exponent"]);
    content.masses = dense<std::uint32_t>(state, "masses", content.n);
    content.raw = dense<float>(state, "priorities", content.n);
  }
  std::vector<std::uint64_t> all;
  const std::uint64_t* valid = nullptr;
  if (state.contains("valid")) {
    valid = dense<std::uint64_t>(state, "valid", (content.n + 63) / 64);
  } else {
    all.assign(static_cast<std::size_t>((content.n + 63) / 64), ~std::uint64_t{0});
    valid = all.data();
  }
  content.valid = reinterpret_cast<const std::uint32_t*>(valid);
  const py::dict columns = state["columns"];
  for (std::size_t c = 0; c < self->replay->stored_fields().size(); ++c) {
    const bool is_link = self->replay->is_link(c);
    const std::string name = is_link ? link_name(*self, c) : self->stored[c].name;
    const auto array = py::cast<py::array>(is_link ? py::object(state[name.c_str()]) : columns[name.c_str()]);
    const std::size_t bytes = self->replay->stored_fields()[c].bytes;
    if (!is_c_contiguous(array) ||
        static_cast<std::size_t>(array.nbytes()) != static_cast<std::size_t>(content.n) * bytes) {
      throw py::value_error("state: '" + name + "' has another size or order");
    }
    content.fields.push_back(static_cast<const std::byte*>(array.data()));
  }
  if (self->replay->has_streams()) content.streams = streams_of(*self, state);
  if (self->replay->has_tasks()) content.tasks = tasks_of(*self, state, content);
  const py::gil_scoped_release released;
  self->replay->load(content, stream);
}

}  // namespace metarl::cuda
