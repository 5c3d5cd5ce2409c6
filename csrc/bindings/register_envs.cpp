// BatchEnv for Python: the methods that metarl_core.vector builds on.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "bindings/async_object.h"
#include "bindings/env_arrays.h"
#include "bindings/env_calls.h"
#include "bindings/errors.h"
#include "bindings/output_pool.h"
#include "bindings/register.h"
#include "bindings/rollout_arrays.h"
#include "bindings/step_arrays.h"
#include "metarl/batch_env.h"
#include "metarl/cpu_count.h"

namespace py = pybind11;

namespace metarl {
namespace {

// Work shorter than this does not pay for giving the interpreter lock away.
constexpr double kReleaseLockNanoseconds = 4000;

// Runs function, without the interpreter lock when it takes long enough.
template <class Function>
void run_unlocked(double nanoseconds, const Function& function) {
  translated([&] {
    if (nanoseconds < kReleaseLockNanoseconds) {
      function();
    } else {
      const py::gil_scoped_release release;
      function();
    }
  });
}

// An array with an element or a row of elements for every environment, or None.
template <class T>
using Rows = std::optional<py::array_t<T, py::array::c_style>>;

class PyBatchEnv {
 public:
  PyBatchEnv(const std::string& id, std::int64_t num_envs, int num_threads, const std::string& autoreset_mode,
             std::int32_t max_episode_steps, std::uint64_t seed, const std::vector<Py_intptr_t>& obs_shape,
             const std::vector<Py_intptr_t>& action_shape, const std::map<std::string, double>& numbers,
             const std::optional<py::array_t<std::uint8_t, py::array::c_style>>& table)
      : float32_(py::dtype::of<float>()),
        float64_(py::dtype::of<double>()),
        bool_(py::dtype::of<bool>()),
        int8_(py::dtype::of<std::int8_t>()),
        same_step_(autoreset_mode == "same_step") {
    EnvOptions options;
    options.numbers = numbers;
    if (table) {
      options.table.assign(table->data(), table->data() + table->size());
      options.table_rows = table->shape(0);
      options.table_columns = table->shape(1);
    }
    EnvDefinition definition = make_env_definition(id, options);
    obs_type_ = definition.obs_type == ObsType::int64     ? py::dtype::of<std::int64_t>()
                : definition.obs_type == ObsType::boolean ? bool_
                : definition.obs_type == ObsType::uint8   ? py::dtype::of<std::uint8_t>()
                                                          : float32_;
    obs_dims_ = {static_cast<Py_intptr_t>(num_envs)};
    obs_dims_.insert(obs_dims_.end(), obs_shape.begin(), obs_shape.end());
    action_dims_ = {static_cast<Py_intptr_t>(num_envs)};
    action_dims_.insert(action_dims_.end(), action_shape.begin(), action_shape.end());
    row_dim_ = static_cast<Py_intptr_t>(num_envs);
    const AutoresetMode mode = autoreset_mode == "next_step"   ? AutoresetMode::next_step
                               : autoreset_mode == "same_step" ? AutoresetMode::same_step
                                                               : AutoresetMode::disabled;
    env_ = std::make_shared<BatchEnv>(std::move(definition), num_envs, num_threads, mode, max_episode_steps, seed);
  }

