// Arguments of methods that are plain C functions (METH_FASTCALL | METH_KEYWORDS): pybind11's own way costs more than
// what the fastest of them do.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "bindings/arrays.h"

namespace metarl {

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

// Makes such functions, up to the one without a name, methods of a class.
inline void attach(py::handle type, PyMethodDef* methods) {
  for (; methods->ml_name != nullptr; ++methods) {
    const auto descriptor =
        py::reinterpret_steal<py::object>(PyDescr_NewMethod(reinterpret_cast<PyTypeObject*>(type.ptr()), methods));
    if (!descriptor) throw py::error_already_set();
    type.attr(methods->ml_name) = descriptor;
  }
}

}  // namespace metarl
