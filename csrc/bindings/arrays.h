// Checks and conversions of arguments at the Python boundary: what passes here satisfies the core's preconditions.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include "metarl/errors.h"

namespace metarl {

namespace py = pybind11;

// Like repr(), in ASCII where UTF-8 cannot hold it.
inline std::string text_of(py::handle object) {
  py::object text = py::repr(object);
  if (PyUnicode_AsUTF8(text.ptr()) == nullptr) {
    PyErr_Clear();
    text = py::reinterpret_steal<py::object>(PyObject_ASCII(object.ptr()));
    if (!text) throw py::error_already_set();
  }
  return py::cast<std::string>(text);
}

// A str in UTF-8, which half of a surrogate pair has no form in.
inline std::string utf8_text(PyObject* text, const char* name) {
  Py_ssize_t size = 0;
  const char* const data = PyUnicode_AsUTF8AndSize(text, &size);
  if (data == nullptr) {
    PyErr_Clear();
    const auto ascii = py::reinterpret_steal<py::object>(PyObject_ASCII(text));
    if (!ascii) throw py::error_already_set();
    throw py::value_error(std::string(name) + " is " + py::cast<std::string>(ascii) +
                          "; must be text that UTF-8 can hold, without lone surrogates");
  }
  return std::string(data, static_cast<std::size_t>(size));
}

inline std::string type_name(py::handle object) { return Py_TYPE(object.ptr())->tp_name; }

inline std::string shape_text(const py::ssize_t* shape, py::ssize_t ndim) {
  std::string text = "(";
  for (py::ssize_t d = 0; d < ndim; ++d) {
    text += std::to_string(shape[d]);
    if (ndim == 1) text += ",";
    if (d + 1 < ndim) text += ", ";
  }
  return text + ")";
}

inline std::string shape_text(const py::array& array) { return shape_text(array.shape(), array.ndim()); }

// Raises one of the classes of metarl_core/errors.py.
[[noreturn]] inline void raise_metarl_error(const char* name, const char* message) {
  const py::object type = py::module_::import("metarl_core.errors").attr(name);
  PyErr_SetString(type.ptr(), message);
  throw py::error_already_set();
}

inline bool is_array(PyObject* object) { return py::isinstance<py::array>(py::handle(object)); }

inline bool is_c_contiguous(const py::array& array) { return (array.flags() & py::array::c_style) != 0; }

// Native byte order, so that the memory can be read as the C++ type of the same kind and size.
inline bool is_native(const py::dtype& dtype) {
  const char order = dtype.byteorder();
  return order == '=' || order == '|';
}

// Calls work(begin, end) for parts of [0, n) with the GIL held, and between them lets signal handlers run: Ctrl-C ends
// a long conversion of arguments. Throws what they raise.
template <typename F>
void in_parts_with_signals(std::int64_t n, std::int64_t part, F&& work) {
  for (std::int64_t begin = 0; begin < n; begin += part) {
    if (begin > 0 && PyErr_CheckSignals() != 0) throw py::error_already_set();
    work(begin, std::min(n, begin + part));
  }
}

// Elements of an argument that are converted at once.
constexpr std::int64_t kConvertedAtOnce = 1 << 20;

// An argument as a dense one-dimensional array of T; a scalar is an array of one.
template <typename T>
struct ArrayArgument {
  py::object owner;  // no py::array: one without a value makes an empty array
  const T* data = nullptr;
  std::int64_t size = 0;
  bool scalar = false;