  // actions -> (obs, reward, terminated, truncated, info), written to out when given. In same_step mode info has the
  // dense final_obs and its mask _final_obs when an episode ended, and final_info and its mask where that is empty. A
  // new reference.
  PyObject* step(py::handle actions, py::handle out) {
    const Call call(*this);
    BatchEnv& env = *env_;
    const bool discrete = env.definition().num_actions > 0;
    const ActionArray in =
        checked_actions(actions, discrete, static_cast<int>(action_dims_.size()), action_dims_.data());
    py::object arrays[4];
    StepOutputs outputs = out.is_none() ? new_outputs(arrays) : caller_outputs(out, arrays);
    py::dict info;
    if (env.definition().has_prob) {
      py::array prob = fresh_array(float64_, 1, &row_dim_);
      py::array mask = fresh_array(bool_, 1, &row_dim_);
      std::memset(mask.mutable_data(), 1, static_cast<std::size_t>(row_dim_));
      outputs.prob = static_cast<double*>(prob.mutable_data());
      info["prob"] = std::move(prob);
      info["_prob"] = std::move(mask);
    }
    if (!env.definition().action_masks.empty()) {
      const Py_intptr_t dims[2] = {row_dim_, env.definition().num_actions};
      py::array masks = fresh_array(int8_, 2, dims);
      py::array there = fresh_array(bool_, 1, &row_dim_);
      std::memset(there.mutable_data(), 1, static_cast<std::size_t>(row_dim_));
      outputs.action_mask = static_cast<std::int8_t*>(masks.mutable_data());
      info["action_mask"] = std::move(masks);
      info["_action_mask"] = std::move(there);
    }
    const bool own = !buffers_obs_.is_none() && arrays[0].is(buffers_obs_);
    const bool holds_last = own && buffers_hold_last_;
    buffers_hold_last_ = false;  // until the step has succeeded
    const void* const data = in.array.data();
    try {
      run_unlocked(env.estimated_step_nanoseconds(),
                   [&] { env.step(data, in.type, outputs, holds_last, &poll_signals); });
    } catch (const std::invalid_argument&) {
      buffers_hold_last_ = holds_last;  // nothing was changed
      throw;
    }
    buffers_hold_last_ = own;
    if (same_step_ && env.any_ended()) {
      info[final_obs_key_] = final_obs_array();
      info[final_obs_mask_key_] = ended_array();
      // Without a `prob` there is nothing to tell of the last step but that it was one.
      if (!env.definition().has_prob) {
        info[final_info_key_] = py::dict();
        info[final_info_mask_key_] = ended_array();
      }
    }
    PyObject* const result = PyTuple_New(5);
    if (result == nullptr) throw py::error_already_set();
    for (int i = 0; i < 4; ++i) PyTuple_SET_ITEM(result, i, arrays[i].release().ptr());
    PyTuple_SET_ITEM(result, 4, info.release().ptr());
    return result;
  }

  // Steps [begin, end) into the arrays of `out`, each of `steps` steps (see RolloutOutputs), with actions of that many
  // steps, or None: drawn, from [low, high] if they are continuous. With begin > 0 it goes on with the arrays.
  void rollout(py::handle actions, std::int64_t steps, std::int64_t begin, std::int64_t end, double low, double high,
               const py::dict& out) {
    const Call call(*this);
    BatchEnv& env = *env_;
    const EnvDefinition& definition = env.definition();
    const bool discrete = definition.num_actions > 0;
    if (begin < 0 || begin >= end || end > steps) throw py::value_error("steps out of range");
    RolloutActions chosen;
    chosen.low = low;
    chosen.high = high;
    py::array kept;
    if (!actions.is_none()) {
      std::vector<Py_intptr_t> dims = {static_cast<Py_intptr_t>(end - begin)};
      dims.insert(dims.end(), action_dims_.begin(), action_dims_.end());
      const ActionArray in = checked_actions(actions, discrete, static_cast<int>(dims.size()), dims.data());
      kept = in.array;
      chosen.data = kept.data();
      chosen.type = in.type;
    }
    const RolloutOutputs outputs =
        checked_rollout_outputs(out, {steps, obs_type_, obs_dims_, action_dims_, discrete, same_step_,
                                      definition.has_prob, definition.has_end_flag, env.has_tasks()});
    const bool held = buffers_hold_last_;
    buffers_hold_last_ = false;
    try {
      run_unlocked(env.estimated_step_nanoseconds() * static_cast<double>(end - begin),
                   [&] { env.rollout(chosen, begin, end, outputs, &poll_signals); });
    } catch (const std::invalid_argument&) {
      buffers_hold_last_ = held;  // nothing was changed
      throw;
    }
  }

