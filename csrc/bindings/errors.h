// Exceptions of the core as Python exceptions, for pybind11 functions and for plain C functions alike.
#pragma once

#include <pybind11/pybind11.h>

namespace metarl {

// Rethrows `failure` and sets the matching Python error if it is one of metarl/errors.h; returns false otherwise.
bool set_python_error(std::exception_ptr failure);

// Runs a function that returns a new reference; an exception becomes a Python error and nullptr.
template <typename F>
PyObject* guarded(F&& f) noexcept {
  try {
    return f();
  } catch (pybind11::error_already_set& e) {
    e.restore();
  } catch (const pybind11::builtin_exception& e) {
    e.set_error();
  } catch (const std::out_of_range& e) {
    PyErr_SetString(PyExc_IndexError, e.what());
  } catch (const std::invalid_argument& e) {
    PyErr_SetString(PyExc_ValueError, e.what());
  } catch (const std::bad_alloc&) {
    if (!set_python_error(std::current_exception())) PyErr_NoMemory();
  } catch (const std::exception& e) {
    if (!set_python_error(std::current_exception())) PyErr_SetString(PyExc_RuntimeError, e.what());
  }
  return nullptr;
}

}  // namespace metarl
