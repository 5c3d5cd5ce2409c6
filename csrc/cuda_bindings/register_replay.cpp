// A replay buffer in device memory, as metarl_core/replay/device_buffer.py uses it.
#include <pybind11/numpy.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "bindings/arrays.h"
#include "cuda_bindings/call.h"
#include "cuda_bindings/register.h"
#include "cuda_bindings/replay_object.h"
#include "cuda_bindings/tree_arguments.h"

namespace metarl::cuda {
namespace {

// ---- add ------------------------------------------------------------------------------------------------------------

void check_rows(const PyDeviceReplay& self, std::int64_t n) {
  check_count(n, "add");
  if (self.num_envs > 1 && n != self.num_envs) {
    throw py::value_error("add got " + std::to_string(n) + " rows; with num_envs = " + std::to_string(self.num_envs) +
                          " it needs one for each environment");
  }
}

// The number of rows that an array of a field has; -1 if it is one element without the axis of rows.
std::int64_t rows_of(const PyDeviceReplay& self, std::size_t c, const std::vector<std::int64_t>& shape) {
  const std::vector<std::int64_t>& element = self.columns[c].shape;
  if (shape == element) return -1;
  if (shape.size() == element.size() + 1 && std::equal(element.begin(), element.end(), shape.begin() + 1)) {
    return shape[0];
  }
  std::vector<std::int64_t> wanted = element;
  wanted.insert(wanted.begin(), 0);
  std::string text = shape_text(wanted);
  text.replace(1, 1, "B");
  throw py::value_error("'" + self.columns[c].name + "' has shape " + shape_text(shape) + "; must have shape " +
                        shape_text(element) + " or " + text);
}

void add_from_device(const PyDeviceReplay& self, Call* call, const std::vector<PyObject*>& values) {
  std::vector<std::byte*> sources;
  std::int64_t n = 0;
  for (std::size_t c = 0; c < values.size(); ++c) {
    const DeviceView view = call->block(values[c], "'" + self.columns[c].name + "'", self.columns[c].code);
    const std::int64_t rows = rows_of(self, c, view.shape);
    if (c > 0 && rows != n) {
      throw py::value_error("'" + self.columns[c].name + "' has shape " + shape_text(view.shape) + ", '" +
                            self.columns[0].name + "' has " + (n < 0 ? "one element" : std::to_string(n) + " rows") +
                            "; all must have the same");
    }
    n = rows;
    sources.push_back(view.as<std::byte>());
    if (static_cast<int>(c) == self.task_column &&
        reinterpret_cast<std::uintptr_t>(view.data) % self.columns[c].bytes != 0) {
      throw py::value_error("'" + self.columns[c].name +
                            "' does not begin at a multiple of its items' size; pass a copy");
    }
  }
  n = n < 0 ? 1 : n;
  check_rows(self, n);
  if (n > 0) self.replay->add(sources.data(), n, call->stream());
}

// Dense rows in host memory, of the fields' dtypes.
void add_from_host(const PyDeviceReplay& self, Call* call, const std::vector<PyObject*>& values) {
  if (call->is_capturing()) {
    throw std::runtime_error(
        "the stream records a graph, which cannot copy from host memory: every column must be an array on " +
        self.device().name());
  }
  std::vector<std::byte*> sources;
  std::int64_t n = 0;
  for (PyObject* value : values) {
    const auto array = py::reinterpret_borrow<py::array>(value);
    n = array.shape(0);
    const auto bytes = static_cast<std::size_t>(array.nbytes());
    auto* to = static_cast<std::byte*>(call->scratch(bytes, "rows to be added"));
    self.device().write(to, array.data(), bytes, call->stream());
    sources.push_back(to);
  }
  check_rows(self, n);
  if (n > 0) self.replay->add(sources.data(), n, call->stream());
}

std::vector<PyObject*> values_of(const PyDeviceReplay& self, const py::dict& given) {
  std::vector<PyObject*> values;
  for (const Column& column : self.columns) {
    if (!given.contains(column.name.c_str())) throw py::key_error("missing field '" + column.name + "'");
    values.push_back(py::object(given[column.name.c_str()]).ptr());
  }
  if (given.size() == values.size()) return values;
  for (const auto& item : given) {
    const bool known = std::any_of(self.columns.begin(), self.columns.end(),
                                   [&](const Column& column) { return py::str(column.name).equal(item.first); });
    if (!known) throw py::key_error("unknown field " + text_of(item.first));
  }
  return values;
}

// Whether columns are on the device; they are all there or all elsewhere.
bool are_on_device(Handle self, const py::dict& given) {
  const std::vector<PyObject*> values = values_of(*self, given);
  const auto there =
      std::count_if(values.begin(), values.end(), [&](PyObject* value) { return is_on_device(value, self->device()); });
  const auto count = static_cast<std::ptrdiff_t>(values.size());
  if (there == 0 || there == count) return there != 0;
  throw py::type_error("add() got " + std::to_string(there) + " of " + std::to_string(count) + " columns on " +
                       self->device().name() + " and the others in host memory; all must be on one side");
}

void add(Handle self, const py::dict& given, bool on_device, py::handle stream) {
  const std::vector<PyObject*> values = values_of(*self, given);
  Call call(self->tree(), stream);
  if (on_device) {
    add_from_device(*self, &call, values);
  } else {
    add_from_host(*self, &call, values);
  }
  call.done();
}

// ---- sample ---------------------------------------------------------------------------------------------------------

// The arrays of a batch: new ones, or those of `out`.
class BatchArrays {
 public:
  BatchArrays(Call* call, std::int64_t n, py::handle out) : call_(call), n_(n) {
    if (!out.is_none()) given_ = py::reinterpret_borrow<py::dict>(out);
  }