  // Its rows step in the background from now on; other calls are refused while they may.
  std::unique_ptr<PyAsyncEnv> make_async(std::int64_t batch_size, int num_threads) {
    const Call call(*this);
    return std::make_unique<PyAsyncEnv>(env_, batch_size, num_threads, obs_type_,
                                        std::vector<Py_intptr_t>(obs_dims_.begin() + 1, obs_dims_.end()),
                                        std::vector<Py_intptr_t>(action_dims_.begin() + 1, action_dims_.end()));
  }

  // mask: bool[num_envs] or None; seeding: the rows to seed first, with their seeds and streams, or None. Returns all
  // observations.
  py::array reset(const std::optional<py::array_t<bool, py::array::c_style>>& mask,
                  const std::optional<Seeding>& seeding) {
    const Call call(*this);
    BatchEnv& env = *env_;
    if (mask && (mask->ndim() != 1 || mask->shape(0) != row_dim_)) throw py::value_error("mask: wrong shape");
    const RowSeeds seeds = seeding ? checked_seeds(*seeding, row_dim_) : RowSeeds{};
    py::array obs = new_obs();
    buffers_hold_last_ = false;
    void* const data = obs.mutable_data();
    const auto* const flags = mask ? reinterpret_cast<const std::uint8_t*>(mask->data()) : nullptr;
    run_unlocked(env.estimated_step_nanoseconds(), [&] { env.reset(flags, data, seeds); });
    return obs;
  }

  // Buffers for step(out=...) that this object may update instead of rewrite; see metarl_core.vector.
  py::tuple allocate_outputs() {
    const Call call(*this);
    py::object arrays[4];
    new_outputs(arrays);
    buffers_obs_ = arrays[0];
    buffers_hold_last_ = false;
    return py::make_tuple(arrays[0], arrays[1], arrays[2], arrays[3]);
  }

  py::array observe() {
    const Call call(*this);
    py::array obs = new_obs();
    env_->observe(obs.mutable_data());
    return obs;
  }

  // (final observations, 0 in rows that did not end; mask of the rows that ended)
  py::tuple final_obs() {
    const Call call(*this);
    if (!same_step_) throw std::runtime_error("final_obs needs autoreset_mode='same_step'");
    return py::make_tuple(final_obs_array(), ended_array());
  }
  py::array end_flags() {
    const Call call(*this);
    BatchEnv& env = *env_;
    if (!env.definition().has_end_flag) throw std::runtime_error("this environment has no such flag");
    py::array result = fresh_array(bool_, 1, &row_dim_);
    std::memcpy(result.mutable_data(), env.end_flags(), static_cast<std::size_t>(row_dim_));
    return result;
  }

  void set_draws(const py::array_t<double, py::array::c_style | py::array::forcecast>& draws) {
    const Call call(*this);
    env_->set_draws(std::vector<double>(draws.data(), draws.data() + draws.size()));
  }

  std::vector<std::string> field_names() { return open().definition().field_names; }

  // float64[num_envs].
  py::array get_field(std::size_t field) {
    const Call call(*this);
    py::array values = fresh_array(float64_, 1, &row_dim_);
    env_->get_field(field, static_cast<double*>(values.mutable_data()));
    return values;
  }

  // rows: of them, in this order; None: all.
  py::dict get_state(const Rows<std::int64_t>& rows) {
    const Call call(*this);
    const RowList list = row_list(rows);
    const auto count = static_cast<Py_intptr_t>(rows ? list.count : row_dim_);
    EnvStateOut out;
    py::dict state;
    state["state"] = new_table(&out.fields, count, env_->definition().field_names.size());
    state["elapsed"] = new_rows(&out.elapsed, count);
    state["episode"] = new_rows(&out.episode, count);
    state["seed"] = new_rows(&out.seed, count);
    state["stream"] = new_rows(&out.stream, count);
    state["done"] = new_rows(&out.done, count).attr("view")(bool_);
    if (env_->has_tasks()) {
      state["tasks"] = new_table(&out.tasks, count, env_->definition().task_parameters.size());
      state["task_id"] = new_rows(&out.task_id, count);
    }
    env_->get_state(out, list);
    return state;
  }

