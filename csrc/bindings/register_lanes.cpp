// Writer processes: the lanes' Python objects.
#include <chrono>
#include <cmath>
#include <thread>

#include "bindings/arrays.h"
#include "bindings/call_arguments.h"
#include "bindings/columns.h"
#include "bindings/errors.h"
#include "bindings/register.h"
#include "bindings/replay_object.h"
#include "bindings/replay_options.h"
#include "metarl/shared_lane.h"

namespace metarl {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kSignalEvery = std::chrono::milliseconds(20);
constexpr auto kLearnerEvery = std::chrono::milliseconds(100);

[[noreturn]] void raise_closed(const char* reason) { raise_metarl_error("ClosedError", reason); }

RowLayout layout_of(const ReplayOptions& options) { return RowLayout(options.fields, options.streams.num_envs > 1); }

// The learner's end.
struct PyLanes {
  PyLanes(py::object replay, const std::string& path, py::handle num_writers, py::handle num_slots)
      : owner(std::move(replay)), buffer(py::cast<Built<PyReplay>>(owner)->core.get()) {
    const std::int64_t writers = positive_argument(num_writers.ptr(), "num_writers");
    const std::int64_t num_envs = buffer->options().streams.num_envs;
    if (buffer->has_streams() && writers > num_envs) {
      throw py::value_error("num_writers is " + std::to_string(writers) + " and the buffer's num_envs " +
                            std::to_string(num_envs) +
                            "; a buffer that follows episodes needs an environment for each writer");
    }
    lanes =
        SharedLanes::create(path, writers, positive_argument(num_slots.ptr(), "slots"), layout_of(buffer->options()));
  }

  std::int64_t drain(py::handle max_rows) {
    std::int64_t limit = std::numeric_limits<std::int64_t>::max();
    if (!max_rows.is_none()) {
      limit = integer_argument(max_rows.ptr(), "max_rows");
      if (limit < 0) throw py::value_error("max_rows is " + std::to_string(limit) + "; must be >= 0");
    }
    const py::gil_scoped_release release;
    return lanes->drain(buffer, limit);
  }

  py::tuple stats(std::int64_t lane) const {
    const LaneStats s = lanes->stats(lane);
    return py::make_tuple(s.pid, s.alive, s.written, s.drained, s.dropped);
  }

  py::object owner;
  ReplayBuffer* buffer;
  std::unique_ptr<SharedLanes> lanes;
};

// A writer's end. The file is opened by the first add, in the process that makes it.
struct PyLaneWriter {
  PyLaneWriter(std::string file, std::int64_t index, const py::sequence& fields, const py::dict& arguments,
               py::object nested)
      : columns(parse_columns(fields)),
        options(parse_replay_options(arguments, columns)),
        path(std::move(file)),
        lane(index),
        structure(std::move(nested)),
        layout(layout_of(options)) {
    if (!Streams::needed(options) && options.tasks.field < 0) return;
    // Of what a buffer checks in the rows, the part behind their dtypes and shapes: a buffer of the smallest size does
    // it.
    ReplayOptions smallest = options;
    smallest.mapped = false;
    int stack = 1;
    for (const FieldSpec& field : options.fields) stack = std::max(stack, field.stack);
    smallest.capacity = std::max<std::int64_t>(64, 4 * (stack + 2));
    checker = std::make_unique<ReplayBuffer>(std::move(smallest));
  }
  ~PyLaneWriter() { detach(); }

  void detach() noexcept {
    if (attached != 0 && attached == own_process_stamp()) lanes->detach(lane);
    attached = 0;
  }

  void close() {
    detach();
    closed = true;
  }

  // In a forked child the lane is still the parent's.
  void ensure_attached() {
    if (closed) raise_closed("this writer is closed");
    if (attached != 0 && attached == own_process_stamp()) return;
    if (!lanes) lanes = SharedLanes::open(path, layout);
    if (lanes->closed()) raise_closed("the learner has closed its SharedWriters");
    lanes->attach(lane);
    attached = own_process_stamp();
    learner_seen = Clock::now();
  }

  void check_learner() {
    if (lanes->closed()) raise_closed("the learner has closed its SharedWriters");
    const auto now = Clock::now();
    if (now - learner_seen < kLearnerEvery) return;
    if (!lanes->learner_alive()) raise_closed("the learner's process is gone");
    learner_seen = now;
  }