  void* array(const std::string& name, dlpack::DataType dtype, const std::vector<std::int64_t>& element) {
    std::vector<std::int64_t> shape = element;
    shape.insert(shape.begin(), n_);
    void* data = nullptr;
    if (!given_) {
      batch_[name.c_str()] = call_->result(dtype, shape, "a batch", &data);
      return data;
    }
    const std::string text = "out['" + name + "']";
    if (!given_.contains(name.c_str())) throw py::key_error(text + " is missing");
    const py::object object = given_[name.c_str()];
    const DeviceView view = call_->block(object, text, dtype, Access::write);
    if (view.shape != shape) {
      throw py::value_error(text + " has shape " + shape_text(view.shape) + "; must have shape " + shape_text(shape));
    }
    data = view.data;
    auto* begin = static_cast<std::byte*>(data);
    ranges_.push_back({begin, begin + static_cast<std::size_t>(view.size) * dtype.bits / 8, text});
    batch_[name.c_str()] = object;
    return data;
  }

  // Two names of the same memory would get one content.
  void refuse_overlaps() {
    std::sort(ranges_.begin(), ranges_.end(), [](const Range& a, const Range& b) { return a.begin < b.begin; });
    for (std::size_t i = 1; i < ranges_.size(); ++i) {
      if (ranges_[i].begin >= ranges_[i - 1].end) continue;
      throw py::value_error(ranges_[i - 1].name + " and " + ranges_[i].name +
                            " share memory; each array must have its own");
    }
  }

  py::dict batch() const { return batch_; }

 private:
  struct Range {
    const std::byte* begin;
    const std::byte* end;
    std::string name;
  };

