// Batches of environments in device memory, for metarl_core/vector/device_env.py, which has the public interface.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/built.h"
#include "cuda/env.h"
#include "cuda/open_env_library.h"
#include "cuda_bindings/call.h"
#include "cuda_bindings/env_arguments.h"
#include "cuda_bindings/register.h"

namespace metarl::cuda {
namespace {

constexpr dlpack::DataType kBool{dlpack::kBool, 8, 1};
constexpr dlpack::DataType kUint8{dlpack::kUint, 8, 1};
constexpr dlpack::DataType kInt8{dlpack::kInt, 8, 1};

using Shape = std::vector<std::int64_t>;
std::int64_t size_of(const Shape& shape) {
  std::int64_t size = 1;
  for (const std::int64_t extent : shape) size *= extent;
  return size;
}

Shape joined(std::initializer_list<Shape> parts) {
  Shape shape;
  for (const Shape& part : parts) shape.insert(shape.end(), part.begin(), part.end());
  return shape;
}

// Rows to seed: their numbers, seeds and streams.
using Seeding =
    std::tuple<py::array_t<std::int64_t, py::array::c_style>, py::array_t<std::uint64_t, py::array::c_style>,
               py::array_t<std::uint32_t, py::array::c_style>>;

class PyEnv {
 public:
  PyEnv(const py::dict& told, const py::dict& arrays, int device)
      : obs_shape_(py::cast<Shape>(told["obs_shape"])),
        action_shape_(py::cast<Shape>(told["action_shape"])),
        obs_type_(dtype_named(py::cast<std::string>(told["obs_type"]))),
        has_prob_(py::cast<bool>(told["has_prob"])) {
    EnvDescription description = env_description(told);
    if (size_of(obs_shape_) * bytes_of(obs_type_) != description.obs_row_bytes) {
      throw py::value_error("obs_shape does not fit obs_size");
    }
    const HostArrays copies = host_arrays(arrays);
    const py::gil_scoped_release released;
    env_ = std::make_unique<Env>(open_device(device), std::move(description), copies);
    captured_ = false;
  }
  ~PyEnv() {
    // Freeing device memory waits for the device.
    const py::gil_scoped_release released;
    env_.reset();
  }
  PyEnv(const PyEnv&) = delete;
  PyEnv& operator=(const PyEnv&) = delete;

  Env& env() const {
    if (env_ == nullptr) raise_metarl_error("ClosedError", "this environment was closed");
    return *env_;
  }
  void close() {
    own_obs_ = py::none();
    const py::gil_scoped_release released;
    env_.reset();
  }
  bool closed() const { return env_ == nullptr; }

  // mask: a bool NumPy array, which is copied, or bool or uint8 on the device; None: all rows. seeding: of these rows,
  // those in the mask. Returns what was written, by name: obs, and what there is of action_mask and task_id.
  py::dict reset(py::handle mask, const std::optional<Seeding>& seeding, py::handle out, py::handle stream) {
    Env& env = this->env();
    if (!mask.is_none() && !env.is_ready()) {
      raise_metarl_error("ResetNeededError", "reset every environment once before resetting some of them");
    }
    Call call(env.timeline(), env.pool(), stream);
    note_graph(call);
    EnvCall request{};
    const std::int64_t n = env.description().num_envs;
    std::shared_ptr<void> copied;
    if (py::isinstance<py::array>(mask)) {
      const auto flags = py::cast<py::array_t<bool, py::array::c_style>>(mask);
      if (flags.ndim() != 1 || flags.size() != n) throw py::value_error("mask: wrong shape");
      refuse_copy(call, "the mask");
      copied = env.pool().take(static_cast<std::size_t>(n), call.stream(), "a mask");
      env.timeline()->follow(call.stream());
      env.device().write(copied.get(), flags.data(), static_cast<std::size_t>(n), call.stream());
      request.mask = static_cast<const std::uint8_t*>(copied.get());
    } else if (!mask.is_none()) {
      request.mask = call.shaped(mask, "options['reset_mask']", {kBool, kUint8}, {n}).as<std::uint8_t>();
    }
    Outputs outputs(call, out);
    request.batch.obs = outputs.required("obs", obs_type_, joined({{n}, obs_shape_}));
    add_told(outputs, request, {n});
    if (seeding) {
      refuse_copy(call, "seeds");
      const auto& [rows, seeds, streams] = *seeding;
      check_seeding(rows, seeds, streams, n);
      env.seed(rows.data(), seeds.data(), streams.data(), rows.size(), request.mask, call.stream());
    }
    env.reset(request, call.stream());
    if (mask.is_none()) env.set_ready(true);
    holds_last_ = false;
    call.done();
    return outputs.given();
  }

