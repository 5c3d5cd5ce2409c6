// Tasks of a replay buffer in device memory at the Python boundary.
#include <pybind11/numpy.h>

#include <vector>

#include "bindings/arrays.h"
#include "bindings/task_mix.h"
#include "cuda_bindings/replay_object.h"

namespace metarl::cuda {
namespace {

std::vector<ReplayTasks::Summary> summaries(const PyDeviceReplay& self) {
  if (!self.replay->has_tasks()) throw py::value_error("the buffer was made without task_field");
  const Stream stream = waiting_stream(py::none(), self.device());
  const py::gil_scoped_release released;
  return self.replay->task_summaries(stream);
}

py::dict task_counts(Handle self) {
  py::dict counts;
  for (const ReplayTasks::Summary& summary : summaries(*self)) counts[py::int_(summary.task)] = summary.count;
  return counts;
}

py::dict task_masses(Handle self) {
  const bool uniform = self->replay->settings().uniform;
  const std::vector<ReplayTasks::Summary> all = summaries(*self);
  const double unit = power_of_two(-read_state(*self).tree.scale_exponent);
  py::dict masses;
  for (const ReplayTasks::Summary& summary : all) {
    masses[py::int_(summary.task)] =
        uniform ? static_cast<double>(summary.count) : static_cast<double>(summary.total) * unit;
  }
  return masses;
}

std::int64_t clear_task(Handle self, py::handle task_object) {
  const int task = task_argument(task_object.ptr(), "task");
  if (!self->replay->has_tasks()) throw py::value_error("the buffer was made without task_field");
  const Stream stream = waiting_stream(py::none(), self->device());
  const py::gil_scoped_release released;
  return self->replay->clear_task(task, stream);
}

bool is_given(py::handle object) { return !object.is_none(); }

}  // namespace

std::optional<TaskDraw> task_draw_argument(const PyDeviceReplay& self, Call* call, py::handle task,
                                           py::handle task_weights) {
  const bool has_tasks = self.replay->has_tasks();
  TaskDraw draw;
  if (has_tasks && !is_given(task) && is_given(task_weights) && is_on_device(task_weights, self.device())) {
    const DeviceView weights = call->input(task_weights, "task_weights", {kFloat32, kFloat64});
    if (weights.size < 1 || weights.size > kMostTasks) {
      throw py::value_error("task_weights has " + std::to_string(weights.size) + " elements; must have 1 to " +
                            std::to_string(kMostTasks));
    }
    if (weights.dtype == kFloat32) {
      draw.short_weights = weights.as<float>();
    } else {
      draw.wide_weights = weights.as<double>();
    }
    draw.num_weights = weights.size;
    return draw;
  }
  const std::optional<TaskMix> mix = task_mix_argument(has_tasks, task.ptr(), task_weights.ptr());
  if (!mix) return std::nullopt;
  draw.balanced = mix->balanced;
  if (draw.balanced) return draw;
  draw.listed = listed_tasks(*mix);
  if (draw.listed.size() <= kMostListed) return draw;
  if (call->is_capturing()) {
    throw std::runtime_error("the stream records a graph, which cannot copy task_weights of " +
                             std::to_string(draw.listed.size()) + " tasks from host memory: at most " +
                             std::to_string(kMostListed) + ", or pass an array of floats on " + self.device().name());
  }
  const std::size_t bytes = draw.listed.size() * sizeof(ListedTask);
  auto* on_device = static_cast<ListedTask*>(call->scratch(bytes, "weights of tasks"));
  const py::gil_scoped_release released;  // it waits for the stream
  self.device().write(on_device, draw.listed.data(), bytes, call->stream());
  draw.uploaded = on_device;
  return draw;
}

void raise_task_error(const PyDeviceReplay& self, const TreeState& tree, const std::string& call) {
  const std::string number = std::to_string(tree.error_index);
  if ((tree.first_error & kErrorTask) != 0) {
    const Column& column = self.columns[static_cast<std::size_t>(self.task_column)];
    const bool wrapped = tree.error_index < 0 && column.dtype.kind() == 'u';
    const std::string row = tree.error_value > 1.0 ? "[" + std::to_string(tree.error_item) + "]" : "";
    throw py::value_error(call + column.name + row + " is " +
                          (wrapped ? std::to_string(static_cast<std::uint64_t>(tree.error_index)) : number) +
                          "; must be in [0, " + std::to_string(kMostTasks - 1) + "]");
  }
  if ((tree.first_error & kErrorShare) != 0) {
    if (tree.error_index < 0) {
      throw py::value_error(call + "task_weights has no weight above 0; at least one must be");
    }
    throw py::value_error(call + "task_weights[" + number + "] is " + text_of(py::float_(tree.error_value)) +
                          "; must be finite and >= 0");
  }
  std::string present;
  for (const ReplayTasks::Summary& summary : summaries(self)) {
    if (present.size() > 100) {
      present += ", ...";
      break;
    }
    present += (present.empty() ? "" : ", ") + std::to_string(summary.task);
  }
  raise_metarl_error("BufferEmptyError",
                     (call + "cannot sample task " + number +
                      ": it had no transitions; tasks present now: " + (present.empty() ? "none" : present))
                         .c_str());
}

void register_replay_tasks(py::class_<PyDeviceReplay, OwnedReplay>& base) {
  base.def("task_counts", &task_counts)
      .def("task_masses", &task_masses)
      .def("clear_task", &clear_task, py::arg("task"));
}

}  // namespace metarl::cuda
