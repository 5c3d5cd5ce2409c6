// Checkpoints of replay buffers as Python sees them.
#pragma once

#include <pybind11/pybind11.h>

#include <atomic>
#include <memory>
#include <string>

#include "bindings/replay_object.h"
#include "metarl/checkpoint_file.h"
#include "metarl/replay_state.h"

namespace metarl {

// An open checkpoint: its head is read and checked, its arrays are not yet.
class PyCheckpoint {
 public:
  explicit PyCheckpoint(const std::string& path, Saved saved = Saved::all);
  explicit PyCheckpoint(py::bytes data);

  const CheckpointReader& reader() const { return *reader_; }
  std::atomic<bool>& cancel() { return cancel_; }
  py::object config() const;
  // The extents of an array in the file, or None if it has none of that name.
  py::object section_shape(const std::string& name) const;

 private:
  void open(std::string name);
  Saved saved_;
  py::bytes owner_;
  std::unique_ptr<ByteSource> source_;
  std::unique_ptr<CheckpointReader> reader_;
  std::atomic<bool> cancel_{false};
};

// Both directions between header values and None, bool, int, float, str, list (or tuple) and dict.
py::object to_python(const Value& value);
Value to_value(py::handle object, const std::string& name);

void save_checkpoint(Built<PyReplay> self, const std::string& path, const py::dict& config);
py::bytes checkpoint_bytes(Built<PyReplay> self, const py::dict& config);
void load_checkpoint(Built<PyReplay> self, Built<PyCheckpoint> checkpoint);

void register_checkpoint(py::module_& m);

}  // namespace metarl
