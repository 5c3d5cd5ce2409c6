// The methods of a replay buffer that are called in every step of an agent.
#include <algorithm>
#include <cmath>
#include <memory>

#include "bindings/arrays.h"
#include "bindings/call_arguments.h"
#include "bindings/columns.h"
#include "bindings/errors.h"
#include "bindings/interruptible.h"
#include "bindings/output_pool.h"
#include "bindings/replay_object.h"
#include "bindings/replay_options.h"
#include "bindings/task_mix.h"
#include "bindings/td_errors.h"

namespace metarl {
namespace {

// Of a drawn item besides its fields: index, probability, weight, discount, and the scratch of its random number and
// mass.
constexpr std::size_t kSampleBytes = 8 + 8 + 4 + 4 + 8 + 4;

}  // namespace

PyReplay::PyReplay(std::vector<Column> parsed, py::object batch_class)
    : columns(std::move(parsed)),
      batch_type(std::move(batch_class)),
      pool(std::make_shared<OutputPool>()),
      indices_name(py::reinterpret_steal<py::object>(PyUnicode_InternFromString("indices"))),
      weights_name(py::reinterpret_steal<py::object>(PyUnicode_InternFromString("weights"))),
      probabilities_name(py::reinterpret_steal<py::object>(PyUnicode_InternFromString("probabilities"))),
      discount_name(py::reinterpret_steal<py::object>(PyUnicode_InternFromString("discount"))),
      mask_name(py::reinterpret_steal<py::object>(PyUnicode_InternFromString("mask"))),
      mark_name(py::reinterpret_steal<py::object>(PyUnicode_InternFromString("_mark"))),
      int64_dtype(py::dtype::of<std::int64_t>()),
      float32_dtype(py::dtype::of<float>()),
      float64_dtype(py::dtype::of<double>()),
      bool_dtype(py::dtype::of<bool>()) {}

double PyReplay::current_beta() const {
  if (!beta_schedule) return beta;
  const std::uint64_t draws = with_core([&] { return core->draws(); });
  return beta_argument(py::object(beta_schedule(draws)).ptr());
}

void PyReplay::set_beta(py::handle number_or_schedule) {
  if (PyCallable_Check(number_or_schedule.ptr()) != 0) {
    beta_schedule = py::reinterpret_borrow<py::object>(number_or_schedule);
    return;
  }
  if (!PyNumber_Check(number_or_schedule.ptr())) {
    throw py::type_error("beta must be a real number or a function of the number of batches, got " +
                         type_name(number_or_schedule));
  }
  beta = beta_argument(number_or_schedule.ptr());
  beta_schedule = py::object();
}

void PyReplay::describe_samples() {
  const ReplayOptions& options = core->options();
  const auto length = static_cast<py::ssize_t>(options.streams.sequence_length);
  sample_bytes = kSampleBytes + static_cast<std::size_t>(length);
  for (std::size_t c = 0; c < columns.size(); ++c) {
    const bool steps = length > 0 && !options.fields[c].recurrent;
    item_shapes.push_back(columns[c].shape);
    if (steps) item_shapes.back().insert(item_shapes.back().begin(), length);
    item_bytes.push_back(columns[c].bytes * (steps ? static_cast<std::size_t>(length) : 1));
    row_bytes += columns[c].bytes;
    sample_bytes += item_bytes.back();
  }
}

namespace {

// Work above these amounts takes more than a few microseconds: the GIL is released.
constexpr std::int64_t kReleaseRows = 64;

PyObject* add(PyObject* object, PyObject* const* args, Py_ssize_t num_args, PyObject* names) {
  return guarded([&]() -> PyObject* {
    PyReplay& self = built<PyReplay>(object);
    if (num_args != 0) throw py::type_error("add() takes keyword arguments only, one for each field");
    RowArguments rows(self.columns);
    const FlatKeywords keywords(self.structure, args, names);
    rows.parse(keywords.values(), keywords.names());
    const std::int64_t n = rows.rows();
    const auto env_ids = env_ids_argument(self.core->options().streams.num_envs, rows);
    const std::size_t bytes = static_cast<std::size_t>(n) * self.row_bytes;
    const bool release = bytes >= kReleaseBytes || self.core->options().mapped;  // a disk may take its time
    const bool large = adds_in_portions(n, bytes);
    const auto add_rows = [&](std::int64_t* slots) {
      run_core(large, release, [&](const std::function<void()>& poll) {
        self.core->add(rows.sources(), env_ids ? env_ids->data : nullptr, n, slots, poll);
      });
    };
    if (rows.single()) {
      std::int64_t slot = 0;
      add_rows(&slot);
      return PyLong_FromLongLong(slot);
    }
    py::ssize_t shape[1] = {n};
    py::object slots = py::reinterpret_steal<py::object>(new_array(self.int64_dtype, 1, shape));
    add_rows(reinterpret_cast<std::int64_t*>(py::detail::array_proxy(slots.ptr())->data));
    return slots.release().ptr();
  });
}

// The arrays of a batch: fresh ones, or those of `reused`, the dict that out= named (already flat). Of the latter,
// references: other threads run while they are filled.
class BatchArrays {
 public:
  BatchArrays(const PyReplay& self, std::int64_t n, PyObject* batch, PyObject* reused)
      : self_(self), n_(n), batch_(batch), reused_(reused) {
    if (reused == nullptr) return;
    kept_.reserve(self.columns.size() + 8);
    ranges_.reserve(self.columns.size() + 8);
  }

