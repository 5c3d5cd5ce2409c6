#pragma once

#include <pybind11/pybind11.h>

namespace metarl {

void register_async(pybind11::module_& m);
void register_build_info(pybind11::module_& m);
void register_env_library(pybind11::module_& m);
void register_envs(pybind11::module_& m);
void register_floor(pybind11::module_& m);
void register_lanes(pybind11::module_& m);
void register_replay(pybind11::module_& m);
void register_sum_tree(pybind11::module_& m);
void register_weights(pybind11::module_& m);

}  // namespace metarl
