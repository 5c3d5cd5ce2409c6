#include <cmath>
#include <memory>

#include "bindings/arrays.h"
#include "bindings/columns.h"
#include "bindings/errors.h"
#include "bindings/output_pool.h"
#include "bindings/register.h"
#include "bindings/replay_object.h"

namespace metarl {

PyReplay::PyReplay(std::vector<Column> parsed, py::object batch_class)
    : columns(std::move(parsed)),
      batch_type(std::move(batch_class)),
      pool(std::make_shared<OutputPool>()),
      indices_name(py::reinterpret_steal<py::object>(PyUnicode_InternFromString("indices"))),
      weights_name(py::reinterpret_steal<py::object>(PyUnicode_InternFromString("weights"))),
      probabilities_name(py::reinterpret_steal<py::object>(PyUnicode_InternFromString("probabilities"))),
      mark_name(py::reinterpret_steal<py::object>(PyUnicode_InternFromString("_mark"))),
      int64_dtype(py::dtype::of<std::int64_t>()),
      float32_dtype(py::dtype::of<float>()),
      float64_dtype(py::dtype::of<double>()) {}

namespace {

// Work above these amounts takes more than a few microseconds: the GIL is released.
constexpr std::int64_t kReleaseRows = 64;
constexpr std::size_t kReleaseBytes = 16 * 1024;

// Of a drawn row besides its fields: index, probability, weight, and the scratch of its random number and mass.
constexpr std::size_t kSampleBytes = 8 + 8 + 4 + 8 + 4;

PyReplay& self_of(PyObject* object) {
  void* value = reinterpret_cast<py::detail::instance*>(object)->get_value_and_holder().value_ptr();
  if (value == nullptr) throw py::type_error(type_name(object) + ".__init__ was not called");
  return *static_cast<PyReplay*>(value);
}

template <typename F>
auto run(bool release_gil, F&& f) {
  std::optional<py::gil_scoped_release> release;
  if (release_gil) release.emplace();
  return f();
}

PyObject* add(PyObject* object, PyObject* const* args, Py_ssize_t num_args, PyObject* names) {
  return guarded([&]() -> PyObject* {
    PyReplay& self = self_of(object);
    if (num_args != 0) throw py::type_error("add() takes keyword arguments only, one for each field");
    RowArguments rows(self.columns);
    rows.parse(args, names);
    const std::int64_t n = rows.rows();
    const bool heavy = static_cast<std::size_t>(n) * self.core->fields_bytes() >= kReleaseBytes;
    const std::int64_t first = run(heavy, [&] { return self.core->add(rows.sources(), n); });
    if (rows.single()) return PyLong_FromLongLong(first);
    py::ssize_t shape[1] = {n};
    py::object indices = py::reinterpret_steal<py::object>(new_array(self.int64_dtype, 1, shape));
    auto* out = static_cast<std::int64_t*>(py::reinterpret_borrow<py::array>(indices).mutable_data());
    std::int64_t slot = first;
    for (std::int64_t i = 0; i < n; ++i) {
      out[i] = slot;
      if (++slot == self.core->capacity()) slot = 0;
    }
    return indices.release().ptr();
  });
}

// Looks up arguments given by position or keyword; throws TypeError like a Python function.
template <std::size_t kCount>
void unpack(const char* function, const char* const (&known)[kCount], std::size_t required, PyObject* const* args,
            Py_ssize_t num_args, PyObject* names, PyObject* (&out)[kCount]) {
  if (static_cast<std::size_t>(num_args) > kCount) {
    throw py::type_error(std::string(function) + "() takes at most " + std::to_string(kCount) + " arguments");
  }
  for (std::size_t i = 0; i < kCount; ++i) out[i] = i < static_cast<std::size_t>(num_args) ? args[i] : nullptr;
  const Py_ssize_t num_names = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
  for (Py_ssize_t k = 0; k < num_names; ++k) {
    PyObject* name = PyTuple_GET_ITEM(names, k);
    std::size_t i = 0;
    while (i < kCount && PyUnicode_CompareWithASCIIString(name, known[i]) != 0) ++i;
    if (i == kCount) throw py::type_error(std::string(function) + "() got an unexpected keyword " + text_of(name));
    if (out[i] != nullptr) throw py::type_error(std::string(function) + "() got " + text_of(name) + " twice");
    out[i] = args[num_args + k];
  }
  for (std::size_t i = 0; i < required; ++i) {
    if (out[i] == nullptr) throw py::type_error(std::string(function) + "() misses argument '" + known[i] + "'");
  }
}

double beta_argument(PyObject* object) {
  const double beta = real_number(object, "beta");
  if (!(beta >= 0.0 && std::isfinite(beta))) {
    throw py::value_error("beta is " + text_of(object) + "; must be finite and >= 0");
  }
  return beta;
}

std::int64_t slots_argument(PyObject* object, const std::vector<Column>& columns) {
  return capacity_argument(object, [&columns] {
    py::object bytes = py::int_(0);
    for (const Column& column : columns) bytes += py::int_(column.bytes);
    return bytes;
  });
}

void set_item(PyObject* dict, const py::object& key, const py::object& value) {
  if (PyDict_SetItem(dict, key.ptr(), value.ptr()) < 0) throw py::error_already_set();
}

PyObject* sample(PyObject* object, PyObject* const* args, Py_ssize_t num_args, PyObject* names) {
  return guarded([&]() -> PyObject* {
    PyReplay& self = self_of(object);
    PyObject* given[2];
    unpack("sample", {"batch_size", "beta"}, 1, args, num_args, names, given);
    const std::int64_t n = positive_argument(given[0], "batch_size");
    const double beta = given[1] == nullptr || given[1] == Py_None ? self.beta : beta_argument(given[1]);
    if (self.core->size() == 0) throw BufferEmptyError("cannot sample from an empty buffer");  // before allocating
    const std::size_t bytes = static_cast<std::size_t>(n) * self.core->fields_bytes();
    check_allocation(static_cast<std::uint64_t>(n), self.core->fields_bytes() + kSampleBytes);

    const auto make = [&](const py::dtype& dtype, const std::vector<py::ssize_t>& element, std::size_t element_bytes) {
      py::ssize_t shape[kMaxDimensions];
      shape[0] = n;
      std::copy(element.begin(), element.end(), shape + 1);
      return py::reinterpret_steal<py::array>(self.pool->array(dtype, 1 + static_cast<int>(element.size()), shape,
                                                               static_cast<std::size_t>(n) * element_bytes));
    };
    const auto memory = [](const py::array& array) {
      return reinterpret_cast<std::byte*>(py::detail::array_proxy(array.ptr())->data);
    };
    py::object batch = py::reinterpret_steal<py::object>(PyObject_CallNoArgs(self.batch_type.ptr()));
    if (!batch) throw py::error_already_set();
    std::byte* pointers[64];
    std::vector<std::byte*> many;
    std::byte** column_data = pointers;
    if (self.columns.size() > 64) {
      many.resize(self.columns.size());
      column_data = many.data();
    }
    for (std::size_t c = 0; c < self.columns.size(); ++c) {
      const Column& column = self.columns[c];
      const py::array array = make(column.dtype, column.shape, column.bytes);
      column_data[c] = memory(array);
      set_item(batch.ptr(), column.name, array);
    }
    static const std::vector<py::ssize_t> scalar;
    const py::array indices = make(self.int64_dtype, scalar, sizeof(std::int64_t));
    const py::array weights = make(self.float32_dtype, scalar, sizeof(float));
    const py::array probabilities = make(self.float64_dtype, scalar, sizeof(double));
    const SampleOutput out{reinterpret_cast<std::int64_t*>(memory(indices)),
                           reinterpret_cast<double*>(memory(probabilities)), reinterpret_cast<float*>(memory(weights)),
                           column_data};
    const WriteMark mark =
        run(n >= kReleaseRows || bytes >= kReleaseBytes, [&] { return self.core->sample(n, beta, out); });
    set_item(batch.ptr(), self.indices_name, indices);
    set_item(batch.ptr(), self.weights_name, weights);
    set_item(batch.ptr(), self.probabilities_name, probabilities);
    const py::tuple mark_tuple = py::make_tuple(mark.epoch, mark.written);
    if (PyObject_SetAttr(batch.ptr(), self.mark_name.ptr(), mark_tuple.ptr()) < 0) throw py::error_already_set();
    return batch.release().ptr();
  });
}

// float32 values of TD errors; a finite one that overflows is an error, NaN and infinity are left to the core.
ArrayArgument<float> td_error_argument(PyObject* object) {
  const auto is_float32 = [](const py::array& array) {
    return array.dtype().kind() == 'f' && array.dtype().itemsize() <= 4;
  };
  const py::array array = as_array(object);
  if (is_float32(array)) return real_argument<float>(array.ptr(), "td_errors");
  const auto wide = real_argument<double>(array.ptr(), "td_errors");
  py::array_t<float> narrow(wide.size);
  float* out = narrow.mutable_data();
  bool overflow = false;
  for (std::int64_t i = 0; i < wide.size; ++i) {
    out[i] = static_cast<float>(wide.data[i]);
    overflow |= std::isinf(out[i]);
  }
  for (std::int64_t i = 0; overflow && i < wide.size; ++i) {
    if (std::isinf(out[i]) && std::isfinite(wide.data[i])) {
      throw py::value_error("td_errors[" + std::to_string(i) + "] is " + text_of(py::float_(wide.data[i])) +
                            "; overflows float32");
    }
  }
  ArrayArgument<float> result;
  result.data = out;
  result.size = wide.size;
  result.scalar = wide.scalar;
  result.owner = std::move(narrow);
  return result;
}

PyObject* update_priorities(PyObject* object, PyObject* const* args, Py_ssize_t num_args, PyObject* names) {
  return guarded([&]() -> PyObject* {
    PyReplay& self = self_of(object);
    PyObject* given[3];
    unpack("update_priorities", {"indices", "td_errors", "strict"}, 2, args, num_args, names, given);
    const int strict = given[2] == nullptr ? 0 : PyObject_IsTrue(given[2]);
    if (strict < 0) throw py::error_already_set();
    PyObject* index_object = given[0];
    py::object indices_of_batch;
    WriteMark mark;
    const bool is_batch = PyObject_TypeCheck(index_object, reinterpret_cast<PyTypeObject*>(self.batch_type.ptr())) != 0;
    if (is_batch) {
      const py::handle batch(index_object);
      const auto pair = py::reinterpret_steal<py::tuple>(PyObject_GetAttr(index_object, self.mark_name.ptr()));
      if (!pair) {
        PyErr_Clear();
        throw py::type_error("indices is a Batch that was not sampled from a buffer; pass its indices");
      }
      mark = {py::cast<std::uint64_t>(pair[0]), py::cast<std::uint64_t>(pair[1])};
      indices_of_batch = batch[self.indices_name];
      index_object = indices_of_batch.ptr();
    }
    const auto indices = index_argument(index_object, "indices");
    const auto errors = td_error_argument(given[1]);
    check_same_length("indices", indices.shape(), indices.size, "td_errors", errors.shape(), errors.size);
    run(indices.size >= 2 * kReleaseRows, [&] {
      self.core->update_priorities(indices.data, errors.data, indices.size, is_batch ? &mark : nullptr, strict != 0);
    });
    Py_RETURN_NONE;
  });
}

PyMethodDef kMethods[] = {
    {"add", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&add)), METH_FASTCALL | METH_KEYWORDS,
     R"(add($self, /, **columns)
--

Store one transition, or a batch of them.

Args:
    **columns: One value for every field: of the field's shape for one transition, or with a leading batch axis, the
        same for all. The data is copied. Floating-point numbers may be rounded to the field's precision (also to zero,
        if they are smaller than its smallest number); anything else that loses information is refused: an integer must
        be a number of the field's type exactly.

Returns:
    The slot written (int), or the slots, int64 of shape (B,). When the buffer is full, the oldest transitions are
    overwritten.

Raises:
    KeyError: A field is missing or unknown.
    ValueError: A shape is wrong, or a number overflows the field's type.
    TypeError: A dtype does not fit, or an integer that the field's type cannot hold. After any error the buffer is unchanged.)"},
    {"sample", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&sample)), METH_FASTCALL | METH_KEYWORDS,
     R"(sample($self, /, batch_size, beta=None)
