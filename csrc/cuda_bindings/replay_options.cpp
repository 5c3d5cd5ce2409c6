// What a replay buffer in device memory is made with.
#include <pybind11/numpy.h>

#include <algorithm>
#include <limits>

#include "bindings/arrays.h"
#include "cuda_bindings/call.h"
#include "cuda_bindings/replay_object.h"
#include "cuda_bindings/tree_arguments.h"

namespace metarl::cuda {
namespace {

dlpack::DataType code_of(const std::string& name, const py::dtype& dtype) {
  const py::ssize_t bytes = dtype.itemsize();
  const auto bits = static_cast<std::uint8_t>(bytes * 8);
  const char kind = dtype.kind();
  if (kind == 'b') return {dlpack::kBool, 8, 1};
  if (kind == 'i') return {dlpack::kInt, bits, 1};
  if (kind == 'u') return {dlpack::kUint, bits, 1};
  if (kind == 'f' && bytes <= 8) return {dlpack::kFloat, bits, 1};
  if (kind == 'c' && bytes <= 16) return {dlpack::kComplex, bits, 1};
  throw py::type_error("dtype of field '" + name + "' is " + py::cast<std::string>(py::str(dtype)) +
                       "; on a GPU it must be bool, an integer, a real or a complex number of at most 64 bits a part");
}

// From (name, shape, dtype) tuples that metarl_core/replay/fields.py has checked.
std::vector<Column> parse_columns(const py::sequence& fields) {
  std::vector<Column> columns;
  for (const py::handle field : fields) {
    const py::tuple parts(py::reinterpret_borrow<py::object>(field));
    Column column;
    column.name = py::cast<std::string>(parts[0]);
    column.dtype = py::dtype::from_args(parts[2]);
    column.code = code_of(column.name, column.dtype);
    column.bytes = static_cast<std::size_t>(column.dtype.itemsize());
    for (const py::handle extent : py::tuple(parts[1])) {
      column.shape.push_back(py::cast<std::int64_t>(extent));
      column.bytes *= static_cast<std::size_t>(column.shape.back());
    }
    columns.push_back(std::move(column));
  }
  return columns;
}

// From the CPU buffer's _links.
void take_links(const py::dict& links, ReplayOptions* options) {
  StreamOptions& streams = options->streams;
  const auto fields = py::cast<py::list>(links["fields"]);
  for (std::size_t f = 0; f < options->fields.size(); ++f) {
    const auto parts = py::cast<py::tuple>(fields[f]);
    options->fields[f].stack = py::cast<int>(parts[0]);
    options->fields[f].next_of = py::cast<int>(parts[1]);
    options->fields[f].recurrent = py::cast<bool>(parts[2]);
  }
  const auto take = [&]<typename T>(const char* name, T* to) { *to = py::cast<T>(links[name]); };
  take("num_envs", &streams.num_envs);
  take("n_step", &streams.n_step);
  take("gamma", &streams.gamma);
  take("share_next", &streams.share_next);
  take("skip_reset_rows", &streams.skip_reset_rows);
  take("sequence_length", &streams.sequence_length);
  take("burn_in", &streams.burn_in);
  take("stride", &streams.stride);
  take("priority_mix", &streams.priority_mix);
  take("reward", &streams.reward);
  take("terminated", &streams.terminated);
  take("truncated", &streams.truncated);
  if (streams.reward < 0) return;
  streams.reward_type = py::cast<bool>(links["wide_reward"]) ? RewardType::float64 : RewardType::float32;
}

// The name was checked by a buffer on the CPU.
void take_task_field(const py::object& name, PyDeviceReplay* self, ReplayOptions* options) {
  for (std::size_t c = 0; !name.is_none() && c < self->columns.size(); ++c) {
    const Column& column = self->columns[c];
    if (column.name != py::cast<std::string>(name)) continue;
    self->task_column = static_cast<int>(c);
    options->tasks.field = self->task_column;
    options->tasks.bytes = column.bytes;
    options->tasks.is_signed = column.dtype.kind() == 'i';
  }
}

OwnedReplay make_memory(OwnedReplay self, const ReplaySettings& settings, py::handle device) {
  const int number = device_number(device);
  {
    const py::gil_scoped_release released;
    self->replay = std::make_unique<Replay>(open_device(number), settings);
  }
  for (const FieldSpec& spec : self->replay->stored_fields()) {
    const auto found = std::find_if(self->columns.begin(), self->columns.end(),
                                    [&](const Column& column) { return column.name == spec.name; });
    if (found == self->columns.end()) break;  // links follow
    self->stored.push_back(*found);
    Column& column = self->stored.back();
    if (column.bytes != spec.bytes) column.shape[0] = 1;  // a frame of a stack
    column.bytes = spec.bytes;
  }
  return self;
}

}  // namespace

OwnedReplay make_replay(const py::sequence& fields, const py::dict& options, py::handle device) {
  OwnedReplay self(new PyDeviceReplay());
  self->columns = parse_columns(fields);
  ReplaySettings settings{};
  ReplayOptions& core = settings.options;
  for (const Column& column : self->columns) {
    core.fields.push_back({column.name, column.bytes, static_cast<std::size_t>(column.dtype.alignment())});
  }
  core.capacity = capacity_argument(py::object(options["capacity"]).ptr(), [&] {
    std::size_t bytes = 13;
    for (const Column& column : self->columns) bytes += column.bytes;
    return py::int_(bytes);
  });
  if (core.capacity > kMaxTreeCapacity) {
    throw OutOfMemoryError("cannot allocate " + std::to_string(core.capacity) +
                           " transitions; a buffer has at most 2**31 - 1");
  }
  core.seed = seed_argument(py::object(options["seed"]).ptr());
  take_links(py::dict(options["links"]), &core);
  take_task_field(py::object(options["task_field"]), self.get(), &core);
  self->num_envs = core.streams.num_envs;
  settings.uniform = py::cast<bool>(options["uniform"]);
  if (settings.uniform) {
    settings.alpha = 1.0;
    settings.normalization = WeightNormalization::none;
    settings.max_priority = std::numeric_limits<float>::max();
    self->mode = SamplingMode::independent;
    return make_memory(std::move(self), settings, device);
  }
  settings.alpha = py::cast<double>(options["alpha"]);
  settings.eps = py::cast<float>(options["eps"]);
  const py::object limit = options["max_priority"];
  settings.max_priority = limit.is_none() ? std::numeric_limits<float>::max() : py::cast<float>(limit);
  settings.normalization = normalization_argument(py::object(options["weight_normalization"]));
  self->mode = py::cast<bool>(options["stratified"]) ? SamplingMode::stratified : SamplingMode::independent;
  return make_memory(std::move(self), settings, device);
}

}  // namespace metarl::cuda
