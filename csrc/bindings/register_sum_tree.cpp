#include <cmath>
#include <mutex>

#include "bindings/arrays.h"
#include "bindings/register.h"
#include "bindings/replay_options.h"
#include "metarl/sum_tree.h"

namespace metarl {
namespace {

// Calls with at least this many elements release the GIL.
constexpr std::int64_t kReleaseAbove = 256;

// A tree and the lock that makes its Python face safe to call from any thread. No code waits for the GIL while it holds
// the lock, so taking the lock with the GIL held cannot deadlock.
struct LockedTree {
  LockedTree(std::int64_t capacity, std::uint64_t seed) : tree(capacity, seed) {}
  SumTree tree;
  std::mutex mutex;

  template <typename F>
  void run(std::int64_t n, F&& f) {
    std::optional<py::gil_scoped_release> release;
    if (n >= kReleaseAbove) release.emplace();
    const std::lock_guard lock(mutex);
    f(tree);
  }
};

// Of a draw: index, probability, and the scratch of its random number and mass.
constexpr std::uint64_t kSampleBytes = 8 + 8 + 8 + 4;

std::string number_text(double x) { return text_of(py::float_(x)); }

void set(LockedTree& self, py::handle indices_object, py::handle priorities_object) {
  const auto indices = index_argument(indices_object.ptr(), "indices");
  const auto given = real_argument<double>(priorities_object.ptr(), "priorities");
  std::vector<double> repeated;
  const double* priorities = given.data;
  if (given.scalar && !indices.scalar) {
    repeated.assign(static_cast<std::size_t>(indices.size), *given.data);
    priorities = repeated.data();
  } else {
    check_same_length("indices", indices.shape(), indices.size, "priorities", given.shape(), given.size);
  }
  for (std::int64_t i = 0; i < given.size; ++i) {
    if (!(given.data[i] >= 0.0 && given.data[i] <= std::numeric_limits<double>::max())) {
      throw py::value_error("priorities[" + std::to_string(i) + "] is " + number_text(given.data[i]) +
                            "; must be finite and >= 0");
    }
  }
  check_indices(indices, self.tree.capacity());
  self.run(indices.size, [&](SumTree& tree) { tree.set(indices.data, priorities, indices.size); });
}

py::array_t<double> get(LockedTree& self, py::handle indices_object) {
  const auto indices = index_argument(indices_object.ptr(), "indices");
  check_indices(indices, self.tree.capacity());
  py::array_t<double> result(indices.size);
  double* out = result.mutable_data();
  self.run(indices.size, [&](SumTree& tree) { tree.get(indices.data, indices.size, out); });
  return result;
}

py::object find(LockedTree& self, py::handle mass_object) {
  const auto mass = real_argument<double>(mass_object.ptr(), "mass");
  py::array_t<std::int64_t> result(mass.size);
  std::int64_t* out = result.mutable_data();
  std::int64_t bad = -1;
  double total = 0.0;
  self.run(mass.size, [&](SumTree& tree) {
    total = tree.total();
    for (std::int64_t i = mass.size - 1; i >= 0; --i) {
      if (!(mass.data[i] >= 0.0 && mass.data[i] < total)) bad = i;
    }
    if (bad < 0) tree.find(mass.data, mass.size, out);
  });
  if (bad >= 0) {
    throw py::value_error((mass.scalar ? "mass" : "mass[" + std::to_string(bad) + "]") + " is " +
                          number_text(mass.data[bad]) + "; must be in [0, total), total is " + number_text(total));
  }
  if (mass.scalar) return py::int_(out[0]);
  return std::move(result);
}

py::tuple sample(LockedTree& self, py::handle batch_size_object, bool stratified, py::handle mode_object) {
  const std::int64_t n = positive_argument(batch_size_object.ptr(), "batch_size");
  const SamplingMode mode = !mode_object.is_none() ? sampling_mode_argument(mode_object.ptr())
                            : stratified           ? SamplingMode::stratified
                                                   : SamplingMode::independent;
  self.run(0, [&](const SumTree& tree) {
    if (tree.num_valid() == 0) throw BufferEmptyError("cannot sample: no item is valid");  // before allocating
  });
  check_allocation(static_cast<std::uint64_t>(n), kSampleBytes);
  py::array_t<std::int64_t> indices(n);
  py::array_t<double> probabilities(n);
  std::int64_t* index_out = indices.mutable_data();
  double* probability_out = probabilities.mutable_data();
  self.run(n, [&](SumTree& tree) { tree.sample(n, mode, index_out, probability_out); });
  return py::make_tuple(std::move(indices), std::move(probabilities));
}

double locked(LockedTree& self, double (SumTree::*method)() const) {
  const std::lock_guard lock(self.mutex);
  return (self.tree.*method)();
}

}  // namespace

void register_sum_tree(py::module_& m) {
  py::class_<LockedTree>(m, "SumTree")
      .def(py::init([](py::handle capacity, py::handle seed) {
             const std::int64_t slots = capacity_argument(capacity.ptr(), [] { return py::int_(6); });
             return std::make_unique<LockedTree>(slots, seed_argument(seed.ptr()));
           }),
           py::arg("capacity"), py::arg("seed") = 0)
      .def("set", &set, py::arg("indices"), py::arg("priorities"),
           R"(Set the priorities of leaves, which become valid.

Args:
    indices: Integers in [0, capacity), shape (B,) or a scalar. The last of equal ones wins.
    priorities: Real numbers, finite and >= 0, shape (B,), or a scalar for all.

Raises:
    ValueError: A priority is NaN, infinite or negative, or the lengths differ; the tree is unchanged.
    IndexError: An index is out of range; the tree is unchanged.
    TypeError: ``indices`` are not integers or ``priorities`` not real numbers.)")
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
      .def("sample", &sample, py::arg("batch_size"), py::arg("stratified") = true, py::arg("mode") = py::none(),
           R"(Draw leaves with probability priority / total.

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
        ``mode`` is unknown.)")
      .def_property_readonly(
          "total", [](LockedTree& self) { return locked(self, &SumTree::total); },
          "Sum of the priorities as stored, rounded to float64 once.")
      .def_property_readonly(
          "min", [](LockedTree& self) { return locked(self, &SumTree::min); },
          "Smallest positive priority as stored, 0.0 if there is none.")
      .def_property_readonly(
          "max", [](LockedTree& self) { return locked(self, &SumTree::max); },
          "Largest priority as stored, 0.0 if there is none.")
      .def_property_readonly(
          "capacity", [](const LockedTree& self) { return self.tree.capacity(); }, "Number of leaves.")
      .def("__len__", [](LockedTree& self) {
        const std::lock_guard lock(self.mutex);
        return self.tree.num_valid();
      });
}

}  // namespace metarl