--

Draw a batch of transitions, with replacement.

Args:
    batch_size: Number of transitions B >= 1.
    beta: Exponent of the importance weights, >= 0; the buffer's own by default. Without effect in a uniform buffer.

Returns:
    A Batch: one fresh array of shape (B, ...) for every field, ``indices`` (int64), ``weights`` (float32) and
    ``probabilities`` (float64). A prioritized, stratified buffer returns ascending indices.

Raises:
    BufferEmptyError: Nothing is stored.
    ValueError: ``batch_size`` is below 1 or ``beta`` negative or not finite.)"},
    {"update_priorities", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&update_priorities)),
     METH_FASTCALL | METH_KEYWORDS,
     R"(update_priorities($self, /, indices, td_errors, strict=False)
--

Set the priorities of transitions to p = clip(abs(td_error), eps, max_priority).

A uniform buffer has no priorities: it checks the arguments and does nothing.

Args:
    indices: The Batch that was sampled, or slots (integers, shape (B,)). The last of equal ones wins. Only with a Batch is
        it known which slots were overwritten since: these are skipped and counted in ``stale_updates``.
    td_errors: Signed TD errors, real numbers of shape (B,), finite in float32.
    strict: Refuse the whole update with StaleIndexError if a slot of the Batch was overwritten.

