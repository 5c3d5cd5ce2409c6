// State of a replay buffer as Python objects, and back.
#include <cmath>

#include "bindings/replay_object.h"

namespace metarl {
namespace {

py::array column_array(const Column& column, std::int64_t n) {
  std::vector<py::ssize_t> shape{n};
  shape.insert(shape.end(), column.shape.begin(), column.shape.end());
  return py::array(column.dtype, shape);
}

constexpr std::uint64_t kLargestCount = std::uint64_t{1} << 62;  // leaves room to count on

[[noreturn]] void refuse(const std::string& entry, const std::string& problem) {
  throw py::value_error("state['" + entry + "'] " + problem);
}

std::uint64_t count_entry(const py::dict& state, const char* name) {
  if (!state.contains(name)) refuse(name, "is missing");
  const py::object object = state[name];
  if (!PyBool_Check(object.ptr()) && PyIndex_Check(object.ptr()) != 0) {
    const auto number = py::reinterpret_steal<py::object>(PyNumber_Index(object.ptr()));
    if (!number) throw py::error_already_set();
    const unsigned long long value = PyLong_AsUnsignedLongLong(number.ptr());
    const bool failed = PyErr_Occurred() != nullptr;
    PyErr_Clear();
    if (!failed && value <= kLargestCount) return value;
  }
  refuse(name, "is " + text_of(object) + "; must be an integer in [0, 2**62]");
}

// Whether a leaf can be the mass of a scaled priority. Each change of scale rounds to a multiple of the coarser unit,
// which divides the mass from then on, and all of these roundings together are less than the coarsest one.
bool plausible_mass(std::uint32_t mass, double scaled, double factor) {
  if (mass == 0 || scaled <= 0.0) return mass == 0 && scaled <= 0.0;
  const double unit = mass & (0u - mass);
  const double exact = scaled * factor;
  return std::abs(mass - exact) <= unit + 1e-9 * exact;
}

template <typename T>
py::array_t<T> vector_entry(const py::object& object, const char* name, std::int64_t size) {
  if (!is_array(object.ptr())) refuse(name, "must be an array, got " + type_name(object));
  const auto array = py::reinterpret_borrow<py::array>(object);
  if (!array.dtype().equal(py::dtype::of<T>()) || array.ndim() != 1 || array.shape(0) != size) {
    refuse(name, "expected " + py::cast<std::string>(py::str(py::dtype::of<T>())) + " of shape (" +
                     std::to_string(size) + ",), got " + py::cast<std::string>(py::str(array.dtype())) + " of shape " +
                     shape_text(array));
  }
  return dense_argument<T>(array, name).owner;
}

}  // namespace

py::tuple snapshot(const PyReplay& self) {
  if (self.core->has_streams()) throw std::runtime_error("a buffer with streams has no state_dict yet");
  for (;;) {
    const std::int64_t n = self.core->slots_used();
    py::list columns;
    std::vector<std::byte*> pointers;
    for (const Column& column : self.columns) {
      py::array array = column_array(column, n);
      pointers.push_back(static_cast<std::byte*>(array.mutable_data()));
      columns.append(std::move(array));
    }
    py::object raw = py::none();
    py::object masses = py::none();
    ReplayBuffer::Content content{pointers.data(), nullptr, nullptr};
    if (self.prioritized != nullptr) {
      py::array_t<float> raw_array(n);
      py::array_t<std::uint32_t> mass_array(n);
      content.raw_priorities = raw_array.mutable_data();
      content.masses = mass_array.mutable_data();
      raw = std::move(raw_array);
      masses = std::move(mass_array);
    }
    ReplayBuffer::State state;
    bool done = false;
    {
      const py::gil_scoped_release release;
      done = self.core->snapshot(n, &state, content);
    }
    if (!done) continue;  // another thread added in between
    py::dict numbers;
    numbers["written"] = state.written;
    numbers["draws"] = state.draws;
    if (state.random_stream != 0) numbers["random_stream"] = state.random_stream;
    if (self.prioritized != nullptr) {
      numbers["stale_updates"] = state.stale_updates;
      numbers["running_max_priority"] = state.running_max;
      numbers["scale_exponent"] = state.tree.scale_exponent;
      numbers["changes_since_rescale"] = state.tree.changes;
    }
    return py::make_tuple(std::move(numbers), std::move(columns), std::move(raw), std::move(masses));
  }
}

void restore(PyReplay& self, const py::dict& numbers, const py::sequence& columns, py::object priorities_object,
             py::object masses_object) {
  ReplayBuffer::State state;
  state.written = count_entry(numbers, "written");
  state.draws = count_entry(numbers, "draws");
  if (numbers.contains("random_stream")) state.random_stream = count_entry(numbers, "random_stream");
  const auto capacity = static_cast<std::uint64_t>(self.core->capacity());
  const auto size = static_cast<std::int64_t>(std::min(state.written, capacity));

  std::vector<ColumnSource> sources;
  std::vector<py::array> owners;
  if (columns.size() != self.columns.size()) refuse("columns", "has the wrong number of fields");
  for (std::size_t c = 0; c < self.columns.size(); ++c) {
    const Column& column = self.columns[c];
    const std::string name = "columns']['" + column.text();
    const py::object object = columns[c];
    if (!is_array(object.ptr())) refuse(name, "must be an array, got " + type_name(object));
    auto array = py::reinterpret_borrow<py::array>(object);
    std::vector<py::ssize_t> expected{size};
    expected.insert(expected.end(), column.shape.begin(), column.shape.end());
    bool same = array.dtype().equal(column.dtype) && array.ndim() == static_cast<py::ssize_t>(expected.size());
    for (std::size_t d = 0; same && d < expected.size(); ++d) {
      same = array.shape(static_cast<py::ssize_t>(d)) == expected[d];
    }
    if (!same) {
      refuse(name, "expected " + py::cast<std::string>(py::str(column.dtype)) + " of shape " +
                       shape_text(expected.data(), static_cast<py::ssize_t>(expected.size())) + ", got " +
                       py::cast<std::string>(py::str(array.dtype())) + " of shape " + shape_text(array));
    }
    if (!is_c_contiguous(array)) array = py::array(array.attr("copy")());
    sources.push_back({static_cast<const std::byte*>(array.data()), static_cast<std::ptrdiff_t>(column.bytes)});
    owners.push_back(std::move(array));
  }

  const float* raw = nullptr;
  const std::uint32_t* masses = nullptr;
  py::array_t<float> raw_array;
  py::array_t<std::uint32_t> mass_array;
  if (self.prioritized != nullptr) {
    const PrioritizedOptions& options = self.prioritized->prioritized_options();
    state.stale_updates = count_entry(numbers, "stale_updates");
    state.tree.changes = count_entry(numbers, "changes_since_rescale");
    if (!numbers.contains("scale_exponent")) refuse("scale_exponent", "is missing");
    const py::object exponent = numbers["scale_exponent"];
    const std::int64_t scale_exponent = integer_argument(exponent.ptr(), "state['scale_exponent']");
    if (scale_exponent < -1000 || scale_exponent > 1000) {
      refuse("scale_exponent", "is " + text_of(exponent) + "; must be in [-1000, 1000]");
    }
    state.tree.scale_exponent = static_cast<std::int32_t>(scale_exponent);
    if (!numbers.contains("running_max_priority")) refuse("running_max_priority", "is missing");
    const py::object running_max = numbers["running_max_priority"];
    state.running_max = static_cast<float>(real_number(running_max.ptr(), "state['running_max_priority']"));
    if (!(state.running_max >= options.eps && state.running_max <= options.max_priority)) {
      refuse("running_max_priority", "is " + text_of(running_max) + "; must be in [eps, max_priority]");
    }
    if (!std::isfinite(self.prioritized->scaled_priority(state.running_max))) {
      refuse("running_max_priority", "is " + text_of(running_max) + "; to the power of alpha it overflows");
    }
    raw_array = vector_entry<float>(priorities_object, "priorities", size);
    mass_array = vector_entry<std::uint32_t>(masses_object, "masses", size);
    raw = raw_array.data();
    masses = mass_array.data();
    const double factor = std::ldexp(1.0, state.tree.scale_exponent);
    for (std::int64_t i = 0; i < size; ++i) {
      if (!(raw[i] >= 0.0f && raw[i] <= options.max_priority)) {
        refuse("priorities", "holds " + text_of(py::float_(raw[i])) + " at position " + std::to_string(i) +
                                 "; must be in [0, max_priority]");
      }
      if (!plausible_mass(masses[i], self.prioritized->scaled_priority(raw[i]), factor)) {
        refuse("masses", "holds " + std::to_string(masses[i]) + " at position " + std::to_string(i) +
                             ", which is not the mass of the priority " + text_of(py::float_(raw[i])));
      }
    }
  }
  const py::gil_scoped_release release;
  self.core->restore(state, sources.data(), raw, masses);
}

py::array priorities(const PyReplay& self, py::object indices_object) {
  if (!indices_object.is_none()) {
    const auto indices = index_argument(indices_object.ptr(), "indices");
    py::array_t<double> result(indices.size);
    self.prioritized->read_priorities(indices.data, indices.size, result.mutable_data());
    return std::move(result);
  }
  const std::int64_t n = self.core->slots_used();
  std::vector<std::int64_t> all(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) all[static_cast<std::size_t>(i)] = i;
  py::array_t<double> result(n);
  self.prioritized->read_priorities(all.data(), n, result.mutable_data());
  return std::move(result);
}

}  // namespace metarl
