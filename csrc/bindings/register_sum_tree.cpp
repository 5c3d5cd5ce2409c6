#include <algorithm>
#include <cmath>
#include <mutex>

#include "bindings/arrays.h"
#include "bindings/built.h"
#include "bindings/call_arguments.h"
#include "bindings/errors.h"
#include "bindings/gil.h"
#include "bindings/interruptible.h"
#include "bindings/output_pool.h"
#include "bindings/register.h"
#include "bindings/replay_options.h"
#include "core/poll.h"
#include "core/tree_kernels.h"
#include "metarl/fork_mutex.h"
#include "metarl/sum_tree.h"

namespace metarl {
namespace {

// Calls with at least this many elements release the GIL.
constexpr std::int64_t kReleaseAbove = 256;
// Leaves fetched before they are set.
constexpr std::int64_t kFetchedAhead = 32;

// A tree and the lock that makes its Python face safe to call from any thread.
struct LockedTree {
  LockedTree(std::int64_t capacity, std::uint64_t seed)
      : tree(capacity, seed),
        pool(std::make_shared<OutputPool>()),
        int64_dtype(py::dtype::of<std::int64_t>()),
        float64_dtype(py::dtype::of<double>()) {}
  SumTree tree;
  ForkMutex mutex;
  std::shared_ptr<OutputPool> pool;
  py::dtype int64_dtype, float64_dtype;

  // Calls f(tree, poll); poll is empty unless n is large.
  template <typename F>
  void run(std::int64_t n, F&& f) {
    run_core(n >= kInterruptItems, n >= kReleaseAbove, [&](const Poll& poll) {
      const std::lock_guard lock(mutex);
      tree.set_random_stream(mutex.stream());
      f(tree, poll);
    });
  }
};

// Of a draw: index, probability, and the scratch of its random number and mass.
constexpr std::uint64_t kSampleBytes = 8 + 8 + 8 + 4;

std::string number_text(double x) { return text_of(py::float_(x)); }

double largest(const double* priorities, std::int64_t n) {
  return METARL_SELECT_KERNEL(largest_priority)(priorities, n);
}

double largest(const float* priorities, std::int64_t n) {
  return METARL_SELECT_KERNEL(largest_priority_float)(priorities, n);
}

// Index of the first priority that is negative, infinite or NaN, or -1.
template <typename T>
std::int64_t first_bad(const T* priorities, std::int64_t n, const Poll& poll) {
  std::int64_t bad = -1;
  in_parts(n, poll, [&](std::int64_t begin, std::int64_t end) {
    if (bad >= 0 || largest(priorities + begin, end - begin) >= 0.0) return;
    for (std::int64_t i = begin; i < end && bad < 0; ++i) {
      if (!(priorities[i] >= 0 && priorities[i] <= std::numeric_limits<T>::max())) bad = i;
    }
  });
  return bad;
}

template <typename T>
void set_as(LockedTree& self, PyObject* indices_object, PyObject* priorities_object) {
  const auto indices = index_argument(indices_object, "indices");
  const auto given = real_argument<T>(priorities_object, "priorities");
  const bool repeat = given.scalar && !indices.scalar;
  if (!repeat) check_same_length("indices", indices, "priorities", given);
  std::int64_t bad = -1;
  self.run(indices.size, [&](SumTree& tree, const Poll& poll) {
    // What is far away comes while the rest is checked.
    const std::int64_t ahead = std::min(indices.size, kFetchedAhead);
    const std::int64_t fetched = indices_inside(indices, tree.capacity(), 0, ahead) ? ahead : 0;
    for (std::int64_t i = 0; i < fetched; ++i) tree.prefetch(indices.data[i]);
    bad = first_bad(given.data, given.size, poll);
    if (bad >= 0) return;
    in_parts(indices.size, poll,
             [&](std::int64_t begin, std::int64_t end) { check_indices(indices, tree.capacity(), begin, end); });
    std::vector<T> repeated;
    if (repeat) {
      const auto n = static_cast<std::size_t>(indices.size);
      grow(&repeated, n, poll);
      in_parts(indices.size, poll, [&](std::int64_t begin, std::int64_t end) {
        std::fill(repeated.begin() + begin, repeated.begin() + end, *given.data);
      });
    }
    tree.set(indices.data, repeat ? repeated.data() : given.data, indices.size, fetched, poll);
  });
  if (bad >= 0) {
    throw py::value_error("priorities[" + std::to_string(bad) + "] is " +
                          number_text(static_cast<double>(given.data[bad])) + "; must be finite and >= 0");
  }
}

PyObject* set(PyObject* object, PyObject* const* args, Py_ssize_t num_args, PyObject* names) {
  return guarded([&]() -> PyObject* {
    LockedTree& self = built<LockedTree>(object);
    PyObject* given[2];
    unpack("set", {"indices", "priorities"}, 2, args, num_args, names, given);
    // float32 has every number of the type, so it need not become float64 first.
    if (is_array_of<float>(given[1])) {
      set_as<float>(self, given[0], given[1]);
    } else {
      set_as<double>(self, given[0], given[1]);
    }
    Py_RETURN_NONE;
  });
}

py::array_t<double> get(Built<LockedTree> object, py::handle indices_object) {
  LockedTree& self = *object;
  const auto indices = index_argument(indices_object.ptr(), "indices");
  py::array_t<double> result(indices.size);
  double* out = result.mutable_data();
  self.run(indices.size, [&](const SumTree& tree, const Poll& poll) {
    in_parts(indices.size, poll,
             [&](std::int64_t begin, std::int64_t end) { check_indices(indices, tree.capacity(), begin, end); });
    in_parts(indices.size, poll,
             [&](std::int64_t begin, std::int64_t end) { tree.get(indices.data + begin, end - begin, out + begin); });
  });
  return result;
}

py::object find(Built<LockedTree> object, py::handle mass_object) {
  LockedTree& self = *object;
  const auto mass = real_argument<double>(mass_object.ptr(), "mass");
  py::array_t<std::int64_t> result(mass.size);
  std::int64_t* out = result.mutable_data();
  std::int64_t bad = -1;
  double total = 0.0;
  self.run(mass.size, [&](const SumTree& tree, const Poll& poll) {
    total = tree.total();
    in_parts(mass.size, poll, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end && bad < 0; ++i) {
        if (!(mass.data[i] >= 0.0 && mass.data[i] < total)) bad = i;
      }
      if (bad < 0) tree.find(mass.data + begin, end - begin, out + begin);
    });
  });
  if (bad >= 0) {
    throw py::value_error((mass.scalar ? "mass" : "mass[" + std::to_string(bad) + "]") + " is " +
                          number_text(mass.data[bad]) + "; must be in [0, total), total is " + number_text(total));
  }
  if (mass.scalar) return py::int_(out[0]);
  return result;
}