  // Memory for this call only: of few items in this object, otherwise from the pool.
  std::byte* scratch(const py::dtype& dtype, std::size_t element_bytes) {
    const std::size_t bytes = static_cast<std::size_t>(n_) * element_bytes;
    if (bytes <= sizeof inline_scratch_ - inline_used_) {
      std::byte* found = inline_scratch_ + inline_used_;
      inline_used_ += (bytes + 7) / 8 * 8;
      return found;
    }
    const py::ssize_t shape[1] = {n_};
    kept_.push_back(py::reinterpret_steal<py::object>(self_.pool->array(dtype, 1, shape, bytes)));
    return reinterpret_cast<std::byte*>(py::detail::array_proxy(kept_.back().ptr())->data);
  }

  // Two names of the same memory would get one content.
  void refuse_overlaps() {
    std::sort(ranges_.begin(), ranges_.end(), [](const Range& a, const Range& b) { return a.begin < b.begin; });
    for (std::size_t i = 1; i < ranges_.size(); ++i) {
      const Range& before = ranges_[i - 1];
      if (ranges_[i].begin >= before.end) continue;
      throw py::value_error("out[" + text_of(before.name) + "] and out[" + text_of(ranges_[i].name) +
                            "] share memory; each array must have its own");
    }
  }

  std::byte* array(const py::object& name, const py::dtype& dtype, const std::vector<py::ssize_t>& element,
                   std::size_t element_bytes) {
    py::ssize_t shape[kMaxDimensions];
    shape[0] = n_;
    std::copy(element.begin(), element.end(), shape + 1);
    const int ndim = 1 + static_cast<int>(element.size());
    if (reused_ != nullptr) return reuse(name, dtype, ndim, shape);
    const auto made = py::reinterpret_steal<py::array>(
        self_.pool->array(dtype, ndim, shape, static_cast<std::size_t>(n_) * element_bytes));
    if (PyDict_SetItem(batch_, name.ptr(), made.ptr()) < 0) throw py::error_already_set();
    return reinterpret_cast<std::byte*>(py::detail::array_proxy(made.ptr())->data);
  }