  Call* call_;
  std::int64_t n_;
  py::dict batch_;
  py::object given_;
  std::vector<Range> ranges_;
};

py::tuple sample(Handle self, py::handle batch_size, py::handle beta, py::handle mode, py::handle task,
                 py::handle task_weights, py::handle out, py::handle given_mark, py::handle stream) {
  ReplayDraw draw{};
  draw.n = positive_argument(batch_size.ptr(), "batch_size");
  if (draw.n > kMostItems) {
    throw py::value_error("batch_size is " + std::to_string(draw.n) + "; must be at most 2**31 - 1");
  }
  draw.mode = mode.is_none() ? self->mode : mode_argument(py::none(), mode);
  Call call(self->tree(), stream);
  call.read_beta(beta, &draw.beta, &draw.beta_memory);
  const std::optional<TaskDraw> tasks = task_draw_argument(*self, &call, task, task_weights);
  if (tasks) draw.tasks = &*tasks;
  BatchArrays arrays(&call, draw.n, out);
  std::vector<std::byte*> fields;
  const ReplayOptions& options = self->replay->settings().options;
  const std::int64_t length = options.streams.sequence_length;
  for (std::size_t c = 0; c < self->columns.size(); ++c) {
    std::vector<std::int64_t> shape = self->columns[c].shape;
    if (length > 0 && !options.fields[c].recurrent) shape.insert(shape.begin(), length);
    fields.push_back(static_cast<std::byte*>(arrays.array(self->columns[c].name, self->columns[c].code, shape)));
  }
  draw.fields = fields.data();
  if (options.streams.n_step > 1) draw.discounts = static_cast<float*>(arrays.array("discount", kFloat32, {}));
  if (length > 0) {
    draw.steps_mask = static_cast<std::uint8_t*>(arrays.array("mask", {dlpack::kBool, 8, 1}, {length}));
  }
  draw.indices = static_cast<std::int64_t*>(arrays.array("indices", kInt64, {}));
  draw.weights = static_cast<float*>(arrays.array("weights", kFloat32, {}));
  draw.probabilities = static_cast<double*>(arrays.array("probabilities", kFloat64, {}));
  arrays.refuse_overlaps();
  py::object mark = py::reinterpret_borrow<py::object>(given_mark);
  if (!mark.is_none()) {
    draw.mark = call.output<std::uint64_t>(mark, "the batch's mark", kMarkWords);
  } else if (out.is_none()) {
    mark = call.result<std::uint64_t>(kMarkWords, "a batch's mark", &draw.mark);
  }
  self->replay->sample(draw, call.stream());
  call.done();
  return py::make_tuple(arrays.batch(), mark);
}

// ---- priorities -----------------------------------------------------------------------------------------------------

void update_priorities(Handle self, py::handle indices_object, py::handle errors_object, py::handle mark, bool strict,
                       bool of_steps, py::handle steps_mask, py::handle stream) {
  Call call(self->tree(), stream);
  const DeviceView indices = call.input(indices_object, "indices", {kInt64});
  const std::int64_t length = self->replay->settings().options.streams.sequence_length;
  const std::vector<std::int64_t> steps_shape = {indices.size, length};
  const DeviceView errors = of_steps ? call.shaped(errors_object, "td_errors", {kFloat32, kFloat64}, steps_shape)
                                     : call.input(errors_object, "td_errors", {kFloat32, kFloat64});
  if (!of_steps && indices.size != errors.size) {
    throw py::value_error("indices has shape " + shape_text(indices.shape) + ", td_errors has shape " +
                          shape_text(errors.shape) + "; lengths must be equal");
  }
  check_count(indices.size, "indices");
  PriorityUpdate update{};
  update.n = indices.size;
  update.indices = indices.as<std::int64_t>();
  if (errors.dtype == kFloat32) {
    update.errors = errors.as<float>();
  } else {
    update.wide_errors = errors.as<double>();
  }
  if (!mark.is_none()) {
    const DeviceView words = call.input(mark, "the batch's mark", {kUint64});
    if (words.size != kMarkWords) throw py::value_error("the batch's mark has another length");
    update.mark = words.as<std::uint64_t>();
  }
  update.strict = strict;
  update.of_steps = of_steps;
  if (of_steps && !steps_mask.is_none()) {
    update.steps_mask =
        call.shaped(steps_mask, "the batch's mask of steps", {{dlpack::kBool, 8, 1}}, steps_shape).as<std::uint8_t>();
  }
  self->replay->update(update, call.stream());
  call.done();
}

// The item is a row, the index a pair of fields.
std::string stack_error(const PyDeviceReplay& self, const TreeState& tree) {
  const auto [field, next_field] =
      self.replay->linked_fields(static_cast<std::size_t>(tree.error_index - kFirstPairIndex));
  return "'" + self.columns[next_field].name + "' of row " + std::to_string(tree.error_item) + " is not '" +
         self.columns[field].name + "' moved on by one frame; frame_stack stores each frame once and needs that";
}

void check(Handle self) {
  const Replay::State state = read_state(*self);
  const TreeState& tree = state.tree;
  if (tree.error == 0) return;
  self->tree().clear_error(stream_argument(py::none(), self->device()).stream);
  const std::string call = "call number " + std::to_string(tree.error_call) + " of this buffer: ";
  if ((tree.first_error & (kErrorTask | kErrorNoTask | kErrorShare)) != 0) raise_task_error(*self, tree, call);
  if ((tree.error & kErrorStack) != 0 && tree.error_index < kFirstPairIndex + kMostPairs) {
    throw py::value_error(call + stack_error(*self, tree));
  }
  const std::string at = " at position " + std::to_string(tree.error_item);
  const std::string value = text_of(py::float_(tree.error_value));
  const std::string index = call + "index " + std::to_string(tree.error_index) + at;
  // The bits are those of the whole call, of which the first bad item is known: its own come first.
  const bool outside = tree.error_index < 0 || tree.error_index >= state.slots_used;
  if ((tree.error & kErrorIndex) != 0 && outside) {
    throw py::index_error(index + " out of range for size " + std::to_string(state.slots_used));
  }
  const std::string error = call + "td_errors[" + std::to_string(tree.error_item) + "] is " + value;
  if ((tree.error & kErrorPriority) != 0) {
    if (!std::isfinite(tree.error_value)) throw py::value_error(error + "; must be finite");
    if (std::abs(tree.error_value) > static_cast<double>(std::numeric_limits<float>::max())) {
      throw py::value_error(error + "; overflows float32");
    }
    if (self->replay->overflows(static_cast<float>(tree.error_value))) {
      throw py::value_error(error + "; to the power of alpha it overflows; set max_priority");
    }
  }
  if ((tree.error & kErrorStale) != 0) {
    raise_metarl_error("StaleIndexError",
                       (index + " is not in the buffer any more (overwritten, cleared or hidden)").c_str());
  }
  if ((tree.error & kErrorIndex) != 0) throw py::index_error(index + " had not been written yet");
  raise_device_error(tree, self->replay->capacity(), "buffer");
}

}  // namespace

void register_replay(py::module_& m) {
  py::class_<PyDeviceReplay, OwnedReplay> base(m, "ReplayBuffer", py::module_local(),
                                               "Use it through the buffers of metarl_core with device=\"cuda\".");
  register_replay_tasks(base);
  base.def(py::init(&make_replay), py::arg("columns"), py::arg("options"), py::arg("device"))
      .def("are_on_device", &are_on_device, py::arg("columns"))
      .def("add", &add, py::arg("columns"), py::arg("on_device"), py::arg("stream"))
      .def("sample", &sample, py::arg("batch_size"), py::arg("beta"), py::arg("mode"), py::arg("task"),
           py::arg("task_weights"), py::arg("out"), py::arg("mark"), py::arg("stream"))
      .def("update_priorities", &update_priorities, py::arg("indices"), py::arg("td_errors"), py::arg("mark"),
           py::arg("strict"), py::arg("of_steps"), py::arg("steps_mask"), py::arg("stream"))
      .def("check", &check)
      .def("clear",
           [](Handle self) {
             const Stream stream = waiting_stream(py::none(), self->device());
             const py::gil_scoped_release released;
             self->replay->clear(stream);
           })
      .def("priorities", &priorities)
      .def("snapshot", &snapshot)
      .def("restore", &restore, py::arg("state"))
      .def_property_readonly("draws", [](Handle self) { return read_state(*self).tree.draws; })
      .def_property_readonly("stale_updates", [](Handle self) { return read_state(*self).replay.stale_updates; })
      .def_property_readonly("running_max_priority",
                             [](Handle self) { return static_cast<double>(read_state(*self).replay.running_max); })
      .def_property_readonly("capacity", [](Handle self) { return self->replay->capacity(); })
      .def_property_readonly("seed", [](Handle self) { return self->replay->settings().options.seed; })
      .def_property_readonly("nbytes", [](Handle self) { return self->replay->num_bytes(); })
      .def_property_readonly(
          "bytes_per_transition",
          [](Handle self) { return self->replay->num_bytes() / static_cast<std::size_t>(self->replay->capacity()); })
      .def_property_readonly("device", [](Handle self) { return self->device().name(); })
      .def("__len__", [](Handle self) { return read_state(*self).tree.num_valid; });
}

}  // namespace metarl::cuda
