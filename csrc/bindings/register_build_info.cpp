#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "bindings/register.h"
#include "metarl/cpu_count.h"
#include "metarl/isa.h"

namespace py = pybind11;

namespace metarl {
namespace {

std::string compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#elif defined(__GNUC__)
  return "gcc " __VERSION__;
#elif defined(_MSC_VER)
  return "msvc " + std::to_string(_MSC_FULL_VER);
#else
  return "unknown";
#endif
}

py::dict build_info() {
  std::vector<std::string> levels;
  for (const Isa level : compiled_isa_levels()) levels.emplace_back(isa_name(level));
  py::dict info;
  info["version"] = METARL_VERSION;
  info["compiler"] = compiler();
  info["isa_levels"] = levels;
  info["isa_active"] = isa_name(active_isa());
  info["num_threads"] = available_cpus();
  info["cuda_built"] = METARL_CUDA_BUILT != 0;
  info["cuda_devices"] = py::list();
  return info;
}

}  // namespace

void register_build_info(py::module_& m) { m.def("build_info", &build_info); }

}  // namespace metarl