bool truth(PyObject* object) {
  const int value = PyObject_IsTrue(object);
  if (value < 0) throw py::error_already_set();
  return value != 0;
}

PyObject* sample(PyObject* object, PyObject* const* args, Py_ssize_t num_args, PyObject* names) {
  return guarded([&]() -> PyObject* {
    LockedTree& self = built<LockedTree>(object);
    PyObject* given[3];
    unpack("sample", {"batch_size", "stratified", "mode"}, 1, args, num_args, names, given);
    const std::int64_t n = positive_argument(given[0], "batch_size");
    const bool stratified = given[1] == nullptr || truth(given[1]);
    const SamplingMode mode = given[2] != nullptr && given[2] != Py_None ? sampling_mode_argument(given[2])
                              : stratified                               ? SamplingMode::stratified
                                                                         : SamplingMode::independent;
    self.run(0, [&](const SumTree& tree, const Poll&) {
      if (tree.num_valid() == 0) throw BufferEmptyError("cannot sample: no item is valid");  // before allocating
    });
    check_allocation(static_cast<std::uint64_t>(n), kSampleBytes);
    const py::ssize_t shape[1] = {n};
    const std::size_t bytes = static_cast<std::size_t>(n) * 8;
    const auto indices = py::reinterpret_steal<py::object>(self.pool->array(self.int64_dtype, 1, shape, bytes));
    const auto probabilities = py::reinterpret_steal<py::object>(self.pool->array(self.float64_dtype, 1, shape, bytes));
    auto* index_out = reinterpret_cast<std::int64_t*>(py::detail::array_proxy(indices.ptr())->data);
    auto* probability_out = reinterpret_cast<double*>(py::detail::array_proxy(probabilities.ptr())->data);
    self.run(n, [&](SumTree& tree, const Poll& poll) { tree.sample(n, mode, index_out, probability_out, poll); });
    PyObject* pair = PyTuple_Pack(2, indices.ptr(), probabilities.ptr());
    if (pair == nullptr) throw py::error_already_set();
    return pair;
  });
}