  py::object observe(py::handle stream) {
    Call call(env().timeline(), env().pool(), stream);
    void* obs = nullptr;
    py::object result =
        call.result(obs_type_, joined({{env().description().num_envs}, obs_shape_}), "observations", &obs);
    env().observe(obs, call.stream());
    call.done();
    return result;
  }

  // out: arrays by name, of which obs, reward, terminated and truncated must be there; None: new ones of all that there
  // is. Returns what was written, by name.
  py::dict step(py::handle actions, py::handle out, py::handle stream) {
    Env& env = this->env();
    if (!env.is_ready()) raise_metarl_error("ResetNeededError", "reset must be called before step");
    Call call(env.timeline(), env.pool(), stream);
    note_graph(call);
    const std::int64_t n = env.description().num_envs;
    EnvCall request{};
    set_actions(call, request, actions, joined({{n}, action_shape_}));
    Outputs outputs(call, out);
    EnvBatch& b = request.batch;
    b.obs = outputs.required("obs", obs_type_, joined({{n}, obs_shape_}));
    b.reward = static_cast<double*>(outputs.required("reward", kFloat64, {n}));
    b.terminated = flags(outputs.required("terminated", kBool, {n}));
    b.truncated = flags(outputs.required("truncated", kBool, {n}));
    if (b.terminated == b.truncated) {
      throw py::value_error("out: 'terminated' and 'truncated' must be different arrays");
    }
    if (has_prob_) b.prob = static_cast<double*>(outputs.optional("prob", kFloat64, {n}));
    if (is_same_step()) {
      b.final_obs = outputs.optional("final_obs", obs_type_, joined({{n}, obs_shape_}));
      b.ended = flags(outputs.optional("_final_obs", kBool, {n}));
      if (out.is_none()) {
        env.device().start_zeros(b.final_obs, static_cast<std::size_t>(n * env.description().obs_row_bytes),
                                 call.stream());
      }
      if (b.final_obs == nullptr)
        outputs.add("final_obs", own_array("final_obs", joined({{n}, obs_shape_}), obs_type_));
      if (b.ended == nullptr) outputs.add("_final_obs", own_array("ended", {n}, kBool));
    }
    add_told(outputs, request, {n});
    const bool own = !out.is_none() && py::object(outputs.given()["obs"]).is(own_obs_) && !captured_;
    b.obs_holds_last = own && holds_last_;
    request.keeps_obs = own;
    env.step(request, call.stream());
    holds_last_ = own;
    call.done();
    return outputs.given();
  }

  // Steps [begin, end) of arrays of `steps` steps; actions of that many, or None: drawn, from [low, high] if they are
  // continuous. out: arrays by name, or None: new ones. Returns what was written, by name.
  py::dict rollout(py::handle actions, std::int64_t steps, std::int64_t begin, std::int64_t end, double low,
                   double high, py::handle out, py::handle stream) {
    Env& env = this->env();
    if (!env.is_ready()) raise_metarl_error("ResetNeededError", "reset must be called before step");
    if (begin < 0 || begin >= end || end > steps) throw py::value_error("steps out of range");
    Call call(env.timeline(), env.pool(), stream);
    note_graph(call);
    const std::int64_t n = env.description().num_envs;
    EnvCall request{};
    request.begin = begin;
    request.end = end;
    request.actions.low = low;
    request.actions.high = high;
    if (!actions.is_none()) set_actions(call, request, actions, joined({{end - begin, n}, action_shape_}));
    Outputs outputs(call, out);
    add_rollout(call, outputs, request, steps);
    env.rollout(request, call.stream());
    holds_last_ = false;
    call.done();
    return outputs.given();
  }