Raises:
    ValueError: An error is NaN, infinite or overflows float32, or the lengths differ.
    IndexError: A slot is outside [0, len(buffer)).
    StaleIndexError: See ``strict``.
    TypeError: A dtype is wrong. After any error the buffer is unchanged.)"},
    {nullptr, nullptr, 0, nullptr}};

// Plain C functions: no conversion layer between the interpreter and the call.
void attach(py::handle type, PyMethodDef* methods) {
  for (; methods->ml_name != nullptr; ++methods) {
    const auto descriptor =
        py::reinterpret_steal<py::object>(PyDescr_NewMethod(reinterpret_cast<PyTypeObject*>(type.ptr()), methods));
    if (!descriptor) throw py::error_already_set();
    type.attr(methods->ml_name) = descriptor;
  }
}

PrioritizedOptions parse_options(py::handle alpha, py::handle eps, py::handle max_priority,
                                 const std::string& normalization, bool stratified) {
  PrioritizedOptions options;
  options.alpha = real_number(alpha.ptr(), "alpha");
  if (!(options.alpha >= 0.0 && std::isfinite(options.alpha))) {
    throw py::value_error("alpha is " + text_of(alpha) + "; must be finite and >= 0");
  }
  const double wide_eps = real_number(eps.ptr(), "eps");
  options.eps = static_cast<float>(wide_eps);
  if (!(options.eps >= 0.0f && std::isfinite(options.eps)) || (options.eps == 0.0f && wide_eps != 0.0)) {
    throw py::value_error("eps is " + text_of(eps) + "; must be 0 or a positive number in the range of float32");
  }
  if (!max_priority.is_none()) {
    options.max_priority = static_cast<float>(real_number(max_priority.ptr(), "max_priority"));
    if (!(options.max_priority > 0.0f && options.max_priority >= options.eps && std::isfinite(options.max_priority))) {
      throw py::value_error("max_priority is " + text_of(max_priority) + "; must be finite, > 0 and >= eps");
    }
  }
  options.weight_normalization = weight_normalization(normalization);
  options.stratified = stratified;
  return options;
}

}  // namespace