  // All or nothing; None stays as it is.
  void set_state(const Rows<double>& fields, const Rows<std::int32_t>& elapsed, const Rows<std::uint32_t>& episode,
                 const Rows<std::uint64_t>& seed, const Rows<std::uint32_t>& stream, const Rows<bool>& done,
                 const Rows<double>& tasks, const Rows<std::int32_t>& task_id, const Rows<std::int64_t>& rows) {
    const Call call(*this);
    const RowList list = row_list(rows);
    const auto count = static_cast<py::ssize_t>(rows ? list.count : row_dim_);
    const auto width = static_cast<py::ssize_t>(env_->definition().field_names.size());
    if (fields && (fields->ndim() != 2 || fields->shape(0) != count || fields->shape(1) != width)) {
      throw py::value_error("state: wrong shape");
    }
    if (tasks.has_value() != task_id.has_value() ||
        (tasks && (!is_task_table(*tasks) || tasks->shape(0) != count || tasks->shape(1) == 0))) {
      throw py::value_error("tasks: wrong shape");
    }
    EnvStateIn in;
    in.fields = fields ? fields->data() : nullptr;
    in.elapsed = row_data(elapsed, count);
    in.episode = row_data(episode, count);
    in.seed = row_data(seed, count);
    in.stream = row_data(stream, count);
    in.done = reinterpret_cast<const std::uint8_t*>(row_data(done, count));
    in.tasks = tasks ? tasks->data() : nullptr;
    in.task_id = row_data(task_id, count);
    env_->set_state(in, list);
    buffers_hold_last_ = false;
  }

  bool closed() const { return closed_; }
  void check_ready(bool rows_may_have_ended) {
    const Call call(*this);
    translated([&] { env_->check_ready(rows_may_have_ended); });
  }
  bool ready() { return open().is_ready(); }
  bool has_end_flag() { return open().definition().has_end_flag; }

  bool has_prob() { return open().definition().has_prob; }

  // int8 [observations, actions], or None.
  py::object action_masks() {
    const EnvDefinition& definition = open().definition();
    if (definition.action_masks.empty()) return py::none();
    py::array_t<std::int8_t> masks({static_cast<py::ssize_t>(definition.action_masks.size()) / definition.num_actions,
                                    static_cast<py::ssize_t>(definition.num_actions)});
    std::copy(definition.action_masks.begin(), definition.action_masks.end(), masks.mutable_data());
    return masks;
  }

  int num_threads() { return open().num_threads(); }

  std::vector<std::string> task_parameters() { return open().definition().task_parameters; }

  // values: float64[num_envs, parameters] with ids int32[num_envs], or None.
  void set_tasks(const Rows<double>& values, const Rows<std::int32_t>& ids) {
    const Call call(*this);
    if (!values) return env_->set_tasks(nullptr, nullptr);
    if (!is_task_table(*values) || values->shape(0) != row_dim_ || !ids) throw py::value_error("tasks: wrong shape");
    env_->set_tasks(values->data(), row_data(ids, row_dim_));
  }

  void set_task_table(const py::array_t<double, py::array::c_style>& values) {
    const Call call(*this);
    if (!is_task_table(values) || values.shape(0) < 1 || values.shape(0) > std::numeric_limits<std::int32_t>::max()) {
      throw py::value_error("tasks: wrong shape");
    }
    env_->set_task_table(values.data(), values.shape(0));
  }

