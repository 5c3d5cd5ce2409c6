// The extension module of the CUDA backend. Importing it starts no driver; the first object does.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings/errors.h"
#include "cuda/device.h"
#include "cuda_bindings/device_array.h"
#include "cuda_bindings/register.h"

namespace py = pybind11;

PYBIND11_MODULE(METARL_CUDA_MODULE, m) {
  m.doc() = "CUDA backend of metarl_core; use it through the package, its interface may change.";
  py::register_local_exception_translator([](std::exception_ptr p) {
    if (p && !metarl::set_python_error(p)) std::rethrow_exception(p);
  });
  m.def(
      "list_devices",
      [] {
        std::string problem;
        const std::vector<std::string> lines = metarl::cuda::list_devices(&problem);
        return std::pair(lines, problem);
      },
      "One line a device, and where there is none the reason. Starts the driver.");
  metarl::cuda::register_device_array(m);
  metarl::cuda::register_tree(m);
  metarl::cuda::register_replay(m);
  metarl::cuda::register_weights(m);
  metarl::cuda::register_env(m);
}
