// The extension module: one register_* function per area, each in a file of its own.
#include <pybind11/pybind11.h>

#include "bindings/gil.h"
#include "bindings/register.h"
#include "metarl/isa.h"

PYBIND11_MODULE(_core, m) {
  m.doc() = "C++ core of metarl_core; use it through the package, its interface may change.";
  metarl::active_isa();  // fail at import, not at first use, when METARL_ISA is wrong
  metarl::watch_core_locks();
  metarl::register_build_info(m);
  metarl::register_async(m);
  metarl::register_envs(m);
  metarl::register_env_library(m);
  metarl::register_floor(m);
  metarl::register_sum_tree(m);
  metarl::register_weights(m);
  metarl::register_replay(m);
  metarl::register_lanes(m);
}