template <typename Method>
auto locked(Built<LockedTree> self, Method method) {
  return with_core([&] {
    const std::lock_guard lock(self->mutex);
    return (self->tree.*method)();
  });
}

PyMethodDef kMethods[] = {
    {"set", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&set)), METH_FASTCALL | METH_KEYWORDS,
     R"(set($self, /, indices, priorities)
--

Set the priorities of leaves, which become valid.

Args:
    indices: Integers in [0, capacity), shape (B,) or a scalar. The last of equal ones wins.
    priorities: Real numbers, finite and >= 0, shape (B,), or a scalar for all.

Raises:
    ValueError: A priority is NaN, infinite or negative, or the lengths differ; the tree is unchanged.
    IndexError: An index is out of range; the tree is unchanged.
    TypeError: ``indices`` are not integers or ``priorities`` not real numbers.
    KeyboardInterrupt: Ctrl-C during a large call. The first leaves are set, some number of them (also none or all), as if
        only they had been passed; the sums are theirs.)"},
    {"sample", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&sample)), METH_FASTCALL | METH_KEYWORDS,
     R"(sample($self, /, batch_size, stratified=True, mode=None)
--

Draw leaves with probability priority / total.

Args:
    batch_size: Number of draws B >= 1.
    stratified: Draw number i comes from the i-th of B equal slices of the total: each leaf appears B * P times, give or
        take less than 2, and the indices ascend. Otherwise the draws are independent.
    mode: "stratified" or "iid", in place of ``stratified``; "uniform": independent draws among the leaves that were set,
        whatever their priority; "without_replacement": successive draws, each proportional to priority among the leaves
        not drawn before, in this order.

Returns:
    Indices, int64 of shape (B,), and their probabilities, float64 of shape (B,); without replacement those of the first
    draw. If all priorities are zero, the draw is uniform over the valid leaves (those that were set).

Raises:
    BufferEmptyError: No leaf was set.
    ValueError: ``batch_size`` is below 1, or above the number of leaves that can be drawn without replacement, or
        ``mode`` is unknown.
    KeyboardInterrupt: Ctrl-C during a large call. The tree is unchanged, and so are the draws to come.)"},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

void register_sum_tree(py::module_& m) {
  py::class_<LockedTree> tree(m, "SumTree");
  attach(tree, kMethods);
  tree.def(py::init([](py::handle capacity, py::handle seed) {
             const std::int64_t slots = capacity_argument(capacity.ptr(), [] { return py::int_(5); });
             return std::make_unique<LockedTree>(slots, seed_argument(seed.ptr()));
           }),
           py::arg("capacity"), py::arg("seed") = 0)
      .def("get", &get, py::arg("indices"),
           R"(Return the priorities as stored, that is in fixed point, float64 of shape (B,).

Raises:
    IndexError: An index is out of range.)")
      .def("find", &find, py::arg("mass"),
           R"(Return the leaf that contains a prefix mass: the smallest i with sum(priorities[: i + 1]) > mass.

Args:
    mass: Real numbers in [0, total), shape (B,) or a scalar.

Returns:
    int64 of shape (B,), or an int for a scalar.

Raises:
    ValueError: A mass is outside [0, total).)")
      .def_property_readonly(
          "total", [](Built<LockedTree> self) { return locked(self, &SumTree::total); },
          "Sum of the priorities as stored, rounded to float64 once.")
      .def_property_readonly(
          "min", [](Built<LockedTree> self) { return locked(self, &SumTree::min); },
          "Smallest positive priority as stored, 0.0 if there is none.")
      .def_property_readonly(
          "max", [](Built<LockedTree> self) { return locked(self, &SumTree::max); },
          "Largest priority as stored, 0.0 if there is none.")
      .def_property_readonly(
          "capacity", [](Built<LockedTree> self) { return self->tree.capacity(); }, "Number of leaves.")
      .def("__len__", [](Built<LockedTree> self) { return locked(self, &SumTree::num_valid); });
}

}  // namespace metarl
