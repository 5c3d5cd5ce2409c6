#include <memory>

#include "bindings/arrays.h"
#include "bindings/call_arguments.h"
#include "bindings/errors.h"
#include "bindings/register.h"
#include "bindings/replay_checkpoint.h"
#include "bindings/replay_object.h"
#include "bindings/replay_options.h"
#include "bindings/replay_storage.h"
#include "bindings/replay_tasks.h"

namespace metarl {
void register_replay(py::module_& m) {
  py::register_exception_translator([](std::exception_ptr p) {
    if (p && !set_python_error(p)) std::rethrow_exception(p);
  });

  register_checkpoint(m);

  auto base = py::class_<PyReplay>(m, "ReplayBufferBase")
                  .def_property_readonly(
                      "capacity", [](Built<PyReplay> self) { return self->core->capacity(); }, "Number of slots.")
                  .def_property_readonly(
                      "seed", [](Built<PyReplay> self) { return self->core->seed(); }, "Key of the random numbers.")
                  .def_property_readonly(
                      "bytes_per_transition", [](Built<PyReplay> self) { return self->core->bytes_per_transition(); },
                      "Bytes of memory a slot takes, index structures included.")
                  .def("__len__", [](Built<PyReplay> self) { return with_core([&] { return self->core->size(); }); })
                  .def(
                      "clear", [](Built<PyReplay> self) { without_gil(true, [&] { self->core->clear(); }); },
                      "Forget all transitions; the random stream goes on.")
                  .def("_links", [](Built<PyReplay> self) { return describe_links(self->core->options()); })
                  .def("_snapshot", &snapshot)
                  .def("_restore", &restore, py::arg("state"))
                  .def("_save", &save_checkpoint, py::arg("path"), py::arg("config"))
                  .def("_to_bytes", &checkpoint_bytes, py::arg("config"))
                  .def("_load_checkpoint", &load_checkpoint, py::arg("checkpoint"));
  attach(base, kReplayMethods);
  register_replay_tasks(base);
  register_replay_storage(m, base);

  py::class_<PyUniformReplay, PyReplay>(m, "UniformReplayBase")
      .def(py::init(
               [](const py::sequence& fields, const py::dict& options, py::object batch_type, py::object structure) {
                 auto self = std::make_unique<PyUniformReplay>(parse_columns(fields), std::move(batch_type));
                 self->core = std::make_unique<ReplayBuffer>(parse_replay_options(options, self->columns));
                 self->structure = std::move(structure);
                 self->describe_samples();
                 return self;
               }),
           py::arg("fields"), py::arg("options"), py::arg("batch_type"), py::arg("structure"));

  auto prioritized =
      py::class_<PyPrioritizedReplay, PyReplay>(m, "PrioritizedReplayBase")
          .def(py::init([](const py::sequence& fields, const py::dict& options, py::object batch_type,
                           py::object structure) {
                 auto self = std::make_unique<PyPrioritizedReplay>(parse_columns(fields), std::move(batch_type));
                 self->set_beta(py::object(options["beta"]));
                 self->mode = flag_argument(py::object(options["stratified"]).ptr(), "stratified")
                                  ? SamplingMode::stratified
                                  : SamplingMode::independent;
                 auto core = std::make_unique<PrioritizedReplayBuffer>(parse_replay_options(options, self->columns),
                                                                       parse_prioritized_options(options));
                 self->prioritized = core.get();
                 self->core = std::move(core);
                 self->structure = std::move(structure);
                 self->describe_samples();
                 return self;
               }),
               py::arg("fields"), py::arg("options"), py::arg("batch_type"), py::arg("structure"))
          .def_property_readonly(
              "alpha", [](Built<PyPrioritizedReplay> self) { return self->prioritized->prioritized_options().alpha; },
              "Exponent of the priorities.")
          .def_property(
              "beta", [](Built<PyPrioritizedReplay> self) { return self->current_beta(); },
              [](Built<PyPrioritizedReplay> self, py::handle beta) { self->set_beta(beta); },
              "Exponent of the importance weights of the next batch, unless sample() is given another. May "
              "be set to a\n"
              "number or to a function of the number of batches sampled so far.")
          .def_property_readonly("_beta",
                                 [](Built<PyPrioritizedReplay> self) -> py::object {
                                   if (self->beta_schedule) return self->beta_schedule;
                                   return py::float_(self->beta);
                                 })
          .def_property_readonly(
              "eps", [](Built<PyPrioritizedReplay> self) { return self->prioritized->prioritized_options().eps; },
              "Smallest priority (float32).")
          .def_property_readonly(
              "max_priority",
              [](Built<PyPrioritizedReplay> self) -> py::object {
                const float limit = self->prioritized->prioritized_options().max_priority;
                if (limit == std::numeric_limits<float>::max()) return py::none();
                return py::float_(limit);
              },
              "Largest priority (float32), or None.")
          .def_property_readonly(
              "stratified", [](Built<PyPrioritizedReplay> self) { return self->mode == SamplingMode::stratified; },
              "Whether batches are stratified.")
          .def_property_readonly(
              "weight_normalization",
              [](Built<PyPrioritizedReplay> self) {
                return weight_normalization_name(self->prioritized->prioritized_options().weight_normalization);
              },
              "What the importance weights are divided by.")
          .def_property_readonly(
              "stale_updates",
              [](Built<PyPrioritizedReplay> self) {
                return with_core([&] { return self->prioritized->stale_updates(); });
              },
              "Priority updates skipped so far because their slot had been overwritten.")
          .def_property_readonly(
              "running_max_priority",
              [](Built<PyPrioritizedReplay> self) {
                return with_core([&] { return self->prioritized->running_max(); });
              },
              "Raw priority that new transitions get.")
          .def("priorities", &priorities, py::arg("indices") = py::none(),
               R"(Return raw priorities p, before the exponent alpha.

Args:
    indices: Slots, shape (B,); all filled ones by default.

Returns:
    float64 of shape (B,); every value is a float32 number.

Raises:
    IndexError: A slot was never written: it is outside [0, number of slots written).)");
}

}  // namespace metarl