  void write(const RowArguments& rows, const std::int64_t* env_ids) {
    const std::int64_t n = rows.rows();
    if (n > lanes->slots()) {
      throw py::value_error("add got " + std::to_string(n) + " rows; the lane has slots for " +
                            std::to_string(lanes->slots()) + ", and an add is published as a whole");
    }
    if (checker) with_core([&] { checker->check(rows.sources(), n); });
    const bool heavy = static_cast<std::size_t>(n) * layout.row_bytes >= kReleaseBytes;
    check_learner();
    if (without_gil(heavy, [&] { return lanes->try_write(lane, rows.sources(), env_ids, n); })) return;
    const auto begin = Clock::now();
    auto nap = std::chrono::microseconds(50);
    for (;;) {
      const bool done = without_gil(true, [&] {
        const auto next_look = Clock::now() + kSignalEvery;
        while (!lanes->closed() && Clock::now() < next_look) {
          if (lanes->try_write(lane, rows.sources(), env_ids, n)) return true;
          if (timeout >= 0 && std::chrono::duration<double>(Clock::now() - begin).count() >= timeout) break;
          std::this_thread::sleep_for(nap);
          nap = std::min(2 * nap, std::chrono::microseconds(1000));
        }
        return false;
      });
      if (done) return;
      if (PyErr_CheckSignals() != 0) {
        lanes->count_dropped(lane, n);
        throw py::error_already_set();
      }
      check_learner();
      if (timeout >= 0 && std::chrono::duration<double>(Clock::now() - begin).count() >= timeout) {
        lanes->count_dropped(lane, n);
        const std::string message = "lane " + std::to_string(lane) + " had no room for " + std::to_string(n) +
                                    " rows within " + text_of(py::float_(timeout)) + " s";
        PyErr_SetString(PyExc_TimeoutError, message.c_str());
        throw py::error_already_set();
      }
    }
  }

  std::vector<Column> columns;
  ReplayOptions options;
  std::string path;
  std::int64_t lane;
  py::object structure;
  RowLayout layout;
  std::unique_ptr<SharedLanes> lanes;
  std::unique_ptr<ReplayBuffer> checker;
  std::uint64_t attached = 0;  // stamp of the process that took the lane through this object
  double timeout = -1.0;       // seconds; negative: none
  bool closed = false;
  Clock::time_point learner_seen;
};

PyObject* add(PyObject* object, PyObject* const* args, Py_ssize_t num_args, PyObject* names) {
  return guarded([&]() -> PyObject* {
    PyLaneWriter& self = built<PyLaneWriter>(object);
    if (num_args != 0) throw py::type_error("add() takes keyword arguments only, one for each field");
    RowArguments rows(self.columns);
    const FlatKeywords keywords(self.structure, args, names);
    rows.parse(keywords.values(), keywords.names());
    const std::int64_t num_envs = self.options.streams.num_envs;
    const auto env_ids = env_ids_argument(num_envs, rows);
    self.ensure_attached();
    if (!self.layout.has_env_ids || env_ids) {
      self.write(rows, env_ids ? env_ids->data : nullptr);
    } else {
      std::vector<std::int64_t> all(static_cast<std::size_t>(num_envs));
      for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int64_t>(i);
      self.write(rows, all.data());
    }
    Py_RETURN_NONE;
  });
}

PyMethodDef kWriterMethods[] = {
    {"add", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&add)), METH_FASTCALL | METH_KEYWORDS,
     R"(add($self, /, **columns)
--

Publish one transition, or a batch of them, to the learner: all of the call's rows, or none.

Waits while the lane is full.

Args:
    **columns: As for the buffer's ``add``, ``env_ids`` included; the same checks are made here, in the writer.

Raises:
    TimeoutError: The lane stayed full for ``timeout`` seconds; the rows are counted as dropped.
    ClosedError: The learner closed its SharedWriters or its process is gone, or this writer is closed.
    RuntimeError: Another living process or handle has the lane.
    ValueError: More rows than the lane has slots, and as for the buffer's ``add``.
    KeyError, TypeError: As for the buffer's ``add``. After any error nothing was published.)"},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

void register_lanes(py::module_& m) {
  py::class_<PyLanes>(m, "SharedLanes")
      .def(py::init<py::object, std::string, py::handle, py::handle>(), py::arg("buffer"), py::arg("path"),
           py::arg("num_writers"), py::arg("slots"))
      .def(
          "drain", [](Built<PyLanes> self, py::handle max_rows) { return self->drain(max_rows); }, py::arg("max_rows"))
      .def(
          "stats", [](Built<PyLanes> self, std::int64_t lane) { return self->stats(lane); }, py::arg("lane"))
      .def("close", [](Built<PyLanes> self) { self->lanes->close(); });

  auto writer =
      py::class_<PyLaneWriter>(m, "LaneWriter")
          .def(py::init<std::string, std::int64_t, const py::sequence&, const py::dict&, py::object>(), py::arg("path"),
               py::arg("lane"), py::arg("fields"), py::arg("options"), py::arg("structure"))
          .def_property(
              "timeout",
              [](Built<PyLaneWriter> self) -> py::object {
                return self->timeout < 0 ? py::none() : py::object(py::float_(self->timeout));
              },
              [](Built<PyLaneWriter> self, py::handle timeout) {
                double seconds = -1.0;
                if (!timeout.is_none()) {
                  seconds = real_number(timeout.ptr(), "timeout");
                  if (!(seconds >= 0.0)) {
                    throw py::value_error("timeout is " + text_of(timeout) + "; must be None or >= 0 seconds");
                  }
                }
                self->timeout = seconds;
              },
              "Seconds that add waits for room, or None.")
          .def(
              "close", [](Built<PyLaneWriter> self) { self->close(); },
              "Give the lane back, so that another process may take it. A second call does nothing.");
  attach(writer, kWriterMethods);
}

}  // namespace metarl
