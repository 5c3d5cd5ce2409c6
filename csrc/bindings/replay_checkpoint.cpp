#include "bindings/replay_checkpoint.h"

#include <cstring>

#include "bindings/arrays.h"
#include "bindings/interruptible.h"

namespace metarl {
namespace {

// The buffer grew between asking for its size and saving it.
struct Retry {};

class ExactSink : public ByteSink {
 public:
  ExactSink(std::byte* data, std::size_t bytes) : to_(data), bytes_(bytes) {}
  void reserve(std::uint64_t bytes) override {
    if (bytes != bytes_) throw Retry();
  }
  void write(const std::byte* data, std::size_t bytes) override {
    if (bytes > 0) std::memcpy(to_, data, bytes);
    to_ += bytes;
  }

 private:
  std::byte* to_;
  std::size_t bytes_;
};

}  // namespace

PyCheckpoint::PyCheckpoint(const std::string& path, Saved saved)
    : saved_(saved), source_(std::make_unique<FileSource>(path)) {
  open(path);
}

PyCheckpoint::PyCheckpoint(py::bytes data) : saved_(Saved::all), owner_(std::move(data)) {
  const std::string_view bytes = owner_;
  source_ = std::make_unique<MemorySource>(reinterpret_cast<const std::byte*>(bytes.data()), bytes.size());
  open("checkpoint");
}

void PyCheckpoint::open(std::string name) {
  reader_ = std::make_unique<CheckpointReader>(*source_, std::move(name), poll_of(cancel_));
}

py::object PyCheckpoint::config() const { return to_python(saved_config(*reader_, saved_)); }

py::object PyCheckpoint::section_shape(const std::string& name) const {
  const CheckpointReader::Section* section = reader_->find(name);
  if (section == nullptr) return py::none();
  return py::tuple(py::cast(section->shape));
}

py::object to_python(const Value& value) {
  return std::visit(
      [](const auto& v) -> py::object {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, std::monostate>) {
          return py::none();
        } else if constexpr (std::is_same_v<T, std::string>) {
          PyObject* text = PyUnicode_DecodeUTF8(v.data(), static_cast<Py_ssize_t>(v.size()), "replace");
          if (text == nullptr) throw py::error_already_set();
          return py::reinterpret_steal<py::object>(text);
        } else if constexpr (std::is_same_v<T, Value::List>) {
          py::list items;
          for (const Value& item : v) items.append(to_python(item));
          return items;
        } else if constexpr (std::is_same_v<T, Value::Map>) {
          py::dict items;
          for (const Value::Member& member : v) items[to_python(Value(member.key))] = to_python(member.value);
          return items;
        } else {
          return py::cast(v);
        }
      },
      value.data());
}

Value to_value(py::handle object, const std::string& name) {
  PyObject* const o = object.ptr();
  if (object.is_none()) return Value();
  if (PyBool_Check(o)) return Value(o == Py_True);
  if (PyUnicode_Check(o)) return Value(py::cast<std::string>(object));
  if (PyFloat_Check(o)) return Value(PyFloat_AS_DOUBLE(o));
  if (PyIndex_Check(o) != 0) {
    const auto number = py::reinterpret_steal<py::object>(PyNumber_Index(o));
    if (!number) throw py::error_already_set();
    int overflow = 0;
    const long long value = PyLong_AsLongLongAndOverflow(number.ptr(), &overflow);
    if (overflow == 0) return Value(static_cast<std::int64_t>(value));
    const unsigned long long large = PyLong_AsUnsignedLongLong(number.ptr());
    if (PyErr_Occurred() != nullptr) throw py::error_already_set();
    return Value(static_cast<std::uint64_t>(large));
  }
  if (PyList_Check(o) || PyTuple_Check(o)) {
    Value::List items;
    for (const py::handle item : object) items.push_back(to_value(item, name));
    return Value(std::move(items));
  }
  if (PyDict_Check(o)) {
    Value items{Value::Map()};
    for (const auto& [key, item] : py::reinterpret_borrow<py::dict>(object)) {
      items.set(py::cast<std::string>(key), to_value(item, name));
    }
    return items;
  }
  throw py::type_error(name + " is " + text_of(py::reinterpret_borrow<py::object>(object)) +
                       ", which a checkpoint cannot hold");
}

void save_checkpoint(Built<PyReplay> self, const std::string& path, const py::dict& config) {
  const Value value = to_value(config, "config");
  AtomicFile file(path);
  std::atomic<bool> cancel;
  run_interruptible(cancel, [&] {
    save_buffer(*self->core, value, file, poll_of(cancel));
    file.commit();
  });
}

py::bytes checkpoint_bytes(Built<PyReplay> self, const py::dict& config) {
  const Value value = to_value(config, "config");
  for (;;) {
    std::uint64_t size = 0;
    {
      const py::gil_scoped_release release;
      size = saved_bytes(*self->core, value);
    }
    auto bytes = py::reinterpret_steal<py::bytes>(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(size)));
    if (!bytes) throw py::error_already_set();
    // Nobody else has seen the new object yet.
    ExactSink sink(reinterpret_cast<std::byte*>(PyBytes_AS_STRING(bytes.ptr())), size);
    std::atomic<bool> cancel;
    try {
      run_interruptible(cancel, [&] { save_buffer(*self->core, value, sink, poll_of(cancel)); });
      return bytes;
    } catch (const Retry&) {
    }
  }
}

void load_checkpoint(Built<PyReplay> self, Built<PyCheckpoint> checkpoint) {
  run_interruptible(checkpoint->cancel(), [&] {
    const std::unique_ptr<ReplayBuffer> fresh = self->core->make_empty();
    fresh->load(CheckpointState(checkpoint->reader()));
    self->core->exchange(*fresh, poll_of(checkpoint->cancel()));
  });
}

void register_checkpoint(py::module_& m) {
  py::class_<PyCheckpoint>(m, "ReplayCheckpoint")
      .def(py::init([](const py::bytes& path) { return std::make_unique<PyCheckpoint>(std::string(path)); }),
           py::arg("path"))
      .def_static(
          "from_bytes",
          [](py::handle data) {
            if (PyObject_CheckBuffer(data.ptr()) == 0) {
              throw py::type_error("data must be bytes or another buffer of bytes, got " + type_name(data));
            }
            auto bytes = py::reinterpret_steal<py::bytes>(PyBytes_FromObject(data.ptr()));  // itself, if it is bytes
            if (!bytes) throw py::error_already_set();
            return std::make_unique<PyCheckpoint>(std::move(bytes));
          },
          py::arg("data"))
      .def_property_readonly("config", [](Built<PyCheckpoint> self) { return self->config(); })
      .def(
          "section_shape", [](Built<PyCheckpoint> self, const std::string& name) { return self->section_shape(name); },
          py::arg("name"));
}

}  // namespace metarl
