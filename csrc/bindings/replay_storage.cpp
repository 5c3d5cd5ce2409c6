#include "bindings/replay_storage.h"

#include <memory>
#include <string>

#include "bindings/interruptible.h"
#include "bindings/replay_checkpoint.h"
#include "metarl/mapped_files.h"

namespace metarl {
namespace {

struct PyStorageFolder {
  std::shared_ptr<StorageFolder> folder;
};

}  // namespace

void register_replay_storage(py::module_& m, py::class_<PyReplay>& base) {
  py::class_<PyStorageFolder>(m, "StorageFolder")
      .def(py::init([](const py::bytes& path) {
             return std::make_unique<PyStorageFolder>(
                 PyStorageFolder{std::make_shared<StorageFolder>(std::string(path))});
           }),
           py::arg("path"))
      // Gives the folder up; the object cannot be used after that.
      .def("release", [](Built<PyStorageFolder> self) { self->folder.reset(); })
      // The state that was flushed, or None.
      .def("checkpoint", [](Built<PyStorageFolder> self) -> std::unique_ptr<PyCheckpoint> {
        if (!self->folder->has_state()) return nullptr;
        return std::make_unique<PyCheckpoint>(self->folder->state_path(), Saved::all_but_columns);
      });

  base.def(
      "_open",
      [](Built<PyReplay> self, Built<PyStorageFolder> folder, py::object checkpoint, const py::dict& config) {
        const Value value = to_value(config, "config");
        std::atomic<bool> own;
        PyCheckpoint* state = checkpoint.is_none() ? nullptr : &built<PyCheckpoint>(checkpoint.ptr());
        std::atomic<bool>& cancel = state == nullptr ? own : state->cancel();
        run_interruptible(cancel, [&] {
          self->core->open(folder->folder, state == nullptr ? nullptr : &state->reader(), value, poll_of(cancel));
        });
      },
      py::arg("folder"), py::arg("checkpoint"), py::arg("config"));
  base.def(
      "flush",
      [](Built<PyReplay> self) {
        std::atomic<bool> cancel;
        run_interruptible(cancel, [&] { self->core->flush(poll_of(cancel)); });
      },
      R"(Make everything so far durable, in a buffer with ``storage="mmap:FOLDER"``.

Waits until the disk has what was added, and replaces the state beside it (10 to 20 bytes a transition). What comes after
is safe with the next flush. Other threads that use the buffer wait.

Raises:
    OSError: The disk is full or fails. What was flushed before stands, unless the very last step fails, after which
        nothing is sure until a flush succeeds. If columns could not be written, every later flush fails too.
    ValueError: The buffer is in memory.
    ClosedError: After ``close``.)");
  base.def(
      "close",
      [](Built<PyReplay> self) {
        std::atomic<bool> cancel;
        run_interruptible(cancel, [&] { self->core->close(poll_of(cancel)); });
      },
      R"(Flush a buffer that lies in files, and release its columns; further use raises ClosedError.

May be called again. ``with buffer:`` does it at the end. A buffer that is merely garbage collected is not flushed.

Raises:
    OSError: The flush failed; the buffer stays open.)");
}

}  // namespace metarl