  // What set_task_table takes, or None if no table was set or none holds any more.
  py::object get_task_table() {
    const Call call(*this);
    if (env_->task_table_size() == 0) return py::none();
    double* values = nullptr;
    py::array table = new_table(&values, static_cast<Py_intptr_t>(env_->task_table_size()),
                                env_->definition().task_parameters.size());
    env_->get_task_table(values);
    return table;
  }

  // What set_tasks takes, or None if no tasks were set.
  py::object get_tasks() {
    const Call call(*this);
    if (!env_->has_tasks()) return py::none();
    double* data = nullptr;
    py::array values = new_table(&data, row_dim_, env_->definition().task_parameters.size());
    std::int32_t* ids = nullptr;
    py::array numbers = new_rows(&ids, row_dim_);
    env_->get_tasks(data, ids);
    return py::make_tuple(std::move(values), std::move(numbers));
  }

  // int64[num_envs], or None.
  py::object task_ids() {
    const Call call(*this);
    if (!env_->has_tasks()) return py::none();
    std::int64_t* ids = nullptr;
    py::array numbers = new_rows(&ids, row_dim_);
    std::copy_n(env_->task_ids(), row_dim_, ids);
    return numbers;
  }

  // For copies in a GPU's memory: see metarl_core/vector/device_core.py.
  py::dict describe() {
    const Call call(*this);
    return describe_env(*env_);
  }
  py::dict read_arrays() {
    const Call call(*this);
    return read_env_arrays(*env_);
  }
  void write_arrays(const py::dict& arrays, bool ready) {
    const Call call(*this);
    write_env_arrays(*env_, arrays, ready);
    buffers_hold_last_ = false;
  }

  // Frees the environments now, or when the call that is running ends.
  void close() {
    closed_ = true;
    if (!in_call_) free_all();
  }

 private:
  // One call: refuses another one meanwhile (of a second thread, or of a signal handler that runs in the midst of a
  // step) and puts off a close. All members are read and written with the interpreter lock held.
  class Call {
   public:
    explicit Call(PyBatchEnv& owner) : owner_(owner) {
      owner.open();
      if (owner.in_call_) {
        throw std::runtime_error("this environment is in use by another thread or call; one caller at a time");
      }
      owner.in_call_ = true;
    }
    ~Call() {
      owner_.in_call_ = false;
      if (owner_.closed_) owner_.free_all();
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

   private:
    PyBatchEnv& owner_;
  };

  BatchEnv& open() {
    if (closed_) raise_package_error("ClosedError", "this environment was closed");
    return *env_;
  }

  void free_all() {
    env_.reset();
    buffers_obs_ = py::none();
    checked_buffers_ = py::none();
  }

  bool is_task_table(const py::array& values) const {
    return values.ndim() == 2 && values.shape(1) == static_cast<py::ssize_t>(env_->definition().task_parameters.size());
  }

  py::array ended_array() {
    py::array result = fresh_array(bool_, 1, &row_dim_);
    std::memcpy(result.mutable_data(), env_->ended(), static_cast<std::size_t>(row_dim_));
    return result;
  }
  py::array final_obs_array() {
    py::array result = new_obs();
    const std::size_t bytes = env_->obs_row_bytes();
    auto* const to = static_cast<char*>(result.mutable_data());
    const auto* const from = static_cast<const char*>(env_->final_obs());
    // Few rows end in one step.
    std::memset(to, 0, bytes * static_cast<std::size_t>(row_dim_));
    const std::uint8_t* const ended = env_->ended();
    const auto copy_from = [&](std::size_t first, std::size_t last) {
      for (std::size_t i = first; i < last; ++i) {
        if (ended[i]) std::memcpy(to + i * bytes, from + i * bytes, bytes);
      }
    };
    const auto rows = static_cast<std::size_t>(row_dim_);
    std::size_t i = 0;
    for (; i + 8 <= rows; i += 8) {
      std::uint64_t eight;
      std::memcpy(&eight, ended + i, 8);
      if (eight != 0) copy_from(i, i + 8);
    }
    copy_from(i, rows);
    return result;
  }