 private:
  std::byte* reuse(const py::object& name, const py::dtype& dtype, int ndim, const py::ssize_t* shape) {
    const auto text = [&name] { return "out[" + text_of(name) + "]"; };
    PyObject* object = PyDict_GetItemWithError(reused_, name.ptr());
    if (object == nullptr) {
      if (PyErr_Occurred() != nullptr) throw py::error_already_set();
      throw py::key_error(text() + " is missing");
    }
    if (!is_array(object)) throw py::type_error(text() + " must be an array, got " + type_name(object));
    const auto found = py::reinterpret_borrow<py::array>(object);
    bool same = found.ndim() == ndim;
    for (int d = 0; same && d < ndim; ++d) same = found.shape(d) == shape[d];
    if (!same) throw py::value_error(text() + " expected " + shape_text(shape, ndim) + ", got " + shape_text(found));
    if (py::detail::array_proxy(object)->descr != dtype.ptr() && !found.dtype().equal(dtype)) {
      throw py::type_error(text() + " expected " + py::cast<std::string>(py::str(dtype)) + ", got " +
                           py::cast<std::string>(py::str(found.dtype())));
    }
    const bool aligned = (found.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) != 0;
    if (!is_c_contiguous(found) || !found.writeable() || !aligned) {
      throw py::value_error(text() + " must be C-contiguous, aligned and writeable");
    }
    auto* begin = reinterpret_cast<std::byte*>(py::detail::array_proxy(object)->data);
    kept_.push_back(found);
    if (found.nbytes() > 0) ranges_.push_back({begin, begin + found.nbytes(), name});
    return begin;
  }

  struct Range {
    const std::byte* begin;
    const std::byte* end;
    py::handle name;
  };

