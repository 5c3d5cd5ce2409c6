#include "cuda/env.h"

#include <cstring>
#include <stdexcept>
#include <utility>

#include "cuda/open_env_library.h"

namespace metarl::cuda {
namespace {

constexpr const char* kNames[] = {"state",   "elapsed", "episode",    "seed",         "stream",
                                  "done",    "ended",   "end_flag",   "final_obs",    "task_values",
                                  "task_id", "layouts", "task_table", "table_layouts"};

bool is_of_tasks(const std::string& name) {
  return name == "task_values" || name == "task_id" || name == "layouts" || name == "task_table" ||
         name == "table_layouts";
}

}  // namespace

Env::Env(std::shared_ptr<Device> device, EnvDescription description, const HostArrays& arrays)
    : device_(std::move(device)),
      description_(std::move(description)),
      timeline_(std::make_shared<Timeline>(device_)),
      pool_(std::make_shared<MemoryPool>(device_)),
      kernels_(description_.library.empty() ? device_->find_env(description_.kernels)
                                            : &find_library_kernels(description_.library, description_.kernels)) {
  if (kernels_ == nullptr) {
    throw std::invalid_argument(description_.name + " has no kernels for GPUs; use device='cpu'");
  }
  device_->load_env(*kernels_, description_.library);
  const auto n = static_cast<std::size_t>(description_.num_envs);
  const std::size_t action_bytes =
      description_.num_actions > 0 ? 1 : sizeof(float) * static_cast<std::size_t>(description_.action_size);
  status_ = make_block(sizeof(EnvStatus), "the status");
  converted_ = make_block(n * action_bytes, "actions");
  no_rows_ = make_block(n, "a mask");
  const auto put = [this](const std::vector<std::byte>& from, const std::string& what) {
    Block block = make_block(from.size(), what);
    if (!from.empty()) device_->write(block.memory.get(), from.data(), from.size(), kLegacyStream);
    return block;
  };
  std::vector<std::byte> params = description_.params;
  for (const EnvDescription::ParamsArray& array : description_.params_arrays) {
    params_arrays_.push_back(put(array.bytes, "parameters"));
    const void* const at = params_arrays_.back().memory.get();
    std::memcpy(params.data() + array.offset, &at, sizeof at);
  }
  params_ = put(params, "parameters");
  const auto* const masks = reinterpret_cast<const std::byte*>(description_.action_masks.data());
  masks_ = put(std::vector<std::byte>(masks, masks + description_.action_masks.size()), "action masks");
  for (const char* name : kNames) {
    const auto found = arrays.find(name);
    if (found == arrays.end()) throw std::invalid_argument(std::string("arrays lack '") + name + "'");
    place(name, found->second.data(), found->second.size(), kLegacyStream);
  }
  connect();
}

// Results and exports may outlive the object; what they hold is released with them.
Env::~Env() = default;

Env::Block Env::make_block(std::size_t bytes, const std::string& what) {
  if (bytes == 0) return {};
  void* const memory =
      device_->allocate(bytes, what + " of " + std::to_string(description_.num_envs) + " " + description_.name);
  Block block{std::shared_ptr<void>(memory, [device = device_](void* at) { device->release(at); }), bytes};
  device_->fill_with_zeros(memory, bytes);
  num_bytes_ += bytes;
  return block;
}

std::shared_ptr<void> Env::array(const std::string& name) const {
  const auto found = arrays_.find(name);
  return found == arrays_.end() ? nullptr : found->second.memory;
}

std::size_t Env::bytes_of(const std::string& name) const {
  const auto found = arrays_.find(name);
  return found == arrays_.end() ? 0 : found->second.bytes;
}

void Env::place(const std::string& name, const std::byte* from, std::size_t bytes, Stream stream) {
  Block& block = arrays_[name];
  if (block.bytes != bytes) {
    // Before the old one is dropped: nothing changes if there is no room.
    Block made = make_block(bytes, "the array '" + name + "'");
    num_bytes_ -= block.bytes;
    // Work under way may still read it.
    if (block.memory != nullptr) timeline_->keep(std::move(block.memory));
    block = std::move(made);
  }
  if (bytes > 0) device_->write(block.memory.get(), from, bytes, stream);
}

// Tasks all or none, and as many bytes as the kernels will read.
void Env::check_sizes(const HostArrays& arrays) const {
  const auto n = static_cast<std::size_t>(description_.num_envs);
  const auto size = [&](const char* name) {
    const auto found = arrays.find(name);
    return found == arrays.end() ? bytes_of(name) : found->second.size();
  };
  for (const auto& [name, bytes] : arrays) {
    bool known = false;
    for (const char* other : kNames) known = known || name == other;
    if (!known) throw std::invalid_argument("there is no array '" + name + "'");
    if (!is_of_tasks(name) && bytes.size() != bytes_of(name)) {
      throw std::invalid_argument("array '" + name + "' has " + std::to_string(bytes.size()) + " bytes; must have " +
                                  std::to_string(bytes_of(name)));
    }
  }
  const std::size_t task = size("task_values") / n;
  const auto layout = static_cast<std::size_t>(description_.layout_bytes);
  const std::size_t tasks = task == 0 ? 0 : size("task_table") / task;
  const auto num_values = static_cast<std::size_t>(description_.num_task_values);
  if (size("task_values") != n * task || (task != 0 && (num_values == 0 || task % num_values != 0)) ||
      size("task_id") != (task == 0 ? 0 : n * sizeof(std::int32_t)) ||
      size("layouts") != (task == 0 ? 0 : n * layout) || size("task_table") != tasks * task ||
      size("table_layouts") != tasks * layout) {
    throw std::invalid_argument("the arrays of tasks do not fit together");
  }
}

// The batch's pointers, after its arrays have got places.
void Env::connect() {
  const auto at = [this](const char* name) { return array(name).get(); };
  EnvBatch b;
  b.state = at("state");
  b.stride = description_.num_envs;
  b.elapsed = static_cast<std::int32_t*>(at("elapsed"));
  b.episode = static_cast<std::uint32_t*>(at("episode"));
  b.seed = static_cast<std::uint64_t*>(at("seed"));
  b.stream = static_cast<std::uint32_t*>(at("stream"));
  b.done = static_cast<std::uint8_t*>(at("done"));
  b.params = params_.memory.get();
  b.task_values = at("task_values");
  if (b.task_values != nullptr) {
    b.num_task_values = description_.num_task_values;
    b.task_id = static_cast<std::int32_t*>(at("task_id"));
    b.task_table = at("task_table");
    const std::size_t task = bytes_of("task_values") / static_cast<std::size_t>(description_.num_envs);
    b.task_table_size = static_cast<std::int64_t>(bytes_of("task_table") / task);
    b.layouts = static_cast<std::uint8_t*>(at("layouts"));
    b.table_layouts = static_cast<std::uint8_t*>(at("table_layouts"));
    b.layout_bytes = description_.layout_bytes;
  }
  b.max_episode_steps = description_.max_episode_steps;
  b.mode = description_.mode;
  b.final_obs = at("final_obs");
  b.ended = static_cast<std::uint8_t*>(at("ended"));
  b.end_flag = static_cast<std::uint8_t*>(at("end_flag"));
  batch_ = b;
}

void Env::seed(const std::int64_t* rows, const std::uint64_t* seeds, const std::uint32_t* streams, std::int64_t count,
               const std::uint8_t* mask, Stream stream) {
  if (count == 0) return;
  timeline_->follow(stream);
  const auto n = static_cast<std::size_t>(count);
  // Goes back to the pool of this stream after the launch, so it is used again after that.
  const auto memory = pool_->take(n * (sizeof *rows + sizeof *seeds + sizeof *streams), stream, "seeds");
  auto* const device_rows = static_cast<std::int64_t*>(memory.get());
  auto* const device_seeds = reinterpret_cast<std::uint64_t*>(device_rows + n);
  auto* const device_streams = reinterpret_cast<std::uint32_t*>(device_seeds + n);
  device_->write(device_rows, rows, n * sizeof *rows, stream);
  device_->write(device_seeds, seeds, n * sizeof *seeds, stream);
  device_->write(device_streams, streams, n * sizeof *streams, stream);
  device_->start(SeedCall{batch_, mask, device_rows, device_seeds, device_streams, count}, stream);
  timeline_->end_call(stream);
}

HostArrays Env::read_arrays(Stream stream) {
  timeline_->follow(stream);
  HostArrays result;
  for (const auto& [name, block] : arrays_) {
    std::vector<std::byte>& bytes = result[name];
    bytes.resize(block.bytes);
    if (block.bytes > 0) device_->read(bytes.data(), block.memory.get(), block.bytes, stream);
  }
  return result;
}

void Env::write_arrays(const HostArrays& arrays, Stream stream) {
  check_sizes(arrays);
  timeline_->follow(stream);
  for (const auto& [name, bytes] : arrays) place(name, bytes.data(), bytes.size(), stream);
  connect();
  timeline_->end_call(stream);
}

// What the caller does not choose.
EnvCall Env::own(EnvCall call) const {
  EnvBatch b = batch_;
  b.obs = call.batch.obs;
  b.reward = call.batch.reward;
  b.terminated = call.batch.terminated;
  b.truncated = call.batch.truncated;
  b.prob = call.batch.prob;
  if (call.batch.final_obs != nullptr) b.final_obs = call.batch.final_obs;
  if (call.batch.ended != nullptr) b.ended = call.batch.ended;
  b.obs_holds_last = call.batch.obs_holds_last && description_.incremental_obs;
  call.batch = b;
  call.num_envs = description_.num_envs;
  call.num_actions = description_.num_actions;
  call.action_size = description_.action_size;
  call.converted = converted_.memory.get();
  call.status = static_cast<EnvStatus*>(status_.memory.get());
  call.obs_row_bytes = description_.obs_row_bytes;
  call.action_masks = static_cast<const std::int8_t*>(masks_.memory.get());
  call.num_masks = call.num_actions == 0
                       ? 0
                       : static_cast<std::int64_t>(description_.action_masks.size()) / description_.num_actions;
  return call;
}

void Env::run(EnvWork work, const EnvCall& call, Stream stream) {
  timeline_->follow(stream);
  device_->start(work, *kernels_, call, stream);
  timeline_->end_call(stream);
}

void Env::reset(EnvCall call, Stream stream) { run(EnvWork::reset, own(call), stream); }

// A reset of no rows; it must not forget what ended.
void Env::observe(void* obs, Stream stream) {
  EnvCall call{};
  call.batch.obs = obs;
  call = own(call);
  call.mask = static_cast<const std::uint8_t*>(no_rows_.memory.get());
  call.batch.ended = nullptr;
  call.batch.end_flag = nullptr;
  run(EnvWork::reset, call, stream);
}

void Env::step(EnvCall call, Stream stream) {
  call.begin = 0;
  call.end = 1;
  run(EnvWork::step, own(call), stream);
}

void Env::rollout(EnvCall call, Stream stream) { run(EnvWork::rollout, own(call), stream); }

EnvStatus Env::status(Stream stream) {
  timeline_->follow(stream);
  EnvStatus status;
  device_->read(&status, status_.memory.get(), sizeof status, stream);
  return status;
}

void Env::clear_error(Stream stream) {
  timeline_->follow(stream);
  const std::uint32_t none = 0;
  device_->write(&static_cast<EnvStatus*>(status_.memory.get())->error, &none, sizeof none, stream);
  timeline_->end_call(stream);
}

}  // namespace metarl::cuda
