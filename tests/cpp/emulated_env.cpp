#include "emulated_env.h"

#include <numeric>

namespace metarl_test {
namespace {

constexpr int kBlockThreads = 8;  // several blocks of few rows

std::size_t bytes_of(metarl::FieldType type) {
  return type == metarl::FieldType::float64 ? 8 : type == metarl::FieldType::uint8 ? 1 : 4;
}

std::size_t bytes_of(metarl::ObsType type) {
  return type == metarl::ObsType::int64 ? 8 : type == metarl::ObsType::float32 ? 4 : 1;
}

template <class T>
void write(std::byte* to, double value) {
  const T typed = static_cast<T>(value);
  std::memcpy(to, &typed, sizeof typed);
}

template <class T>
double read(const std::byte* from) {
  T typed;
  std::memcpy(&typed, from, sizeof typed);
  return static_cast<double>(typed);
}

double read(metarl::FieldType type, const std::byte* from) {
  switch (type) {
    case metarl::FieldType::float32:
      return read<float>(from);
    case metarl::FieldType::float64:
      return read<double>(from);
    case metarl::FieldType::int32:
      return read<std::int32_t>(from);
    case metarl::FieldType::uint8:
      return read<std::uint8_t>(from);
  }
  return 0.0;
}

void write(metarl::FieldType type, std::byte* to, double value) {
  switch (type) {
    case metarl::FieldType::float32:
      return write<float>(to, value);
    case metarl::FieldType::float64:
      return write<double>(to, value);
    case metarl::FieldType::int32:
      return write<std::int32_t>(to, value);
    case metarl::FieldType::uint8:
      return write<std::uint8_t>(to, value);
  }
}

}  // namespace

EmulatedEnv::EmulatedEnv(const metarl::EnvDefinition& definition, std::int64_t num_envs, metarl::AutoresetMode mode,
                         std::int32_t max_episode_steps, std::uint64_t seed, std::uint64_t order)
    : definition_(definition),
      kernels_(find_emulated_kernels(definition.kernels)),
      num_envs_(num_envs),
      obs_row_bytes_(definition.obs_size * static_cast<std::int64_t>(bytes_of(definition.obs_type))),
      mode_(mode),
      max_episode_steps_(max_episode_steps),
      device_(order),
      status_(static_cast<cuda::EnvStatus*>(device_.allocate_zeroed(sizeof(cuda::EnvStatus), "status"))) {
  const auto n = static_cast<std::size_t>(num_envs);
  // The copy that a GPU gets: parameters and the arrays that they point to.
  const auto* const given = static_cast<const std::byte*>(definition.params.get());
  params_.assign(given, given + definition.params_bytes);
  for (const auto& array : definition.params_arrays) {
    const std::byte* from;
    std::memcpy(&from, params_.data() + array.offset, sizeof from);
    params_arrays_.emplace_back(from, from + array.bytes);
    const std::byte* const own = params_arrays_.back().data();
    std::memcpy(params_.data() + array.offset, &own, sizeof own);
  }
  state_.resize(n * definition.field_names.size() * bytes_of(definition.field_type));
  elapsed_.resize(n);
  episode_.resize(n);
  seed_.resize(n, seed);
  stream_.resize(n);
  std::iota(stream_.begin(), stream_.end(), std::uint32_t{0});
  done_.resize(n);
  if (definition.has_end_flag) end_flag_.resize(n);
  if (mode == metarl::AutoresetMode::same_step) {
    ended_.resize(n);
    final_obs_.resize(n * static_cast<std::size_t>(obs_row_bytes_));
  }
  converted_.resize(n * definition.action_bytes());
}

cuda::EnvCall EmulatedEnv::call() {
  cuda::EnvCall call{};
  metarl::EnvBatch& b = call.batch;
  b.state = state_.data();
  b.stride = num_envs_;
  b.elapsed = elapsed_.data();
  b.episode = episode_.data();
  b.seed = seed_.data();
  b.stream = stream_.data();
  b.done = done_.data();
  b.params = params_.data();
  if (!task_values_.empty()) {
    b.task_values = task_values_.data();
    b.num_task_values = static_cast<int>(definition_.task_parameters.size());
    b.task_id = task_id_.data();
    b.task_table = task_table_.empty() ? nullptr : task_table_.data();
    b.task_table_size = task_table_size_;
    b.layouts = layouts_.data();
    b.table_layouts = table_layouts_.data();
    b.layout_bytes = definition_.layout_bytes;
  }
  b.max_episode_steps = max_episode_steps_;
  b.mode = mode_;
  b.final_obs = final_obs_.empty() ? nullptr : final_obs_.data();
  b.ended = ended_.empty() ? nullptr : ended_.data();
  b.end_flag = end_flag_.empty() ? nullptr : end_flag_.data();
  call.num_envs = num_envs_;
  call.num_actions = definition_.num_actions;
  call.action_size = definition_.action_size;
  call.converted = converted_.data();
  call.status = status_;
  call.end = 1;
  call.obs_row_bytes = obs_row_bytes_;
  return call;
}

void EmulatedEnv::launch(const void* kernel, const cuda::EnvCall& call) {
  kernels_.runtime->launch(kernel, call, &device_);
}

void EmulatedEnv::check(const cuda::EnvCall& call) {
  const int blocks = static_cast<int>((num_envs_ + kBlockThreads - 1) / kBlockThreads);
  device_.launch<char>("check", blocks, kBlockThreads,
                       [&](simt::Context& context, char*) { emulated_check(context, call); });
}

void EmulatedEnv::reset(const std::uint8_t* mask, void* obs, const metarl::RowSeeds& seeds) {
  cuda::EnvCall c = call();
  c.mask = mask;
  c.batch.obs = obs;
  const cuda::SeedCall seeding{c.batch, nullptr, seeds.rows, seeds.seeds, seeds.streams, seeds.count};
  device_.launch<char>("seed", 1, kBlockThreads,
                       [&](simt::Context& context, char*) { emulated_seed(context, seeding); });
  launch(kernels_.reset, c);
}

void EmulatedEnv::step(const void* actions, metarl::ActionType type, const metarl::StepOutputs& out) {
  cuda::EnvCall c = call();
  c.actions.data = actions;
  c.actions.type = type;
  c.batch.obs = out.obs;
  c.batch.reward = out.reward;
  c.batch.terminated = out.terminated;
  c.batch.truncated = out.truncated;
  c.batch.prob = out.prob;
  check(c);
  launch(kernels_.step, c);
  device_.launch<char>("finish", 1, 1, [&](simt::Context& context, char*) { emulated_finish(context, c); });
}

void EmulatedEnv::rollout(const metarl::RolloutActions& actions, std::int64_t begin, std::int64_t end,
                          const metarl::RolloutOutputs& out) {
  cuda::EnvCall c = call();
  c.actions = actions;
  c.begin = begin;
  c.end = end;
  c.out = out;
  check(c);
  launch(kernels_.roll_out, c);
  device_.launch<char>("finish", 1, 1, [&](simt::Context& context, char*) { emulated_finish(context, c); });
}

metarl::FieldType EmulatedEnv::task_type() const {
  if (definition_.wide_tasks) return metarl::FieldType::float64;
  return definition_.field_type == metarl::FieldType::uint8 ? metarl::FieldType::int32 : definition_.field_type;
}

std::vector<std::byte> EmulatedEnv::columns(const std::vector<double>& values, std::int64_t count) const {
  const metarl::FieldType type = task_type();
  const auto n = static_cast<std::size_t>(count);
  const std::size_t width = definition_.task_parameters.size();
  std::vector<std::byte> result(n * width * bytes_of(type));
  for (std::size_t row = 0; row < n; ++row) {
    for (std::size_t k = 0; k < width; ++k) {
      write(type, result.data() + (k * n + row) * bytes_of(type), values[row * width + k]);
    }
  }
  return result;
}

std::vector<std::uint8_t> EmulatedEnv::layouts(const std::vector<double>& values, std::int64_t count) const {
  std::vector<std::uint8_t> result(static_cast<std::size_t>(count * definition_.layout_bytes));
  const auto width = static_cast<std::int64_t>(definition_.task_parameters.size());
  for (std::int64_t row = 0; row < count && definition_.layout_bytes > 0; ++row) {
    definition_.make_layout(definition_.params.get(), values.data() + row * width,
                            result.data() + row * definition_.layout_bytes);
  }
  return result;
}

void EmulatedEnv::set_tasks(const std::vector<double>& values, const std::vector<std::int32_t>& ids) {
  task_values_ = columns(values, num_envs_);
  layouts_ = layouts(values, num_envs_);
  task_id_ = ids;
}

// The rows keep the environment's own task until a reset draws one.
void EmulatedEnv::set_task_table(const std::vector<double>& values, std::int64_t count) {
  std::vector<double> own;
  for (std::int64_t row = 0; row < num_envs_; ++row) {
    own.insert(own.end(), definition_.task_defaults.begin(), definition_.task_defaults.end());
  }
  set_tasks(own, std::vector<std::int32_t>(static_cast<std::size_t>(num_envs_), -1));
  task_table_ = columns(values, count);
  table_layouts_ = layouts(values, count);
  task_table_size_ = count;
}

EmulatedEnv::State EmulatedEnv::state() const {
  State s{{}, elapsed_, episode_, seed_, stream_, done_, {}, task_id_};
  const std::size_t fields = definition_.field_names.size();
  const auto n = static_cast<std::size_t>(num_envs_);
  for (std::size_t row = 0; row < n; ++row) {
    for (std::size_t f = 0; f < fields; ++f) {
      const std::size_t element = definition_.row_major ? row * fields + f : f * n + row;
      s.fields.push_back(read(definition_.field_type, state_.data() + element * bytes_of(definition_.field_type)));
    }
    for (std::size_t k = 0; k < definition_.task_parameters.size() && !task_values_.empty(); ++k) {
      s.tasks.push_back(read(task_type(), task_values_.data() + (k * n + row) * bytes_of(task_type())));
    }
  }
  return s;
}

}  // namespace metarl_test
