// State of a replay buffer as a Python dict, and back.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "bindings/interruptible.h"
#include "bindings/replay_checkpoint.h"
#include "bindings/replay_object.h"
#include "core/poll.h"

namespace metarl {
namespace {

constexpr std::string_view kColumns = "columns/";

// As the buffer was given it: the core knows structured dtypes as bytes only.
py::dtype dtype_of(const PyReplay& buffer, const SectionSpec& spec) {
  if (spec.name.starts_with(kColumns)) {
    for (const Column& column : buffer.columns) {
      if (column.text() == std::string_view(spec.name).substr(kColumns.size())) return column.dtype;
    }
  }
  return py::dtype(spec.dtype);
}

// n elements, `from_stride` and `to_stride` bytes apart.
void copy_strided(const std::byte* from, std::ptrdiff_t from_stride, std::byte* to, std::ptrdiff_t to_stride,
                  std::size_t element_bytes, std::int64_t n, const Poll& poll) {
  const auto part = static_cast<std::int64_t>(kPollBytes / std::max<std::size_t>(element_bytes, 64) + 1);
  for (std::int64_t begin = 0; begin < n; begin += part) {
    if (poll) poll();
    const std::int64_t end = std::min(n, begin + part);
    for (std::int64_t i = begin; i < end; ++i) std::memcpy(to + i * to_stride, from + i * from_stride, element_bytes);
  }
}

// What is in a dict that _state gave: numbers and arrays by their names, the columns in a dict of their own. To be used
// without the GIL, which is taken for a look into the dict and not for copying.
class DictState : public StateSource {
 public:
  DictState(const PyReplay& buffer, const py::dict& state, Poll poll)
      : buffer_(buffer), state_(state), poll_(std::move(poll)) {}

  void poll() const override { poll_(); }

  bool has(const std::string& name) const override {
    const py::gil_scoped_acquire gil;
    return static_cast<bool>(find(name));
  }

  std::uint64_t count(const std::string& name) const override {
    const py::gil_scoped_acquire gil;
    const py::object object = get(name);
    if (!PyBool_Check(object.ptr()) && PyIndex_Check(object.ptr()) != 0) {
      const auto number = py::reinterpret_steal<py::object>(PyNumber_Index(object.ptr()));
      if (!number) throw py::error_already_set();
      const unsigned long long value = PyLong_AsUnsignedLongLong(number.ptr());
      const bool failed = PyErr_Occurred() != nullptr;
      PyErr_Clear();
      if (!failed && value <= kLargestCount) return value;
    }
    fail(name, "is " + text_of(object) + "; must be an integer in [0, 2**62]");
  }

  std::int64_t integer(const std::string& name, std::int64_t least, std::int64_t most) const override {
    const py::gil_scoped_acquire gil;
    const py::object object = get(name);
    const std::int64_t value = integer_argument(object.ptr(), ("state['" + name + "']").c_str());
    if (value >= least && value <= most) return value;
    fail(name, "is " + text_of(object) + "; must be in [" + std::to_string(least) + ", " + std::to_string(most) + "]");
  }

  double real(const std::string& name) const override {
    const py::gil_scoped_acquire gil;
    return real_number(get(name).ptr(), ("state['" + name + "']").c_str());
  }

  void read(const StateArray& array) const override {
    const py::gil_scoped_acquire gil;
    const std::string& name = array.spec.name;
    const py::object object = get(name);
    if (!is_array(object.ptr())) fail(name, "must be an array, got " + type_name(object));
    auto from = py::reinterpret_borrow<py::array>(object);
    const py::dtype dtype = dtype_of(buffer_, array.spec);
    const std::vector<py::ssize_t> expected(array.spec.shape.begin(), array.spec.shape.end());
    bool same = from.dtype().equal(dtype) && from.ndim() == static_cast<py::ssize_t>(expected.size());
    for (std::size_t d = 0; same && d < expected.size(); ++d) {
      same = from.shape(static_cast<py::ssize_t>(d)) == expected[d];
    }
    if (!same) {
      fail(name, "expected " + py::cast<std::string>(py::str(dtype)) + " of shape " +
                     shape_text(expected.data(), static_cast<py::ssize_t>(expected.size())) + ", got " +
                     py::cast<std::string>(py::str(from.dtype())) + " of shape " + shape_text(from));
    }
    if (!is_c_contiguous(from)) from = py::array(from.attr("copy")());
    const auto* elements = static_cast<const std::byte*>(from.data());
    const py::gil_scoped_release release;
    copy_strided(elements, static_cast<std::ptrdiff_t>(array.element_bytes), array.data, array.stride,
                 array.element_bytes, array.size(), poll_);
  }