  // Uninitialised; large ones from the pool.
  py::array fresh_array(const py::dtype& type, int ndim, const Py_intptr_t* dims) {
    auto bytes = static_cast<std::size_t>(type.itemsize());
    for (int d = 0; d < ndim; ++d) bytes *= static_cast<std::size_t>(dims[d]);
    return py::reinterpret_steal<py::array>(outputs_->array(type, ndim, dims, bytes));
  }
  py::array new_obs() { return fresh_array(obs_type_, static_cast<int>(obs_dims_.size()), obs_dims_.data()); }

  StepOutputs new_outputs(py::object (&arrays)[4]) {
    py::array obs = new_obs();
    py::array reward = fresh_array(float64_, 1, &row_dim_);
    py::array terminated = fresh_array(bool_, 1, &row_dim_);
    py::array truncated = fresh_array(bool_, 1, &row_dim_);
    StepOutputs outputs;
    outputs.obs = obs.mutable_data();
    outputs.reward = static_cast<double*>(reward.mutable_data());
    outputs.terminated = static_cast<std::uint8_t*>(terminated.mutable_data());
    outputs.truncated = static_cast<std::uint8_t*>(truncated.mutable_data());
    arrays[0] = std::move(obs);
    arrays[1] = std::move(reward);
    arrays[2] = std::move(terminated);
    arrays[3] = std::move(truncated);
    return outputs;
  }

  StepOutputs caller_outputs(py::handle out, py::object (&arrays)[4]) {
    static constexpr const char* kNames[4] = {"obs", "reward", "terminated", "truncated"};
    const bool is_tuple = PyTuple_Check(out.ptr()) && PyTuple_GET_SIZE(out.ptr()) == 4;
    if (is_tuple && out.is(checked_buffers_) && unchanged(out)) {
      for (int i = 0; i < 4; ++i) arrays[i] = py::reinterpret_borrow<py::object>(PyTuple_GET_ITEM(out.ptr(), i));
      return checked_outputs_;
    }
    if (is_tuple) {
      for (int i = 0; i < 4; ++i) arrays[i] = py::reinterpret_borrow<py::object>(PyTuple_GET_ITEM(out.ptr(), i));
    } else if (PyDict_Check(out.ptr())) {
      for (int i = 0; i < 4; ++i) {
        PyObject* const found = PyDict_GetItemString(out.ptr(), kNames[i]);
        if (found == nullptr) throw py::key_error("out: '" + std::string(kNames[i]) + "' is missing");
        arrays[i] = py::reinterpret_borrow<py::object>(found);
      }
    } else {
      throw py::type_error("out: expected StepBuffers or a dict with obs, reward, terminated, truncated");
    }
    StepOutputs outputs;
    outputs.obs = checked_output(arrays[0], kNames[0], obs_type_, static_cast<int>(obs_dims_.size()), obs_dims_.data());
    outputs.reward = static_cast<double*>(checked_output(arrays[1], kNames[1], float64_, 1, &row_dim_));
    outputs.terminated = static_cast<std::uint8_t*>(checked_output(arrays[2], kNames[2], bool_, 1, &row_dim_));
    outputs.truncated = static_cast<std::uint8_t*>(checked_output(arrays[3], kNames[3], bool_, 1, &row_dim_));
    if (outputs.terminated == outputs.truncated) {
      throw py::value_error("out: 'terminated' and 'truncated' must be different arrays");
    }
    if (is_tuple) {
      checked_buffers_ = py::reinterpret_borrow<py::object>(out);
      checked_outputs_ = outputs;
      for (int i = 0; i < 4; ++i) checked_views_[i] = view_of(arrays[i]);
    }
    return outputs;
  }

  static constexpr int kMaxViewDims = 4;  // num_envs and at most three of an observation

