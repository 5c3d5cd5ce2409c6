#include "bindings/errors.h"

#include "metarl/errors.h"

namespace py = pybind11;

namespace metarl {
namespace {

void set_error(const char* name, const char* message) {
  try {
    PyErr_SetString(py::module_::import("metarl_core.errors").attr(name).ptr(), message);
  } catch (py::error_already_set& e) {
    e.restore();
  }
}

}  // namespace

bool set_python_error(std::exception_ptr failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const BufferEmptyError& e) {
    set_error("BufferEmptyError", e.what());
  } catch (const StaleIndexError& e) {
    set_error("StaleIndexError", e.what());
  } catch (const OutOfMemoryError& e) {
    PyErr_SetString(PyExc_MemoryError, e.what());
  } catch (...) {
    return false;
  }
  return true;
}

}  // namespace metarl
