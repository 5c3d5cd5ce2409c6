// A batch of environments as plain data, for the module that keeps such batches in a GPU's memory: what is told of the
// environment, and its arrays. Made of Python's and NumPy's objects, as the modules share no symbols.
#pragma once

#include <pybind11/pybind11.h>

#include "metarl/batch_env.h"

namespace metarl {

pybind11::dict describe_env(const BatchEnv& env);
// Copies, uint8 of one axis, by name.
pybind11::dict read_env_arrays(const BatchEnv& env);
// What read_env_arrays gave. Throws as BatchEnv::set_arrays.
void write_env_arrays(BatchEnv& env, const pybind11::dict& arrays, bool ready);

}  // namespace metarl
