#include "bindings/replay_options.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "bindings/arrays.h"
#include "bindings/replay_tasks.h"
#include "metarl/cpu_count.h"

namespace metarl {
namespace {

// More seldom copy faster: they share one memory.
constexpr int kDefaultThreads = 4;

py::object entry(const py::dict& options, const char* name) { return options[name]; }

std::int64_t slots_argument(PyObject* object, const std::vector<Column>& columns) {
  return capacity_argument(object, [&columns] {
    py::object bytes = py::int_(0);
    for (const Column& column : columns) bytes += py::int_(column.bytes);
    return bytes;
  });
}

int int_entry(const py::dict& options, const char* name, std::int64_t least) {
  constexpr std::int64_t kMost = std::numeric_limits<int>::max();
  const std::int64_t value = integer_argument(entry(options, name).ptr(), name);
  if (value >= least && value <= kMost) return static_cast<int>(value);
  throw py::value_error(std::string(name) + " is " + std::to_string(value) + "; must be " +
                        (value < least ? ">= " + std::to_string(least) : "at most " + std::to_string(kMost)));
}

int find_column(const std::vector<Column>& columns, const std::string& name) {
  for (std::size_t c = 0; c < columns.size(); ++c) {
    if (columns[c].text() == name) return static_cast<int>(c);
  }
  return -1;
}

// The field of which this one is the next value: "next_obs" of "obs", "next_obs.image" of "obs.image".
int source_of_next(const std::vector<Column>& columns, const Column& column) {
  const std::string prefix = "next_";
  const std::string name = column.text();
  if (name.rfind(prefix, 0) != 0) return -1;
  const int source = find_column(columns, name.substr(prefix.size()));
  if (source < 0) return -1;
  const Column& other = columns[static_cast<std::size_t>(source)];
  return other.shape == column.shape && other.dtype.equal(column.dtype) ? source : -1;
}

// A field of one flag, which chains are cut at; -1 if there is none.
int flag_column(const std::vector<Column>& columns, const char* name) {
  const int found = find_column(columns, name);
  if (found < 0) return -1;
  const Column& column = columns[static_cast<std::size_t>(found)];
  if (column.kind != 'b' || !column.shape.empty()) {
    throw py::type_error("field '" + std::string(name) + "' must be bool of shape () with these options");
  }
  return found;
}

void parse_stacks(const py::dict& options, const std::vector<Column>& columns, ReplayOptions* parsed) {
  for (const auto& item : py::reinterpret_borrow<py::dict>(entry(options, "frame_stack"))) {
    if (!PyUnicode_Check(item.first.ptr())) {
      throw py::type_error("frame_stack must have field names (str) as keys, got " + text_of(item.first));
    }
    const std::string name = utf8_text(item.first.ptr(), "frame_stack");
    const std::int64_t stack = integer_argument(item.second.ptr(), "frame_stack");
    const int f = find_column(columns, name);
    if (f < 0) throw py::value_error("frame_stack names '" + name + "', which is no field");
    FieldSpec& field = parsed->fields[static_cast<std::size_t>(f)];
    const Column& column = columns[static_cast<std::size_t>(f)];
    if (stack < 2 || stack > std::numeric_limits<int>::max() || column.shape.size() < 2 || column.shape[0] != stack) {
      throw py::value_error(
          "frame_stack is " + std::to_string(stack) + "; the first axis of '" + name + "', whose shape is " +
          shape_text(column.shape.data(), static_cast<py::ssize_t>(column.shape.size())) + ", must be that long");
    }
    bool has_next = false;
    for (FieldSpec& other : parsed->fields) {
      if (other.next_of != f) continue;
      other.stack = static_cast<int>(stack);
      has_next = true;
    }
    if (!has_next) throw py::value_error("frame_stack needs a field 'next_" + name + "' of the same shape and dtype");
    field.stack = static_cast<int>(stack);
  }
}

void parse_streams(const py::dict& options, const std::vector<Column>& columns, ReplayOptions* parsed) {
  StreamOptions& streams = parsed->streams;
  streams.num_envs = positive_argument(entry(options, "num_envs").ptr(), "num_envs");
  streams.n_step = int_entry(options, "n_step", 1);
  streams.gamma = real_number(entry(options, "gamma").ptr(), "gamma");
  if (!(streams.gamma >= 0.0 && streams.gamma <= 1.0)) {
    throw py::value_error("gamma is " + text_of(entry(options, "gamma")) + "; must be in [0, 1]");
  }
  streams.share_next = py::cast<bool>(entry(options, "share_next"));
  streams.skip_reset_rows = py::cast<bool>(entry(options, "skip_reset_rows"));
  streams.sequence_length = int_entry(options, "sequence_length", 0);
  streams.burn_in = int_entry(options, "burn_in", 0);
  streams.stride = int_entry(options, "stride", 1);
  streams.priority_mix = real_number(entry(options, "priority_mix").ptr(), "priority_mix");
  if (!(streams.priority_mix >= 0.0 && streams.priority_mix <= 1.0)) {
    throw py::value_error("priority_mix is " + text_of(entry(options, "priority_mix")) + "; must be in [0, 1]");
  }
  bool any_next = false;
  for (std::size_t c = 0; c < columns.size(); ++c) {
    parsed->fields[c].next_of = source_of_next(columns, columns[c]);
    any_next |= parsed->fields[c].next_of >= 0;
  }
  parse_stacks(options, columns, parsed);
  if (streams.share_next && !any_next) {
    throw py::value_error("next_obs is 'next'; needs a field 'next_X' of the shape and dtype of a field 'X'");
  }
  for (const py::handle name : py::reinterpret_borrow<py::sequence>(entry(options, "recurrent_fields"))) {
    if (!PyUnicode_Check(name.ptr())) {
      throw py::type_error("recurrent_fields must be field names (str), got " + text_of(name));
    }
    const int f = find_column(columns, utf8_text(name.ptr(), "recurrent_fields"));
    if (f < 0) throw py::value_error("recurrent_fields names " + text_of(name) + ", which is no field");
    if (streams.sequence_length == 0) throw py::value_error("recurrent_fields needs sequence_length");
    FieldSpec& field = parsed->fields[static_cast<std::size_t>(f)];
    if (field.stack > 1 || field.next_of >= 0) {
      throw py::value_error("recurrent_fields names " + text_of(name) + ", which is stacked or a next observation");
    }
    field.recurrent = true;
  }
  if (streams.sequence_length == 0 && streams.burn_in > 0) throw py::value_error("burn_in needs sequence_length");
  const bool linked =
      streams.n_step > 1 || streams.share_next || streams.skip_reset_rows || streams.sequence_length > 0;
  if (!linked) return;
  streams.terminated = flag_column(columns, "terminated");
  streams.truncated = flag_column(columns, "truncated");
  if (streams.terminated < 0) {
    throw py::value_error(
        "fields has no 'terminated' (bool), which n_step, next_obs='next', frame_stack, sequences and "
        "autoreset_mode='next_step' need to know where episodes end");
  }
  if (streams.sequence_length > 0) {
    if (streams.n_step > 1) throw py::value_error("n_step and sequence_length exclude one another");
    if (streams.burn_in >= streams.sequence_length) {
      throw py::value_error("burn_in is " + std::to_string(streams.burn_in) +
                            "; must be below sequence_length = " + std::to_string(streams.sequence_length));
    }
  }
  if (streams.n_step == 1) return;
  streams.reward = find_column(columns, "reward");
  if (streams.reward < 0) throw py::value_error("n_step needs a field 'reward'");
  const Column& reward = columns[static_cast<std::size_t>(streams.reward)];
  if (reward.kind != 'f' || reward.itemsize < 4 || reward.itemsize > 8) {
    throw py::type_error("field 'reward' must be float32 or float64 for n_step > 1");
  }
  if (reward.bytes > kMaxPackedBytes) throw py::value_error("field 'reward' is too large for n_step > 1");
  streams.reward_type = reward.itemsize == 4 ? RewardType::float32 : RewardType::float64;
}

}  // namespace

double beta_argument(PyObject* object) {
  const double beta = real_number(object, "beta");
  if (!(beta >= 0.0 && std::isfinite(beta))) {
    throw py::value_error("beta is " + text_of(object) + "; must be finite and >= 0");
  }
  return beta;
}

bool flag_argument(PyObject* object, const char* name) {
  const py::object numpy_bool = py::dtype::of<bool>().attr("type");
  if (!PyBool_Check(object) && Py_TYPE(object) != reinterpret_cast<PyTypeObject*>(numpy_bool.ptr())) {
    throw py::type_error(std::string(name) + " must be a bool, got " + type_name(object));
  }
  return PyObject_IsTrue(object) == 1;
}

SamplingMode sampling_mode_argument(PyObject* object) {
  if (!PyUnicode_Check(object)) throw py::type_error("mode must be a str, got " + type_name(object));
  constexpr std::pair<const char*, SamplingMode> kModes[] = {
      {"stratified", SamplingMode::stratified},
      {"iid", SamplingMode::independent},
      {"uniform", SamplingMode::uniform},
      {"without_replacement", SamplingMode::without_replacement}};
  for (const auto& [name, mode] : kModes) {
    if (PyUnicode_CompareWithASCIIString(object, name) == 0) return mode;
  }
  throw py::value_error("mode is " + text_of(object) +
                        "; must be 'stratified', 'iid', 'uniform' or 'without_replacement'");
}

ReplayOptions parse_replay_options(const py::dict& options, const std::vector<Column>& columns) {
  ReplayOptions parsed;
  parsed.capacity = slots_argument(entry(options, "capacity").ptr(), columns);
  parsed.fields = field_specs(columns);
  parsed.seed = seed_argument(entry(options, "seed").ptr());
  const py::object threads = entry(options, "num_threads");
  parsed.num_threads =
      threads.is_none() ? std::min(available_cpus(), kDefaultThreads) : int_entry(options, "num_threads", 1);
  parse_streams(options, columns, &parsed);
  parsed.tasks = parse_task_options(options, columns);
  const int task_field = parsed.tasks.field;
  if (parsed.streams.share_next && task_field >= 0 &&
      parsed.fields[static_cast<std::size_t>(task_field)].next_of >= 0) {
    throw py::value_error("task_field is " + text_of(py::object(options["task_field"])) +
                          ", which next_obs='next' does not store; must be the name of a field that is stored");
  }
  parsed.reservoir = parse_eviction(options, parsed);
  parsed.mapped = options.contains("mapped") && py::cast<bool>(entry(options, "mapped"));
  if (parsed.mapped && parsed.reservoir) {
    throw py::value_error(
        "eviction is 'reservoir'; with storage='mmap:FOLDER' it must be 'fifo', as a crash would not "
        "tell which random slots were overwritten");
  }
  return parsed;
}

py::dict describe_links(const ReplayOptions& options) {
  const StreamOptions& streams = options.streams;
  py::list fields;
  for (const FieldSpec& field : options.fields) {
    fields.append(py::make_tuple(field.stack, field.next_of, field.recurrent));
  }
  py::dict links;
  links["fields"] = std::move(fields);
  links["num_envs"] = streams.num_envs;
  links["n_step"] = streams.n_step;
  links["gamma"] = streams.gamma;
  links["share_next"] = streams.share_next;
  links["skip_reset_rows"] = streams.skip_reset_rows;
  links["sequence_length"] = streams.sequence_length;
  links["burn_in"] = streams.burn_in;
  links["stride"] = streams.stride;
  links["priority_mix"] = streams.priority_mix;
  links["reward"] = streams.reward;
  links["wide_reward"] = streams.reward_type == RewardType::float64;
  links["terminated"] = streams.terminated;
  links["truncated"] = streams.truncated;
  return links;
}

PrioritizedOptions parse_prioritized_options(const py::dict& options) {
  PrioritizedOptions parsed;
  const py::object alpha = entry(options, "alpha");
  const py::object eps = entry(options, "eps");
  const py::object max_priority = entry(options, "max_priority");
  parsed.alpha = real_number(alpha.ptr(), "alpha");
  if (!(parsed.alpha >= 0.0 && std::isfinite(parsed.alpha))) {
    throw py::value_error("alpha is " + text_of(alpha) + "; must be finite and >= 0");
  }
  const double wide_eps = real_number(eps.ptr(), "eps");
  parsed.eps = static_cast<float>(wide_eps);
  if (!(parsed.eps >= 0.0f && std::isfinite(parsed.eps)) || (parsed.eps == 0.0f && wide_eps != 0.0)) {
    throw py::value_error("eps is " + text_of(eps) + "; must be 0 or a positive number in the range of float32");
  }
  if (!max_priority.is_none()) {
    parsed.max_priority = static_cast<float>(real_number(max_priority.ptr(), "max_priority"));
    if (!(parsed.max_priority > 0.0f && parsed.max_priority >= parsed.eps && std::isfinite(parsed.max_priority))) {
      throw py::value_error("max_priority is " + text_of(max_priority) + "; must be finite, > 0 and >= eps");
    }
  }
  const py::object normalization = entry(options, "weight_normalization");
  if (!PyUnicode_Check(normalization.ptr())) {
    throw py::type_error("weight_normalization must be a str, got " + type_name(normalization));
  }
  parsed.weight_normalization = weight_normalization(utf8_text(normalization.ptr(), "weight_normalization"));
  return parsed;
}

}  // namespace metarl