  std::string shape() const { return scalar ? "()" : "(" + std::to_string(size) + ",)"; }
};

// Any object as an array, with Python's own error if it cannot be one.
inline py::array as_array(PyObject* object) {
  if (is_array(object)) return py::reinterpret_borrow<py::array>(object);
  return py::array(py::reinterpret_borrow<py::object>(object));
}

// Whether an object is an array whose memory can be read as T's as it is.
template <typename T>
bool is_array_of(PyObject* object) {
  constexpr int usable = py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  static const PyObject* const dtype = py::detail::npy_format_descriptor<T>::dtype().release().ptr();
  if (!is_array(object)) return false;
  const auto* array = py::detail::array_proxy(object);
  return array->descr == dtype && (array->flags & usable) == usable;
}

// The argument if it needs no conversion, which is found out faster this way than by converting it.
template <typename T>
bool take_as_it_is(PyObject* object, ArrayArgument<T>* result) {
  if (!is_array_of<T>(object)) return false;
  const auto* array = py::detail::array_proxy(object);
  if (array->nd > 1) return false;
  result->owner = py::reinterpret_borrow<py::object>(object);
  result->data = static_cast<const T*>(static_cast<const void*>(array->data));
  result->scalar = array->nd == 0;
  result->size = result->scalar ? 1 : array->dimensions[0];
  return true;
}

template <typename T>
ArrayArgument<T> dense_argument(const py::array& array, const char* name) {
  if (array.ndim() > 1) {
    throw py::value_error(std::string(name) + " has shape " + shape_text(array) +
                          "; must be a scalar or have one axis");
  }
  ArrayArgument<T> result;
  result.scalar = array.ndim() == 0;
  result.size = array.size();
  const py::dtype dtype = array.dtype();
  constexpr int aligned = py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  constexpr int usable = static_cast<int>(py::array::c_style) | aligned;
  if (py::detail::npy_format_descriptor<T>::dtype().is(dtype) && (array.flags() & usable) == usable) {
    result.owner = array;
  } else if (result.size > kConvertedAtOnce) {
    py::array_t<T> converted(result.size);
    in_parts_with_signals(result.size, kConvertedAtOnce, [&](std::int64_t begin, std::int64_t end) {
      const py::slice part(begin, end, 1);
      converted[part] = array[part];
    });
    result.owner = std::move(converted);
  } else {
    result.owner = py::array_t<T, usable | py::array::forcecast>::ensure(array);
    if (!result.owner) throw py::error_already_set();
  }
  result.data = static_cast<const T*>(static_cast<const void*>(py::detail::array_proxy(result.owner.ptr())->data));
  return result;
}

// Numbers that int64 cannot hold. Raises IndexError.
inline void refuse_large_indices(const py::array& array, const char* name) {
  const auto wide = dense_argument<std::uint64_t>(array, name);
  for (std::int64_t i = 0; i < wide.size; ++i) {
    if (wide.data[i] <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) continue;
    throw py::index_error("index " + std::to_string(wide.data[i]) + " at position " + std::to_string(i) + " of " +
                          name + " is out of range");
  }
}

// Integers, of any width. Raises TypeError for anything else (bool too: it would be taken for a mask).
inline ArrayArgument<std::int64_t> index_argument(PyObject* object, const char* name) {
  ArrayArgument<std::int64_t> result;
  if (take_as_it_is(object, &result)) return result;
  const py::array array = as_array(object);
  const char kind = array.dtype().kind();
  const bool integer = kind == 'i' || kind == 'u';
  if (!integer && !(array.size() == 0 && !is_array(object))) {
    throw py::type_error(std::string(name) + " must be integers, got " + text_of(array.dtype()));
  }
  if (kind == 'u' && array.dtype().itemsize() == 8) refuse_large_indices(array, name);
  return dense_argument<std::int64_t>(array, name);
}

// Real numbers.
template <typename T>
ArrayArgument<T> real_argument(PyObject* object, const char* name) {
  ArrayArgument<T> result;
  if (take_as_it_is(object, &result)) return result;
  const py::array array = as_array(object);
  const char kind = array.dtype().kind();
  if (kind != 'f' && kind != 'i' && kind != 'u') {
    throw py::type_error(std::string(name) + " must be real numbers, got " + text_of(array.dtype()));
  }
  return dense_argument<T>(array, name);
}

template <typename A, typename B>
void check_same_length(const char* a_name, const ArrayArgument<A>& a, const char* b_name, const ArrayArgument<B>& b) {
  if (a.size == b.size) return;
  throw py::value_error(std::string(a_name) + " has shape " + a.shape() + ", " + b_name + " has shape " + b.shape() +
                        "; lengths must be equal");
}

// Whether the indices [begin, end) are in [0, size).
inline bool indices_inside(const ArrayArgument<std::int64_t>& indices, std::int64_t size, std::int64_t begin,
                           std::int64_t end) {
  std::int64_t outside = 0;  // negative if an index or its distance from the end is
  for (std::int64_t i = begin; i < end; ++i) {
    const auto index = static_cast<std::uint64_t>(indices.data[i]);
    outside |= static_cast<std::int64_t>(index | (static_cast<std::uint64_t>(size) - 1 - index));
  }
  return outside >= 0;
}

// Of the elements [begin, end).
inline void check_indices(const ArrayArgument<std::int64_t>& indices, std::int64_t size, std::int64_t begin,
                          std::int64_t end) {
  if (indices_inside(indices, size, begin, end)) return;
  for (std::int64_t i = begin; i < end; ++i) {
    if (indices.data[i] < 0 || indices.data[i] >= size) {
      throw py::index_error("index " + std::to_string(indices.data[i]) + " at position " + std::to_string(i) +
                            " out of range for size " + std::to_string(size));
    }
  }
}

inline void check_indices(const ArrayArgument<std::int64_t>& indices, std::int64_t size) {
  check_indices(indices, size, 0, indices.size);
}

// A Python integer (anything with __index__, bool excepted).
inline std::int64_t integer_argument(PyObject* object, const char* name) {
  if (PyBool_Check(object) || !PyIndex_Check(object)) {
    throw py::type_error(std::string(name) + " must be an integer, got " + type_name(object));
  }
  const py::object number = py::reinterpret_steal<py::object>(PyNumber_Index(object));
  if (!number) throw py::error_already_set();
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(number.ptr(), &overflow);
  if (overflow != 0) throw py::value_error(std::string(name) + " is " + text_of(number) + "; out of range");
  if (value == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set();
  return value;
}

inline std::int64_t positive_argument(PyObject* object, const char* name) {
  const std::int64_t value = integer_argument(object, name);
  if (value < 1) throw py::value_error(std::string(name) + " is " + std::to_string(value) + "; must be >= 1");
  return value;
}

// A number of slots. bytes_each() is a Python integer, for the message when the slots cannot be counted in 64 bits.
template <typename F>
std::int64_t capacity_argument(PyObject* object, F&& bytes_each) {
  if (!PyBool_Check(object) && PyIndex_Check(object) != 0) {
    const py::object number = py::reinterpret_steal<py::object>(PyNumber_Index(object));
    if (!number) throw py::error_already_set();
    int overflow = 0;
    PyLong_AsLongLongAndOverflow(number.ptr(), &overflow);
    if (overflow > 0) {
      const py::object bytes = number * py::object(bytes_each());
      throw OutOfMemoryError("cannot allocate " + text_of(bytes) + " bytes");
    }
  }
  return positive_argument(object, "capacity");
}

// Any Python integer in [0, 2^64).
inline std::uint64_t seed_argument(PyObject* object) {
  if (PyBool_Check(object) || !PyIndex_Check(object)) {
    throw py::type_error("seed must be an integer, got " + type_name(object));
  }
  const py::object number = py::reinterpret_steal<py::object>(PyNumber_Index(object));
  if (!number) throw py::error_already_set();
  const unsigned long long value = PyLong_AsUnsignedLongLong(number.ptr());
  if (value == static_cast<unsigned long long>(-1) && PyErr_Occurred() != nullptr) {
    PyErr_Clear();
    throw py::value_error("seed is " + text_of(number) + "; must be in [0, 2**64)");
  }
  return value;
}

inline double real_number(PyObject* object, const char* name) {
  const double value = PyFloat_AsDouble(object);
  if (value == -1.0 && PyErr_Occurred() != nullptr) {
    if (PyErr_ExceptionMatches(PyExc_OverflowError) != 0) {
      PyErr_Clear();
      throw py::value_error(std::string(name) + " is out of range of float64");
    }
    if (PyErr_ExceptionMatches(PyExc_TypeError) == 0) throw py::error_already_set();
    PyErr_Clear();
    throw py::type_error(std::string(name) + " must be a real number, got " + type_name(object));
  }
  return value;
}

// A new C-contiguous array with undefined content.
inline PyObject* new_array(const py::dtype& dtype, int ndim, const py::ssize_t* shape) {
  auto& api = py::detail::npy_api::get();
  PyObject* descr = dtype.ptr();
  Py_INCREF(descr);
  PyObject* array = api.PyArray_NewFromDescr_(api.PyArray_Type_, descr, ndim, shape, nullptr, nullptr, 0, nullptr);
  if (array == nullptr) throw py::error_already_set();
  return array;
}

}  // namespace metarl