  [[noreturn]] void refuse(const std::string& name, const std::string& problem) const override { fail(name, problem); }

 private:
  [[noreturn]] static void fail(const std::string& name, const std::string& problem) {
    const bool column = name.starts_with(kColumns);
    throw py::value_error("state['" + (column ? "columns']['" + name.substr(kColumns.size()) : name) + "'] " + problem);
  }

 private:
  py::object find(const std::string& name) const {
    if (!name.starts_with(kColumns)) return state_.contains(name) ? py::object(state_[name.c_str()]) : py::object();
    const auto columns = py::cast<py::dict>(state_["columns"]);
    const std::string column = name.substr(kColumns.size());
    return columns.contains(column) ? py::object(columns[column.c_str()]) : py::object();
  }
  py::object get(const std::string& name) const {
    py::object found = find(name);
    if (!found) fail(name, "is missing");
    return found;
  }
  const PyReplay& buffer_;
  const py::dict& state_;
  const Poll poll_;
};

std::size_t total_bytes(const std::vector<SectionSpec>& specs) {
  std::size_t bytes = 0;
  for (const SectionSpec& spec : specs) bytes += static_cast<std::size_t>(section_bytes(spec));
  return bytes;
}

std::vector<SectionSpec> specs_of(const BufferState& state) {
  std::vector<SectionSpec> specs;
  for (const StateArray& array : state.arrays) specs.push_back(array.spec);
  return specs;
}

}  // namespace

py::dict snapshot(Built<PyReplay> self) {
  for (;;) {
    std::vector<SectionSpec> specs;
    without_gil(true, [&] { self->core->visit_state([&](const BufferState& state) { specs = specs_of(state); }); });
    py::dict result;
    py::dict columns;
    std::vector<std::byte*> targets;
    for (const SectionSpec& spec : specs) {
      py::array array(dtype_of(*self, spec), std::vector<py::ssize_t>(spec.shape.begin(), spec.shape.end()));
      targets.push_back(static_cast<std::byte*>(array.mutable_data()));
      if (spec.name.starts_with(kColumns)) {
        columns[spec.name.substr(kColumns.size()).c_str()] = std::move(array);
      } else {
        result[spec.name.c_str()] = std::move(array);
      }
    }
    bool same = false;
    Value numbers;
    run_core(total_bytes(specs) >= kInterruptBytes, true, [&](const std::function<void()>& poll) {
      self->core->visit_state([&](const BufferState& state) {
        same = specs_of(state) == specs;  // or another thread added in between
        if (!same) return;
        numbers = state.numbers;
        for (std::size_t a = 0; a < specs.size(); ++a) {
          const StateArray& array = state.arrays[a];
          copy_strided(array.data, array.stride, targets[a], static_cast<std::ptrdiff_t>(array.element_bytes),
                       array.element_bytes, array.size(), poll);
        }
      });
    });
    if (!same) continue;
    auto all = py::cast<py::dict>(to_python(numbers));
    all["columns"] = std::move(columns);
    for (const auto& [name, array] : result) all[name] = array;
    return all;
  }
}

void restore(Built<PyReplay> self, const py::dict& state) {
  std::atomic<bool> cancel;
  run_interruptible(cancel, [&] {
    const std::unique_ptr<ReplayBuffer> fresh = self->core->make_empty();
    fresh->load(DictState(*self, state, poll_of(cancel)));
    self->core->exchange(*fresh, poll_of(cancel));
  });
}

py::array priorities(Built<PyPrioritizedReplay> self, py::object indices_object) {
  ArrayArgument<std::int64_t> indices;
  const bool all = indices_object.is_none();
  if (!all) indices = index_argument(indices_object.ptr(), "indices");
  const std::int64_t n = all ? with_core([&] { return self->core->slots_used(); }) : indices.size;
  py::array_t<double> result(n);
  double* out = result.mutable_data();
  run_core(n >= kInterruptItems, true, [&](const std::function<void()>& poll) {
    self->prioritized->read_priorities(all ? nullptr : indices.data, n, out, poll);
  });
  return result;
}

}  // namespace metarl