  const PyReplay& self_;
  std::int64_t n_;
  PyObject* batch_;
  PyObject* reused_;
  std::vector<py::object> kept_;
  std::vector<Range> ranges_;
  std::size_t inline_used_ = 0;
  alignas(8) std::byte inline_scratch_[2560];  // 128 items; a multiple of 8
};

PyObject* sample(PyObject* object, PyObject* const* args, Py_ssize_t num_args, PyObject* names) {
  return guarded([&]() -> PyObject* {
    PyReplay& self = built<PyReplay>(object);
    PyObject* given[6];
    unpack("sample", {"batch_size", "beta", "mode", "task", "task_weights", "out"}, 1, args, num_args, names, given);
    SampleRequest request;
    request.n = positive_argument(given[0], "batch_size");
    request.beta = given[1] == nullptr || given[1] == Py_None ? self.current_beta() : beta_argument(given[1]);
    request.mode = given[2] == nullptr || given[2] == Py_None ? self.mode : sampling_mode_argument(given[2]);
    const std::optional<TaskMix> mix = task_mix_argument(self.core->options().tasks.field >= 0, given[3], given[4]);
    if (mix) request.tasks = &*mix;
    const std::int64_t n = request.n;
    const bool empty = with_core([&] { return self.core->size() == 0; });
    if (empty) throw BufferEmptyError("cannot sample from an empty buffer");  // before allocating
    const std::size_t bytes = static_cast<std::size_t>(n) * self.sample_bytes;
    check_allocation(static_cast<std::uint64_t>(n), self.sample_bytes);

    py::object batch;
    py::object reused;
    if (given[5] != nullptr && given[5] != Py_None) {
      if (PyObject_TypeCheck(given[5], reinterpret_cast<PyTypeObject*>(self.batch_type.ptr())) == 0) {
        throw py::type_error("out must be a Batch, got " + type_name(given[5]));
      }
      batch = py::reinterpret_borrow<py::object>(given[5]);
      reused = self.structure.is_none() ? batch : self.structure.attr("flatten")(batch);
    } else {
      batch = py::reinterpret_steal<py::object>(PyObject_CallNoArgs(self.batch_type.ptr()));
      if (!batch) throw py::error_already_set();
    }
    BatchArrays arrays(self, n, batch.ptr(), reused ? reused.ptr() : nullptr);
    std::byte* pointers[64];
    std::vector<std::byte*> many;
    std::byte** column_data = pointers;
    if (self.columns.size() > 64) {
      many.resize(self.columns.size());
      column_data = many.data();
    }
    for (std::size_t c = 0; c < self.columns.size(); ++c) {
      const Column& column = self.columns[c];
      column_data[c] = arrays.array(column.name, column.dtype, self.item_shapes[c], self.item_bytes[c]);
    }
    static const std::vector<py::ssize_t> scalar;
    SampleOutput out;
    out.columns = column_data;
    const StreamOptions& streams = self.core->options().streams;
    if (streams.n_step > 1) {
      out.discounts =
          reinterpret_cast<float*>(arrays.array(self.discount_name, self.float32_dtype, scalar, sizeof(float)));
    }
    if (streams.sequence_length > 0) {
      const std::vector<py::ssize_t> steps{static_cast<py::ssize_t>(streams.sequence_length)};
      out.mask = reinterpret_cast<std::uint8_t*>(
          arrays.array(self.mask_name, self.bool_dtype, steps, static_cast<std::size_t>(streams.sequence_length)));
    }
    out.indices = reinterpret_cast<std::int64_t*>(
        arrays.array(self.indices_name, self.int64_dtype, scalar, sizeof(std::int64_t)));
    out.weights = reinterpret_cast<float*>(arrays.array(self.weights_name, self.float32_dtype, scalar, sizeof(float)));
    out.probabilities =
        reinterpret_cast<double*>(arrays.array(self.probabilities_name, self.float64_dtype, scalar, sizeof(double)));
    const SampleOutput given_out = out;
    if (reused) {  // what is drawn may turn out to be too little: until then, the caller's batch stays as it is
      arrays.refuse_overlaps();
      out.indices = reinterpret_cast<std::int64_t*>(arrays.scratch(self.int64_dtype, sizeof(std::int64_t)));
      out.weights = reinterpret_cast<float*>(arrays.scratch(self.float32_dtype, sizeof(float)));
      out.probabilities = reinterpret_cast<double*>(arrays.scratch(self.float64_dtype, sizeof(double)));
    }
    WriteMark mark;
    const bool release = n >= kReleaseRows || bytes >= kReleaseBytes || self.core->options().mapped;
    run_core(n >= kInterruptItems || bytes >= kInterruptBytes, release,
             [&](const std::function<void()>& poll) { mark = self.core->sample(request, out, poll); });
    if (reused) {
      std::copy_n(out.indices, n, given_out.indices);
      std::copy_n(out.weights, n, given_out.weights);
      std::copy_n(out.probabilities, n, given_out.probabilities);
    }
    const py::tuple mark_tuple = py::make_tuple(mark.epoch, mark.written);
    if (PyObject_SetAttr(batch.ptr(), self.mark_name.ptr(), mark_tuple.ptr()) < 0) throw py::error_already_set();
    if (!self.structure.is_none() && !reused) self.structure.attr("nest")(batch);
    return batch.release().ptr();
  });
}

PyObject* update_priorities(PyObject* object, PyObject* const* args, Py_ssize_t num_args, PyObject* names) {
  return guarded([&]() -> PyObject* {
    PyReplay& self = built<PyReplay>(object);
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
    const auto errors = errors_argument(self, given[1], is_batch ? given[0] : nullptr);
    check_same_length("indices", indices, "td_errors", errors);
    const std::int64_t n = indices.size;
    run_core(n >= kInterruptItems, n >= 2 * kReleaseRows, [&](const std::function<void()>& poll) {
      self.core->update_priorities(indices.data, errors.data, n, is_batch ? &mark : nullptr, strict != 0, poll);
    });
    Py_RETURN_NONE;
  });
}

}  // namespace

PyMethodDef kReplayMethods[] = {
    {"add", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&add)), METH_FASTCALL | METH_KEYWORDS,
     R"(add($self, /, *, env_ids=None, **columns)
--

Store one transition, or a batch of them.

Args:
    env_ids: Environment of every row, integers of shape (B,), in [0, num_envs). By default row i belongs to environment
        i of num_envs rows; with one environment, the rows follow one another in time.
    **columns: One value for every field: of the field's shape for one transition, or with a leading batch axis, the
        same for all. The data is copied. Floating-point numbers may be rounded to the field's precision (also to zero,
        if they are smaller than its smallest number); anything else that loses information is refused: an integer must
        be a number of the field's type exactly.

Returns:
    The slot written (int), or the slots, int64 of shape (B,); -1 for a reset row, which is not stored. When the buffer
    is full, the oldest transitions are overwritten.

Raises:
    KeyError: A field is missing or unknown.
    ValueError: A shape is wrong, or a number overflows the field's type.
    TypeError: A dtype does not fit, or an integer that the field's type cannot hold. After any error the buffer is unchanged.
    KeyboardInterrupt: Ctrl-C during a large call. The first rows are stored, some number of them (also none or all), as
        if only they had been passed.)"},
    {"sample", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&sample)), METH_FASTCALL | METH_KEYWORDS,
     R"(sample($self, /, batch_size, beta=None, mode=None, task=None, task_weights=None, out=None)