  // What of an array can change in place and would make the checks void. Tuples cannot change, arrays can.
  struct View {
    void* data;
    void* descr;
    int ndim;
    int flags;
    Py_intptr_t dims[kMaxViewDims];
    // Strides follow from these and the contiguity in flags.
    bool holds(py::handle array) const {
      const auto* const proxy = py::detail::array_proxy(array.ptr());
      return proxy->data == data && proxy->descr == descr && proxy->nd == ndim && proxy->flags == flags &&
             proxy->dimensions[0] == dims[0] && std::equal(dims + 1, dims + ndim, proxy->dimensions + 1);
    }
  };
  static View view_of(py::handle array) {
    const auto* const proxy = py::detail::array_proxy(array.ptr());
    View view{proxy->data, proxy->descr, proxy->nd, proxy->flags, {}};
    std::copy_n(proxy->dimensions, proxy->nd, view.dims);
    return view;
  }
  bool unchanged(py::handle out) const {
    for (int i = 0; i < 4; ++i) {
      if (!checked_views_[i].holds(PyTuple_GET_ITEM(out.ptr(), i))) return false;
    }
    return true;
  }

  template <class T>
  py::array new_rows(T** data, Py_intptr_t count) {
    py::array result = fresh_array(py::dtype::of<T>(), 1, &count);
    *data = static_cast<T*>(result.mutable_data());
    return result;
  }
  py::array new_table(double** data, Py_intptr_t count, std::size_t width) {
    const Py_intptr_t dims[2] = {count, static_cast<Py_intptr_t>(width)};
    py::array result = fresh_array(float64_, 2, dims);
    *data = static_cast<double*>(result.mutable_data());
    return result;
  }
  template <class T>
  static const T* row_data(const Rows<T>& array, py::ssize_t count) {
    if (!array) return nullptr;
    if (array->ndim() != 1 || array->shape(0) != count) throw py::value_error("state: wrong shape");
    return array->data();
  }
  // No rows at all are a list too, of length 0: its pointer is not null.
  static RowList row_list(const Rows<std::int64_t>& rows) {
    static constexpr std::int64_t kNone = 0;
    if (!rows) return {};
    if (rows->ndim() != 1) throw py::value_error("rows: wrong shape");
    return {rows->shape(0) == 0 ? &kNone : rows->data(), rows->shape(0)};
  }

  std::shared_ptr<OutputPool> outputs_ = std::make_shared<OutputPool>();
  py::dtype float32_, float64_, bool_, int8_, obs_type_;
  py::str final_obs_key_{"final_obs"}, final_obs_mask_key_{"_final_obs"};
  py::str final_info_key_{"final_info"}, final_info_mask_key_{"_final_info"};
  bool same_step_;
  std::vector<Py_intptr_t> obs_dims_, action_dims_;
  Py_intptr_t row_dim_ = 0;
  std::shared_ptr<BatchEnv> env_;
  bool in_call_ = false;
  bool closed_ = false;
  py::object buffers_obs_ = py::none();  // observations of the buffers from allocate_outputs
  bool buffers_hold_last_ = false;
  py::object checked_buffers_ = py::none();  // the last tuple of buffers that passed the checks
  StepOutputs checked_outputs_;
  View checked_views_[4] = {};
};

// A plain C function: pybind11's dispatch costs more than the step of one environment.
PyObject* step(PyObject* object, PyObject* const* args, Py_ssize_t num_args) {
  return guarded([&]() -> PyObject* {
    if (num_args != 2) throw py::type_error("step() takes actions and out, by position");
    void* self = reinterpret_cast<py::detail::instance*>(object)->get_value_and_holder().value_ptr();
    if (self == nullptr) throw py::type_error("BatchEnv.__init__ was not called");
    return static_cast<PyBatchEnv*>(self)->step(args[0], args[1]);
  });
}

PyMethodDef kStep = {"step", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&step)), METH_FASTCALL,
                     "step($self, actions, out, /)\n--\n\nTake one step; see metarl_core.vector."};

}  // namespace