  // Buffers for step that it may update in place of writing them anew; see EnvBatch::obs_holds_last.
  py::dict make_buffers(py::handle stream) {
    Call call(env().timeline(), env().pool(), stream);
    const std::int64_t n = env().description().num_envs;
    Outputs outputs(call, py::none());
    outputs.required("obs", obs_type_, joined({{n}, obs_shape_}));
    outputs.required("reward", kFloat64, {n});
    outputs.required("terminated", kBool, {n});
    outputs.required("truncated", kBool, {n});
    own_obs_ = outputs.given()["obs"];
    holds_last_ = false;
    return outputs.given();
  }

  // New arrays for rollout.
  py::dict make_rollout_buffers(std::int64_t steps, py::handle stream) {
    Call call(env().timeline(), env().pool(), stream);
    Outputs outputs(call, py::none());
    EnvCall request{};
    add_rollout(call, outputs, request, steps);
    return outputs.given();
  }

  // An array of the batch itself, which later calls write: "final_obs", "ended" or "end_flag".
  py::object batch_array(const std::string& name) {
    const std::int64_t n = env().description().num_envs;
    if (env().array(name) == nullptr) return py::none();
    if (name == "final_obs") return own_array(name, joined({{n}, obs_shape_}), obs_type_);
    if (name != "ended" && name != "end_flag") throw py::value_error("there is no array '" + name + "' to look at");
    return own_array(name, {n}, kBool);
  }

  py::dict read_arrays() {
    Env& env = this->env();
    const Stream stream = waiting_stream(py::none(), env.device());
    HostArrays arrays;
    {
      const py::gil_scoped_release released;
      arrays = env.read_arrays(stream);
    }
    return numpy_arrays(arrays);
  }
  void write_arrays(const py::dict& arrays, bool ready) {
    Env& env = this->env();
    env.write_arrays(host_arrays(arrays), waiting_stream(py::none(), env.device()));
    env.set_ready(ready);
    holds_last_ = false;
  }

  void check() {
    Env& env = this->env();
    const Stream stream = waiting_stream(py::none(), env.device());
    EnvStatus status{};
    {
      const py::gil_scoped_release released;
      status = env.status(stream);
    }
    if (status.error == 0) return;
    env.clear_error(stream);
    raise_device_error(status, env.description());
  }

 private:
  // Results by name: new ones, or the caller's.
  class Outputs {
   public:
    Outputs(Call& call, py::handle out) : call_(call), new_(out.is_none()) {
      if (new_) return;
      if (!py::isinstance<py::dict>(out)) throw py::type_error("out must be a dict of arrays by name");
      out_ = py::reinterpret_borrow<py::dict>(out);
    }
    void* required(const char* name, dlpack::DataType dtype, const Shape& shape) {
      if (!new_ && !out_.contains(name)) throw py::key_error("out: '" + std::string(name) + "' is missing");
      return optional(name, dtype, shape);
    }
    // Null: the caller gives none.
    void* optional(const char* name, dlpack::DataType dtype, const Shape& shape) {
      void* data = nullptr;
      if (new_) {
        given_[name] = call_.result(dtype, shape, name, &data);
      } else if (out_.contains(name) && !out_[name].is_none()) {
        const std::string place = std::string("out['") + name + "']";
        std::vector<dlpack::DataType> dtypes = {dtype};
        if (dtype == kBool) dtypes.push_back(kUint8);  // for libraries whose bools DLPack cannot name
        data = call_.shaped(out_[name], place, dtypes, shape, Access::write).data;
        given_[name] = out_[name];
      }
      return data;
    }
    void add(const char* name, py::object array) { given_[name] = std::move(array); }
    py::dict& given() { return given_; }
    bool are_new() const { return new_; }

   private:
    Call& call_;
    bool new_;
    py::dict out_;
    py::dict given_;
  };

  static std::uint8_t* flags(void* data) { return static_cast<std::uint8_t*>(data); }
  bool is_same_step() const { return env_->description().mode == AutoresetMode::same_step; }