void register_replay(py::module_& m) {
  py::register_exception_translator([](std::exception_ptr p) {
    if (p && !set_python_error(p)) std::rethrow_exception(p);
  });

  auto base =
      py::class_<PyReplay>(m, "ReplayBufferBase")
          .def_property_readonly(
              "capacity", [](const PyReplay& self) { return self.core->capacity(); }, "Number of slots.")
          .def_property_readonly(
              "seed", [](const PyReplay& self) { return self.core->seed(); }, "Key of the random numbers.")
          .def_property_readonly(
              "bytes_per_transition", [](const PyReplay& self) { return self.core->bytes_per_transition(); },
              "Bytes of memory a slot takes, index structures included.")
          .def("__len__", [](const PyReplay& self) { return self.core->size(); })
          .def(
              "clear", [](PyReplay& self) { run(true, [&] { self.core->clear(); }); },
              "Forget all transitions; the random stream goes on.")
          .def("_snapshot", &snapshot)
          .def("_restore", &restore, py::arg("state"), py::arg("columns"), py::arg("priorities"), py::arg("masses"));
  attach(base, kMethods);

  py::class_<PyUniformReplay, PyReplay>(m, "UniformReplayBase")
      .def(py::init([](py::handle capacity, const py::sequence& fields, py::handle seed, py::object batch_type) {
             auto self = std::make_unique<PyUniformReplay>(parse_columns(fields), std::move(batch_type));
             const std::int64_t slots = slots_argument(capacity.ptr(), self->columns);
             self->core = std::make_unique<ReplayBuffer>(slots, field_specs(self->columns), seed_argument(seed.ptr()));
             return self;
           }),
           py::arg("capacity"), py::arg("fields"), py::arg("seed"), py::arg("batch_type"));

  auto prioritized =
      py::class_<PyPrioritizedReplay, PyReplay>(m, "PrioritizedReplayBase")
          .def(py::init([](py::handle capacity, const py::sequence& fields, py::handle alpha, py::handle beta,
                           py::handle eps, py::handle max_priority, const std::string& normalization, bool stratified,
                           py::handle seed, py::object batch_type) {
                 const PrioritizedOptions options = parse_options(alpha, eps, max_priority, normalization, stratified);
                 auto self = std::make_unique<PyPrioritizedReplay>(parse_columns(fields), std::move(batch_type));
                 const std::int64_t slots = slots_argument(capacity.ptr(), self->columns);
                 self->beta = beta_argument(beta.ptr());
                 auto core = std::make_unique<PrioritizedReplayBuffer>(slots, field_specs(self->columns),
                                                                       seed_argument(seed.ptr()), options);
                 self->prioritized = core.get();
                 self->core = std::move(core);
                 return self;
               }),
               py::arg("capacity"), py::arg("fields"), py::arg("alpha"), py::arg("beta"), py::arg("eps"),
               py::arg("max_priority"), py::arg("weight_normalization"), py::arg("stratified"), py::arg("seed"),
               py::arg("batch_type"))
          .def_property_readonly(
              "alpha", [](const PyReplay& self) { return self.prioritized->options().alpha; },
              "Exponent of the priorities.")
          .def_property(
              "beta", [](const PyReplay& self) { return self.beta; },
              [](PyReplay& self, py::handle beta) { self.beta = beta_argument(beta.ptr()); },
              "Exponent of the importance weights, unless sample() is given another.")
          .def_property_readonly(
              "eps", [](const PyReplay& self) { return self.prioritized->options().eps; },
              "Smallest priority (float32).")
          .def_property_readonly(
              "max_priority",
              [](const PyReplay& self) -> py::object {
                const float limit = self.prioritized->options().max_priority;
                if (limit == std::numeric_limits<float>::max()) return py::none();
                return py::float_(limit);
              },
              "Largest priority (float32), or None.")
          .def_property_readonly(
              "stratified", [](const PyReplay& self) { return self.prioritized->options().stratified; },
              "Whether batches are stratified.")
          .def_property_readonly(
              "weight_normalization",
              [](const PyReplay& self) {
                return weight_normalization_name(self.prioritized->options().weight_normalization);
              },
              "What the importance weights are divided by.")
          .def_property_readonly(
              "stale_updates", [](const PyReplay& self) { return self.prioritized->stale_updates(); },
              "Priority updates skipped so far because their slot had been overwritten.")
          .def_property_readonly(
              "running_max_priority", [](const PyReplay& self) { return self.prioritized->running_max(); },
              "Raw priority that new transitions get.")
          .def("priorities", &priorities, py::arg("indices") = py::none(),
               R"(Return raw priorities p, before the exponent alpha.

Args:
    indices: Slots, shape (B,); all filled ones by default.

Returns:
    float64 of shape (B,); every value is a float32 number.

Raises:
    IndexError: A slot is outside [0, len(buffer)).)");
}

}  // namespace metarl
