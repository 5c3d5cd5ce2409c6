#include "bindings/step_arrays.h"

#include <algorithm>

namespace py = pybind11;

namespace metarl {
namespace {

using py::detail::npy_api;

bool native_contiguous(const py::array& array, int extra_flags) {
  const int wanted = npy_api::NPY_ARRAY_C_CONTIGUOUS_ | npy_api::NPY_ARRAY_ALIGNED_ | extra_flags;
  if ((array.flags() & wanted) != wanted) return false;
  const char order = py::detail::array_descriptor_proxy(py::detail::array_proxy(array.ptr())->descr)->byteorder;
  return order == '=' || order == '|';
}

std::string type_text(const py::array& array) { return py::str(array.dtype()).cast<std::string>(); }

bool same_shape(const py::array& array, int ndim, const Py_intptr_t* dims) {
  return array.ndim() == ndim && std::equal(dims, dims + ndim, array.shape());
}

std::string shape_of(const py::array& array) {
  return shape_text(static_cast<int>(array.ndim()), reinterpret_cast<const Py_intptr_t*>(array.shape()));
}

// The action type that a dtype is read as, or false.
bool action_type(const py::array& array, bool discrete, ActionType* type) {
  const char kind = py::detail::array_descriptor_proxy(py::detail::array_proxy(array.ptr())->descr)->kind;
  const auto size = array.itemsize();
  if (discrete && kind == 'i') {
    *type = size == 8   ? ActionType::int64
            : size == 4 ? ActionType::int32
            : size == 2 ? ActionType::int16
                        : ActionType::int8;
    return true;
  }
  if (discrete && kind == 'u') {
    *type = size == 8   ? ActionType::uint64
            : size == 4 ? ActionType::uint32
            : size == 2 ? ActionType::uint16
                        : ActionType::uint8;
    return true;
  }
  if (!discrete && kind == 'f' && (size == 4 || size == 8)) {
    *type = size == 8 ? ActionType::float64 : ActionType::float32;
    return true;
  }
  return false;
}

}  // namespace

std::string shape_text(int ndim, const Py_intptr_t* dims) {
  std::string text = "(";
  for (int i = 0; i < ndim; ++i) text += (i > 0 ? ", " : "") + std::to_string(dims[i]);
  return text + (ndim == 1 ? ",)" : ")");
}

void* checked_output(py::handle object, const char* name, const py::dtype& type, int ndim, const Py_intptr_t* dims) {
  if (!py::isinstance<py::array>(object)) {
    throw py::type_error("out: '" + std::string(name) + "' must be a NumPy array, got " +
                         py::str(py::type::of(object).attr("__name__")).cast<std::string>());
  }
  const auto array = py::reinterpret_borrow<py::array>(object);
  if (array.dtype().num() != type.num()) {
    throw py::type_error("out: '" + std::string(name) + "' expected dtype " + py::str(type).cast<std::string>() +
                         ", got " + type_text(array));
  }
  if (!same_shape(array, ndim, dims)) {
    throw py::value_error("out: '" + std::string(name) + "' expected shape " + shape_text(ndim, dims) + ", got " +
                          shape_of(array));
  }
  if (!native_contiguous(array, npy_api::NPY_ARRAY_WRITEABLE_)) {
    throw py::value_error("out: '" + std::string(name) +
                          "' must be C-contiguous, aligned, writable and in native byte order");
  }
  return const_cast<void*>(array.data());
}

ActionArray checked_actions(py::handle object, bool discrete, int ndim, const Py_intptr_t* dims) {
  ActionArray result;
  if (py::isinstance<py::array>(object)) {
    result.array = py::reinterpret_borrow<py::array>(object);
  } else {
    result.array = py::array::ensure(object);
    if (!result.array) throw py::error_already_set();
    if (!discrete && (result.array.dtype().kind() == 'i' || result.array.dtype().kind() == 'u')) {
      result.array = result.array.attr("astype")("float32");  // a list of Python ints
    }
  }
  if (!same_shape(result.array, ndim, dims)) {
    throw py::value_error("actions: expected shape " + shape_text(ndim, dims) + ", got " + shape_of(result.array));
  }
  if (!action_type(result.array, discrete, &result.type)) {
    throw py::type_error("actions: expected " + std::string(discrete ? "an integer" : "a float32 or float64") +
                         " dtype, got " + type_text(result.array));
  }
  if (!native_contiguous(result.array, 0)) {
    result.array = result.array.attr("astype")(result.array.dtype().attr("newbyteorder")("="), "C");
  }
  return result;
}

}  // namespace metarl
