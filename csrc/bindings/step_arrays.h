// Boundary checks of the arrays that go into and come out of a batch of environments.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>
#include <vector>

#include "metarl/batch_env.h"

namespace metarl {

// "(4, 2)"
std::string shape_text(int ndim, const Py_intptr_t* dims);

// Throws TypeError or ValueError, naming the argument, unless `object` is an array of exactly this type and shape,
// C-contiguous, aligned, native and writable. Returns its data.
void* checked_output(pybind11::handle object, const char* name, const pybind11::dtype& type, int ndim,
                     const Py_intptr_t* dims);

// Actions as contiguous memory of a type the core reads; `array` keeps the memory alive. An array that is already so is
// used in place. Throws TypeError for a type that is not the action space's kind, ValueError for a wrong shape.
struct ActionArray {
  pybind11::array array;
  ActionType type;
};
ActionArray checked_actions(pybind11::handle object, bool discrete, int ndim, const Py_intptr_t* dims);

}  // namespace metarl
