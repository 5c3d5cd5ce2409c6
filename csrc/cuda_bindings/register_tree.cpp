#include <cmath>
#include <initializer_list>
#include <memory>
#include <string>

#include "bindings/arrays.h"
#include "bindings/built.h"
#include "cuda/tree.h"
#include "cuda_bindings/call.h"
#include "cuda_bindings/register.h"
#include "cuda_bindings/tree_arguments.h"

namespace metarl::cuda {
namespace {

using Handle = Built<Tree>;

// Freeing device memory waits for the device.
struct ReleaseUnlocked {
  void operator()(Tree* tree) const {
    const py::gil_scoped_release released;
    delete tree;
  }
};

std::unique_ptr<Tree, ReleaseUnlocked> make_tree(py::handle capacity, py::handle seed, py::handle device) {
  const std::int64_t leaves = capacity_argument(capacity.ptr(), [] { return py::int_(9); });
  if (leaves > kMaxTreeCapacity) {
    throw OutOfMemoryError("cannot allocate " + std::to_string(leaves) + " leaves; a tree has at most 2**31 - 1");
  }
  const std::uint64_t key = seed_argument(seed.ptr());
  const int number = device_number(device);
  const py::gil_scoped_release released;
  return std::unique_ptr<Tree, ReleaseUnlocked>(new Tree(open_device(number), leaves, key));
}

void set(Handle self, py::handle indices_object, py::handle priorities_object, py::handle stream) {
  Call call(*self, stream);
  const DeviceView indices = call.input(indices_object, "indices", {kInt64});
  const DeviceView priorities = call.input(priorities_object, "priorities", {kFloat32, kFloat64});
  if (indices.size != priorities.size) {
    throw py::value_error("indices has shape (" + std::to_string(indices.size) + ",), priorities has shape (" +
                          std::to_string(priorities.size) + ",); lengths must be equal");
  }
  check_count(indices.size, "indices");
  if (priorities.dtype == kFloat32) {
    self->set(indices.as<std::int64_t>(), priorities.as<float>(), indices.size, call.stream());
  } else {
    self->set(indices.as<std::int64_t>(), priorities.as<double>(), indices.size, call.stream());
  }
  call.done();
}

void invalidate(Handle self, py::handle indices_object, py::handle stream) {
  Call call(*self, stream);
  const DeviceView indices = call.input(indices_object, "indices", {kInt64});
  check_count(indices.size, "indices");
  self->invalidate(indices.as<std::int64_t>(), indices.size, call.stream());
  call.done();
}

py::tuple sample(Handle self, py::handle batch_size, py::handle stratified, py::handle mode, py::handle beta,
                 py::handle normalization, py::handle out, py::handle stream) {
  SampleCall request{};
  request.n = positive_argument(batch_size.ptr(), "batch_size");
  if (request.n > kMostItems) {
    throw py::value_error("batch_size is " + std::to_string(request.n) + "; must be at most 2**31 - 1");
  }
  request.mode = mode_argument(stratified, mode);
  request.normalization = normalization_argument(normalization);
  Call call(*self, stream);
  const bool weigh = !beta.is_none();
  if (weigh) call.read_beta(beta, &request.beta, &request.beta_memory);
  py::object results[3];
  const std::size_t count = weigh ? 3 : 2;
  if (out.is_none()) {
    results[0] = call.result(request.n, "indices", &request.indices);
    results[1] = call.result(request.n, "probabilities", &request.probabilities);
    if (weigh) results[2] = call.result(request.n, "weights", &request.weights);
  } else {
    const auto given = py::isinstance<py::tuple>(out) ? py::reinterpret_borrow<py::tuple>(out) : py::tuple();
    if (given.size() != count) {
      throw py::type_error("out must be a tuple of " + std::to_string(count) + " arrays: indices, probabilities" +
                           (weigh ? ", weights; got " : " without beta; got ") + text_of(out));
    }
    for (std::size_t i = 0; i < count; ++i) results[i] = given[i];
    request.indices = call.output<std::int64_t>(results[0], "out[0]", request.n);
    if (!results[1].is_none()) request.probabilities = call.output<double>(results[1], "out[1]", request.n);
    if (weigh) request.weights = call.output<float>(results[2], "out[2]", request.n);
  }
  self->sample(request, call.stream());
  call.done();
  if (!weigh) return py::make_tuple(results[0], results[1]);
  return py::make_tuple(results[0], results[1], results[2]);
}

py::object find(Handle self, py::handle mass_object, py::handle out, py::handle stream) {
  Call call(*self, stream);
  const DeviceView mass = call.input(mass_object, "mass", {kFloat64});
  check_count(mass.size, "mass");
  std::int64_t* indices = nullptr;
  py::object result = py::reinterpret_borrow<py::object>(out);
  if (out.is_none()) {
    result = call.result(mass.size, "indices", &indices);
  } else {
    indices = call.output<std::int64_t>(out, "out", mass.size);
  }
  self->find(mass.as<double>(), mass.size, indices, call.stream());
  call.done();
  return result;
}

py::object get(Handle self, py::handle indices_object, py::handle out, py::handle stream) {
  Call call(*self, stream);
  const DeviceView indices = call.input(indices_object, "indices", {kInt64});
  check_count(indices.size, "indices");
  double* priorities = nullptr;
  py::object result = py::reinterpret_borrow<py::object>(out);
  if (out.is_none()) {
    result = call.result(indices.size, "priorities", &priorities);
  } else {
    priorities = call.output<double>(out, "out", indices.size);
  }
  self->get(indices.as<std::int64_t>(), indices.size, priorities, call.stream());
  call.done();
  return result;
}

// Waits for the device without Python's lock.
TreeState read_state(Tree& tree) {
  const Stream stream = waiting_stream(py::none(), tree.device());
  const py::gil_scoped_release released;
  return tree.state(stream);
}

void check(Handle self) {
  const TreeState state = read_state(*self);
  if (state.error == 0) return;
  self->clear_error(stream_argument(py::none(), self->device()).stream);
  raise_device_error(state, self->capacity(), "tree");
}

}  // namespace

void register_tree(py::module_& m) {
  py::class_<Tree, std::unique_ptr<Tree, ReleaseUnlocked>>(m, "SumTree", py::module_local(),
                                                           R"(``metarl_core.SumTree`` in a GPU's memory.

Equal calls and seeds give the CPU tree's bits. Arguments are arrays on the device with ``__dlpack__`` or
``__cuda_array_interface__`` (torch, CuPy, JAX, ...), results are ``DeviceArray`` objects, or what is passed as ``out``.

``set``, ``invalidate``, ``sample``, ``find`` and ``get`` hand their work to a stream and return: they neither wait nor read
back, and with ``out`` they allocate nothing, so a CUDA graph can record them; each replay draws anew. What is wrong with the
content of arguments is found on the device and raised by ``check()``. A call on another stream than the last one waits for it;
for graphs, their replays and the calls around them must be put in order by the caller.

``stream`` is an integer such as torch's ``stream.cuda_stream``; by default torch's current stream if torch uses CUDA, else
the legacy default stream. Arguments must be ready on that stream, or their library makes it wait (as torch does).

Args:
    capacity: Number of leaves, 1 ... 2**31 - 1. Memory: 8.4 bytes a leaf, allocated here.
    seed: Key of the random numbers, in [0, 2**64).
    device: Number of the GPU.

Raises:
    ValueError: ``capacity`` is below 1 or ``seed`` out of range.
    MemoryError: The tree does not fit; the message states bytes and device.
    RuntimeError: There is no such device.)")
      .def(py::init(&make_tree), py::arg("capacity"), py::arg("seed") = 0, py::arg("device") = 0)
      .def("set", &set, py::arg("indices"), py::arg("priorities"), py::kw_only(), py::arg("stream") = py::none(),
           R"(Set the priorities of leaves, which become valid.

Args:
    indices: int64 on the device, in [0, capacity), shape (B,). The last of equal ones wins.
    priorities: float32 or float64 on the device, finite and >= 0, shape (B,).
    stream: Where the work is done.

Raises:
    TypeError: An argument is not an array of such a dtype on this device.
    ValueError: The lengths differ, or an array has gaps.

A bad index or priority leaves the tree unchanged; ``check()`` raises it.)")
      .def("update", &set, py::arg("indices"), py::arg("priorities"), py::kw_only(), py::arg("stream") = py::none(),
           "The same as ``set``.")
      .def("invalidate", &invalidate, py::arg("indices"), py::kw_only(), py::arg("stream") = py::none(),
           R"(Give leaves the priority 0; they are not valid any more, and no draw finds them.

Args:
    indices: int64 on the device, in [0, capacity), shape (B,).
    stream: Where the work is done.)")
      .def("sample", &sample, py::arg("batch_size"), py::arg("stratified") = true, py::arg("mode") = py::none(),
           py::kw_only(), py::arg("beta") = py::none(), py::arg("normalization") = "max", py::arg("out") = py::none(),
           py::arg("stream") = py::none(),
           R"(Draw leaves with probability priority / total, and weigh them in the same call.

Args:
    batch_size: Number of draws B >= 1.
    stratified: Draw number i comes from the i-th of B equal slices of the total. Otherwise the draws are independent.
    mode: "stratified", "iid" or "uniform", in place of ``stratified``.
    beta: Exponent of importance weights (N * P_i)^-beta: a number, or an array of one float64 on the device, which is read
        when the work is done, so that a replayed graph follows a schedule. None: no weights.
    normalization: "max", "batch_max", "sum" or "none", as in ``importance_weights``.
    out: A tuple of arrays on the device to be written in place of new ones: indices int64, probabilities float64 or None
        (left out), and with ``beta`` weights float32, each of shape (B,).
    stream: Where the work is done.

Returns:
    Indices, probabilities, and with ``beta`` weights. From a tree without valid leaves: zeros; ``check()`` raises it.

Raises:
    ValueError: ``batch_size`` is below 1, ``mode`` or ``normalization`` unknown, ``beta`` negative or not finite.
    TypeError: ``out`` or ``beta`` are not such arrays.
    RuntimeError: ``out`` is missing while the stream records a graph.)")
      .def("find", &find, py::arg("mass"), py::kw_only(), py::arg("out") = py::none(), py::arg("stream") = py::none(),
           R"(Return the leaves that contain prefix masses: the smallest i with sum(priorities[: i + 1]) > mass.

Args:
    mass: float64 on the device, in [0, total), shape (B,). Others find leaf 0; ``check()`` raises them.
    out: int64 of shape (B,) to be written.
    stream: Where the work is done.)")
      .def("get", &get, py::arg("indices"), py::kw_only(), py::arg("out") = py::none(), py::arg("stream") = py::none(),
           R"(Return the priorities as stored, float64 of shape (B,).

Args:
    indices: int64 on the device, in [0, capacity), shape (B,). Others read 0; ``check()`` raises them.
    out: float64 of shape (B,) to be written.
    stream: Where the work is done.)")
      .def("check", &check,
           R"(Wait for the calls so far and raise the first error that one of them found; it is forgotten then.

Raises:
    IndexError: An index was out of range.
    ValueError: A priority, mass or beta was out of range.
    BufferEmptyError: A sample of a tree without valid leaves.)")
      .def_property_readonly(
          "total", [](Handle self) { return state_total(read_state(*self)); },
          "Sum of the priorities as stored; waits for the device.")
      .def_property_readonly(
          "min", [](Handle self) { return state_min(read_state(*self)); },
          "Smallest positive priority as stored, 0.0 if there is none; waits for the device.")
      .def_property_readonly(
          "max", [](Handle self) { return state_max(read_state(*self)); },
          "Largest priority as stored, 0.0 if there is none; waits for the device.")
      .def_property_readonly(
          "capacity", [](Handle self) { return self->capacity(); }, "Number of leaves.")
      .def_property_readonly(
          "nbytes", [](Handle self) { return self->num_bytes(); }, "Bytes of device memory.")
      .def_property_readonly(
          "device", [](Handle self) { return self->device().name(); }, "Where the tree lies: \"cuda:0\".")
      .def("__len__", [](Handle self) { return read_state(*self).num_valid; });
}

}  // namespace metarl::cuda
