#include "bindings/errors.h"

#include <cerrno>

#include "metarl/errors.h"
#include "metarl/mapped_files.h"

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
  } catch (const ClosedError& e) {
    set_error("ClosedError", e.what());
  } catch (const OutOfMemoryError& e) {
    PyErr_SetString(PyExc_MemoryError, e.what());
  } catch (const CheckpointFormatError& e) {
    set_error("CheckpointFormatError", e.what());
  } catch (const CheckpointVersionError& e) {
    set_error("CheckpointVersionError", e.what());
  } catch (const CheckpointCorruptError& e) {
    set_error("CheckpointCorruptError", e.what());
  } catch (const CheckpointMismatchError& e) {
    set_error("CheckpointMismatchError", e.what());
  } catch (const StorageInUseError& e) {
    set_error("StorageInUseError", e.what());
  } catch (const FileError& e) {
    errno = e.code;  // chooses the class: FileNotFoundError, PermissionError, ...
    PyErr_SetFromErrnoWithFilename(PyExc_OSError, e.path.c_str());
  } catch (...) {
    return false;
  }
  return true;
}

}  // namespace metarl