  void add_rollout(const Call& call, Outputs& outputs, EnvCall& request, std::int64_t steps) {
    const Env& env = *env_;
    const std::int64_t n = env.description().num_envs;
    RolloutOutputs& o = request.out;
    o.obs = outputs.required("obs", obs_type_, joined({{steps + 1, n}, obs_shape_}));
    o.actions = outputs.required("actions", env.description().num_actions > 0 ? kInt64 : kFloat32,
                                 joined({{steps, n}, action_shape_}));
    o.reward = static_cast<double*>(outputs.required("reward", kFloat64, {steps, n}));
    o.terminated = flags(outputs.required("terminated", kBool, {steps, n}));
    o.truncated = flags(outputs.required("truncated", kBool, {steps, n}));
    o.valid = flags(outputs.required("valid", kBool, {steps, n}));
    if (o.terminated == o.truncated || o.terminated == o.valid || o.truncated == o.valid) {
      throw py::value_error("out: 'terminated', 'truncated' and 'valid' must be different arrays");
    }
    if (has_prob_) o.prob = static_cast<double*>(outputs.optional("prob", kFloat64, {steps, n}));
    if (is_same_step()) {
      o.final_obs = outputs.required("final_obs", obs_type_, joined({{steps, n}, obs_shape_}));
      if (outputs.are_new()) {
        env.device().start_zeros(o.final_obs, static_cast<std::size_t>(steps * n * env.description().obs_row_bytes),
                                 call.stream());
      }
    }
    if (env.array("end_flag") != nullptr) o.end_flag = flags(outputs.optional("bad_episode", kBool, {steps, n}));
    add_told(outputs, request, {steps + 1, n});
  }

  // Action masks and tasks, of rows or of rows at several times.
  void add_told(Outputs& outputs, EnvCall& request, Shape shape) {
    const Env& env = *env_;
    if (env.has_tasks()) {
      request.out.task_id = static_cast<std::int64_t*>(outputs.optional("task_id", kInt64, shape));
    }
    if (env.description().action_masks.empty()) return;
    shape.push_back(env.description().num_actions);
    request.masks = static_cast<std::int8_t*>(outputs.optional("action_mask", kInt8, shape));
  }

  void set_actions(Call& call, EnvCall& request, py::handle actions, const Shape& shape) {
    static const struct {
      dlpack::DataType dtype;
      ActionType type;
    } kTypes[] = {{{dlpack::kInt, 8, 1}, ActionType::int8},       {{dlpack::kInt, 16, 1}, ActionType::int16},
                  {{dlpack::kInt, 32, 1}, ActionType::int32},     {{dlpack::kInt, 64, 1}, ActionType::int64},
                  {{dlpack::kUint, 8, 1}, ActionType::uint8},     {{dlpack::kUint, 16, 1}, ActionType::uint16},
                  {{dlpack::kUint, 32, 1}, ActionType::uint32},   {{dlpack::kUint, 64, 1}, ActionType::uint64},
                  {{dlpack::kFloat, 32, 1}, ActionType::float32}, {{dlpack::kFloat, 64, 1}, ActionType::float64}};
    // Of one step, as the step has them, too.
    const bool one = shape[0] == 1 && shape.size() == action_shape_.size() + 2 && py::hasattr(actions, "ndim") &&
                     py::cast<std::size_t>(actions.attr("ndim")) + 1 == shape.size();
    const DeviceView view = call.shaped(actions, "actions", {}, one ? Shape(shape.begin() + 1, shape.end()) : shape);
    const bool discrete = env_->description().num_actions > 0;
    for (const auto& known : kTypes) {
      if (known.dtype == view.dtype && discrete == (view.dtype.code != dlpack::kFloat)) {
        request.actions.data = view.data;
        request.actions.type = known.type;
        return;
      }
    }
    throw py::type_error("actions is of " + dtype_name(view.dtype) + "; must be of " +
                         (discrete ? "an integer dtype" : "float32 or float64"));
  }

  static void check_seeding(const py::array& rows, const py::array& seeds, const py::array& streams, std::int64_t n) {
    if (rows.ndim() != 1 || seeds.ndim() != 1 || streams.ndim() != 1 || seeds.size() != rows.size() ||
        streams.size() != rows.size()) {
      throw py::value_error("seeding: lengths must be equal");
    }
    const auto* const numbers = static_cast<const std::int64_t*>(rows.data());
    for (py::ssize_t k = 0; k < rows.size(); ++k) {
      if (numbers[k] < 0 || numbers[k] >= n) throw py::index_error("seeding: a row is out of range");
    }
  }

