#pragma once

#include <pybind11/pybind11.h>

namespace metarl::cuda {

void register_replay(pybind11::module_& m);
void register_tree(pybind11::module_& m);
void register_weights(pybind11::module_& m);
void register_env(pybind11::module_& m);

}  // namespace metarl::cuda