void register_envs(py::module_& m) {
  m.def("available_cpus", &available_cpus);
  auto type = py::class_<PyBatchEnv>(m, "BatchEnv");
  type.def(py::init<const std::string&, std::int64_t, int, const std::string&, std::int32_t, std::uint64_t,
                    const std::vector<Py_intptr_t>&, const std::vector<Py_intptr_t>&,
                    const std::map<std::string, double>&,
                    const std::optional<py::array_t<std::uint8_t, py::array::c_style>>&>(),
           py::arg("id"), py::arg("num_envs"), py::arg("num_threads"), py::arg("autoreset_mode"),
           py::arg("max_episode_steps"), py::arg("seed"), py::arg("obs_shape"), py::arg("action_shape"),
           py::arg("numbers"), py::arg("table"))
      .def("reset", &PyBatchEnv::reset, py::arg("mask"), py::arg("seeding"))
      .def("allocate_outputs", &PyBatchEnv::allocate_outputs)
      .def("observe", &PyBatchEnv::observe)
      .def("final_obs", &PyBatchEnv::final_obs)
      .def("end_flags", &PyBatchEnv::end_flags)
      .def("set_draws", &PyBatchEnv::set_draws)
      .def("get_field", &PyBatchEnv::get_field, py::arg("field"))
      .def("get_state", &PyBatchEnv::get_state, py::arg("rows") = py::none())
      .def("set_state", &PyBatchEnv::set_state, py::arg("fields"), py::arg("elapsed"), py::arg("episode"),
           py::arg("seed"), py::arg("stream"), py::arg("done"), py::arg("tasks") = py::none(),
           py::arg("task_id") = py::none(), py::arg("rows") = py::none())
      .def("rollout", &PyBatchEnv::rollout, py::arg("actions"), py::arg("steps"), py::arg("begin"), py::arg("end"),
           py::arg("low"), py::arg("high"), py::arg("out"))
      .def("check_ready", &PyBatchEnv::check_ready, py::arg("rows_may_have_ended"))
      .def("make_async", &PyBatchEnv::make_async, py::arg("batch_size"), py::arg("num_threads"))
      .def("set_tasks", &PyBatchEnv::set_tasks, py::arg("values"), py::arg("ids"))
      .def("set_task_table", &PyBatchEnv::set_task_table, py::arg("values"))
      .def("get_task_table", &PyBatchEnv::get_task_table)
      .def("get_tasks", &PyBatchEnv::get_tasks)
      .def("task_ids", &PyBatchEnv::task_ids)
      .def("describe", &PyBatchEnv::describe)
      .def("read_arrays", &PyBatchEnv::read_arrays)
      .def("write_arrays", &PyBatchEnv::write_arrays, py::arg("arrays"), py::arg("ready"))
      .def("close", &PyBatchEnv::close)
      .def_property_readonly("task_parameters", &PyBatchEnv::task_parameters)
      .def_property_readonly("field_names", &PyBatchEnv::field_names)
      .def_property_readonly("has_prob", &PyBatchEnv::has_prob)
      .def_property_readonly("action_masks", &PyBatchEnv::action_masks)
      .def_property_readonly("num_threads", &PyBatchEnv::num_threads)
      .def_property_readonly("closed", &PyBatchEnv::closed)
      .def_property_readonly("ready", &PyBatchEnv::ready)
      .def_property_readonly("has_end_flag", &PyBatchEnv::has_end_flag);
  const auto descriptor =
      py::reinterpret_steal<py::object>(PyDescr_NewMethod(reinterpret_cast<PyTypeObject*>(type.ptr()), &kStep));
  if (!descriptor) throw py::error_already_set();
  type.attr("step") = descriptor;
}

}  // namespace metarl
