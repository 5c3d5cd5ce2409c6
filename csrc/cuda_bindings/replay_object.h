// A replay buffer in device memory as Python sees it.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bindings/built.h"
#include "cuda/replay.h"
#include "cuda_bindings/call.h"
#include "cuda_bindings/dlpack.h"

namespace metarl::cuda {

namespace py = pybind11;

struct Column {
  std::string name;
  py::dtype dtype;
  dlpack::DataType code;
  std::vector<std::int64_t> shape;  // of one element
  std::size_t bytes;
};

struct PyDeviceReplay {
  std::vector<Column> columns;
  std::vector<Column> stored;  // what slots hold of them; without links the same
  SamplingMode mode;
  std::int64_t num_envs;
  int task_column = -1;
  std::unique_ptr<Replay> replay;

  Tree& tree() const { return replay->tree(); }
  Device& device() const { return replay->device(); }
};

using Handle = Built<PyDeviceReplay>;

// Freeing device memory waits for the device.
struct ReleaseUnlocked {
  void operator()(PyDeviceReplay* object) const {
    {
      const py::gil_scoped_release released;
      object->replay.reset();
    }
    delete object;
  }
};

using OwnedReplay = std::unique_ptr<PyDeviceReplay, ReleaseUnlocked>;

// From (name, shape, dtype) tuples and options that metarl_core/replay has checked.
OwnedReplay make_replay(const py::sequence& fields, const py::dict& options, py::handle device);

// Adds what is asked about tasks to the buffer's class.
void register_replay_tasks(py::class_<PyDeviceReplay, OwnedReplay>& base);
// The mixture that a draw is given by `task` and `task_weights`, either in host memory or weights on the device; none:
// the tasks do not matter. A long list is copied to the device, which waits.
std::optional<TaskDraw> task_draw_argument(const PyDeviceReplay& self, Call* call, py::handle task,
                                           py::handle task_weights);
// Of a call that failed because of a task.
[[noreturn]] void raise_task_error(const PyDeviceReplay& self, const TreeState& tree, const std::string& call);

// Waits for the device.
Replay::State read_state(const PyDeviceReplay& self);

// The same entries as the CPU buffer's _snapshot, and back.
py::dict snapshot(Handle self);
void restore(Handle self, const py::dict& state);
py::array_t<double> priorities(Handle self);

}  // namespace metarl::cuda