--

Draw a batch of transitions.

Args:
    batch_size: Number of transitions B >= 1.
    beta: Exponent of the importance weights, >= 0; the buffer's own by default. Without effect in a uniform buffer.
    mode: How to draw; the buffer's own by default. "stratified": in proportion to priority^alpha, draw number i from the
        i-th of B equal slices of the total. "iid": the same with independent draws. "uniform": independent draws, every
        transition equally likely, whatever its priority. "without_replacement": successive draws, each in proportion to
        priority^alpha among the transitions not drawn before, in this order. In a uniform buffer all priorities are
        equal.
    task: Draw from this task alone, an integer in [0, 65535]; needs ``task_field``.
    task_weights: Draw from several tasks, each with a share of the batch in proportion to its weight: a mapping of task to
        weight (others get none), an array with the weight of task i at position i, or "balanced" (equal shares of all
        tasks present). Weights are finite and >= 0, and are rounded to 30 binary digits of the largest one. A task's
        number of draws is B * share rounded down or up, at random (systematic rounding), so that it is exact on average.
        Within each task draws are made as ``mode`` says; the batch is in the order of tasks.
    out: A Batch of an earlier call with this batch size, whose arrays are overwritten and which is returned; nothing is
        allocated then. Its arrays may not share memory. It stays as it is if an error below is raised.

Returns:
    A Batch: one fresh array of shape (B, ...) for every field, ``indices`` (int64), ``weights`` (float32) and
    ``probabilities`` (float64), from which the weights follow. Without replacement they are the probabilities of the
    first draw. Stratified indices ascend. With tasks, a transition's probability is its task's share times its
    probability within the task, and N in its weight is the number of transitions of these tasks. With n_step > 1 there is ``discount`` (float32), what the value of ``next_obs`` is to be multiplied by; with sequences,
    fields have the shape (B, sequence_length, ...) and there is ``mask`` (bool), False for steps after the end of an
    episode, which are 0.

Raises:
    BufferEmptyError: Nothing is stored, or nothing of a task with a positive weight; the message lists the tasks present.
    ValueError: ``batch_size`` is below 1, or above the number of transitions of positive priority without replacement,
        ``beta`` is negative or not finite, ``mode`` is unknown, ``task`` or ``task_weights`` are out of range, all 0 or
        both given, or the buffer has no tasks; a weight overflows float32 (``weight_normalization="none"``); an array of
        ``out`` has another shape or shares memory with another one. After any error the buffer is unchanged.
    KeyboardInterrupt: Ctrl-C during a large call. The buffer is unchanged; the arrays of ``out`` may be half written.)"},
    {"update_priorities", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&update_priorities)),
     METH_FASTCALL | METH_KEYWORDS,
     R"(update_priorities($self, /, indices, td_errors, strict=False)
--

Set the priorities of transitions to p = clip(abs(td_error), eps, max_priority).

A uniform buffer has no priorities: it checks the arguments and does nothing.

Args:
    indices: The Batch that was sampled, or slots (integers, shape (B,)). The last of equal ones wins. Only with a Batch is
        it known which slots were overwritten since: these are skipped and counted in ``stale_updates``.
    td_errors: Signed TD errors, real numbers of shape (B,), finite in float32. For sequences also of shape
        (B, sequence_length): priority_mix times the largest absolute error of a sequence plus 1 - priority_mix times
        the mean one counts, over the steps behind burn_in that the Batch's mask has.
    strict: Refuse the whole update with StaleIndexError if a slot of the Batch is not in the buffer any more.

Raises:
    ValueError: An error is NaN, infinite or overflows float32, or the lengths differ.
    IndexError: A slot was never written: it is outside [0, number of slots written), which is the capacity once the
        buffer has been full.
    StaleIndexError: See ``strict``.
    TypeError: A dtype is wrong. After any error the buffer is unchanged.
    KeyboardInterrupt: Ctrl-C during a large call. The first priorities are set, some number of them (also none or all),
        as if only they had been passed.)"},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace metarl