  static void refuse_copy(const Call& call, const std::string& what) {
    if (!call.is_capturing()) return;
    throw std::runtime_error("the stream records a graph, in which " + what +
                             " cannot be copied from host memory; seed before, and give a reset_mask on the device");
  }
  py::object own_array(const std::string& name, const Shape& shape, dlpack::DataType dtype) const {
    return py::cast(
        std::make_unique<DeviceArray>(DeviceArray{env_->timeline(), env_->array(name), size_of(shape), dtype, shape}));
  }

  // A graph's replays step the environments without this object knowing of it: what the buffers hold is unknown then.
  void note_graph(const Call& call) { captured_ = captured_ || call.is_capturing(); }

  Shape obs_shape_, action_shape_;
  dlpack::DataType obs_type_;
  bool has_prob_;
  std::unique_ptr<Env> env_;
  bool captured_ = false;
  py::object own_obs_ = py::none();  // observations of the buffers from make_buffers
  bool holds_last_ = false;
};

using Handle = Built<PyEnv>;

}  // namespace

void register_env(py::module_& m) {
  m.def(
      "find_library_kernels",
      [](const std::string& library, const std::string& kernels) { find_library_kernels(library, kernels); },
      py::arg("library"), py::arg("kernels"), "Raises ValueError, which says why, if a loaded library lacks kernels.");
  py::class_<PyEnv>(m, "BatchEnv", py::module_local(),
                    "A batch of environments in a GPU's memory; made by metarl_core.make_vec(..., device=\"cuda\").")
      .def(py::init<const py::dict&, const py::dict&, int>(), py::arg("description"), py::arg("arrays"),
           py::arg("device") = 0)
      .def(
          "reset",
          [](Handle self, py::handle mask, const std::optional<Seeding>& seeding, py::handle out, py::handle stream) {
            return self->reset(mask, seeding, out, stream);
          },
          py::arg("mask"), py::arg("seeding"), py::arg("out") = py::none(), py::arg("stream") = py::none())
      .def(
          "observe", [](Handle self, py::handle stream) { return self->observe(stream); },
          py::arg("stream") = py::none())
      .def(
          "step",
          [](Handle self, py::handle actions, py::handle out, py::handle stream) {
            return self->step(actions, out, stream);
          },
          py::arg("actions"), py::arg("out") = py::none(), py::arg("stream") = py::none())
      .def(
          "rollout",
          [](Handle self, py::handle actions, std::int64_t steps, std::int64_t begin, std::int64_t end, double low,
             double high, py::handle out,
             py::handle stream) { return self->rollout(actions, steps, begin, end, low, high, out, stream); },
          py::arg("actions"), py::arg("steps"), py::arg("begin"), py::arg("end"), py::arg("low"), py::arg("high"),
          py::arg("out") = py::none(), py::arg("stream") = py::none())
      .def(
          "make_buffers", [](Handle self, py::handle stream) { return self->make_buffers(stream); },
          py::arg("stream") = py::none())
      .def(
          "make_rollout_buffers",
          [](Handle self, std::int64_t steps, py::handle stream) { return self->make_rollout_buffers(steps, stream); },
          py::arg("steps"), py::arg("stream") = py::none())
      .def(
          "batch_array", [](Handle self, const std::string& name) { return self->batch_array(name); }, py::arg("name"))
      .def("read_arrays", [](Handle self) { return self->read_arrays(); })
      .def(
          "write_arrays", [](Handle self, const py::dict& arrays, bool ready) { self->write_arrays(arrays, ready); },
          py::arg("arrays"), py::arg("ready"))
      .def("check", [](Handle self) { self->check(); })
      .def("close", [](Handle self) { self->close(); })
      .def_property_readonly("closed", [](Handle self) { return self->closed(); })
      .def_property_readonly("ready", [](Handle self) { return self->env().is_ready(); })
      .def_property_readonly("has_tasks", [](Handle self) { return self->env().has_tasks(); })
      .def_property_readonly("nbytes", [](Handle self) { return self->env().num_bytes(); })
      .def_property_readonly("device", [](Handle self) { return self->env().device().name(); });
}

}  // namespace metarl::cuda
