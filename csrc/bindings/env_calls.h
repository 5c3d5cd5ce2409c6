// Errors and signals of the calls into environments.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "metarl/async_env.h"
#include "metarl/batch_env.h"

namespace metarl {

[[noreturn]] inline void raise_package_error(const char* name, const std::string& message) {
  const pybind11::object type = pybind11::module_::import("metarl_core.errors").attr(name);
  PyErr_SetString(type.ptr(), message.c_str());
  throw pybind11::error_already_set();
}

// Runs function; its exceptions that only environments throw become Python's. Returns with the interpreter lock held.
template <class Function>
void translated(const Function& function) {
  try {
    function();
  } catch (const ResetNeeded& e) {
    raise_package_error("ResetNeededError", e.what());
  } catch (const RecvTimeout& e) {
    PyErr_SetString(PyExc_TimeoutError, e.what());
    throw pybind11::error_already_set();
  }
}

inline void poll_signals() {
  const pybind11::gil_scoped_acquire acquire;
  if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
}

}  // namespace metarl
