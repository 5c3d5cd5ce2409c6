// A device for the host objects of csrc/cuda without a GPU: "device memory" is host memory, and every call runs at once
// on the emulator. What a call is given is copied into the emulator's memory first, so that it sees each access.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <stdexcept>

#include "cuda/device.h"
#include "cuda/plans.h"
#include "emulated_env_kernels.h"
#include "metarl/errors.h"
#include "simt/emulator.h"

namespace metarl::cuda {
namespace {

// More than this counts as more than the device has.
constexpr std::size_t kMemoryBytes = std::size_t{1} << 30;
// A stream with this number records a graph: calls on it are refused what a graph cannot hold.
constexpr Stream kCapturingStream = 99;
// After work on a stream with this number, waiting for it fails.
constexpr Stream kFailingStream = 98;

class EmulatedDevice : public Device {
 public:
  explicit EmulatedDevice(int number) : number_(number), emulator_(17) {}

  std::string name() const override { return "emulated:" + std::to_string(number_); }
  int number() const override { return number_; }
  int memory_type() const override { return kHostMemory; }
  bool can_use(int memory_type, int) const override { return memory_type == kHostMemory; }
  // Addresses below a page, which no process has, stand for another GPU's.
  MemoryPlace place_of(const void* memory) override {
    return reinterpret_cast<std::uintptr_t>(memory) < 4096 ? MemoryPlace{kCudaMemory, 7} : MemoryPlace{kHostMemory, 0};
  }

  void* allocate(std::size_t bytes, const std::string& purpose) override {
    if (bytes > kMemoryBytes) {
      throw OutOfMemoryError("cannot allocate " + std::to_string(bytes) + " bytes on " + name() + " for " + purpose);
    }
    void* memory = emulator_.allocate_zeroed(bytes, purpose);
    return memory;
  }
  void release(void* memory) noexcept override { emulator_.release(memory); }
  void fill_with_zeros(void* memory, std::size_t bytes) override { std::memset(memory, 0, bytes); }
  void read(void* to, const void* from, std::size_t bytes, Stream stream) override {
    refuse_in_graph(stream);
    std::memcpy(to, from, bytes);
  }
  void write(void* to, const void* from, std::size_t bytes, Stream stream) override {
    refuse_in_graph(stream);
    std::memcpy(to, from, bytes);
  }

  bool is_capturing(Stream stream) override { return stream == kCapturingStream; }
  void* make_event() override { return new Stream(0); }
  void release_event(void* event) noexcept override { delete static_cast<Stream*>(event); }
  void record(void* event, Stream stream) override {
    refuse_in_graph(stream);
    *static_cast<Stream*>(event) = stream;
  }
  void wait(void*, Stream stream) override { refuse_in_graph(stream); }
  bool is_done(void* event) override {
    finish(event);
    return true;
  }
  void finish(void* event) override {
    if (*static_cast<Stream*>(event) == kFailingStream) throw std::runtime_error("the device has failed");
  }

  void start(const SetCall<double>& call, Stream) override { set(call); }
  void start(const SetCall<float>& call, Stream) override { set(call); }
  void start(const SampleCall& given, Stream) override {
    SampleCall call = given;
    Copies copies(this);
    const auto n = static_cast<std::size_t>(call.n);
    call.beta_memory = copies.in(given.beta_memory, 1);
    call.indices = copies.out(given.indices, n);
    call.masses = copies.out(given.masses, n);
    call.weights = copies.out(given.weights, n);
    call.probabilities = copies.out(given.probabilities, n);
    run<SampleShared>(plan_sample(call),
                      [&](Kernel kernel, auto& ctx, auto* shared) { run_sample(kernel, ctx, call, shared); });
    copies.finish();
  }
  void start(const FindCall& given, Stream) override {
    FindCall call = given;
    Copies copies(this);
    const auto n = static_cast<std::size_t>(call.n);
    call.at = copies.in(given.at, n);
    call.indices = copies.out(given.indices, n);
    run<char>(plan_find(call.n), [&](Kernel kernel, auto& ctx, char*) { run_find(kernel, ctx, call); });
    copies.finish();
  }
  void start(const PriorityCall& given, Stream) override {
    PriorityCall call = given;
    Copies copies(this);
    const auto n = static_cast<std::size_t>(call.n);
    const std::size_t steps = n * static_cast<std::size_t>(std::max(call.length, 1));
    call.indices = copies.in(given.indices, n);
    call.errors = copies.in(given.errors, steps);
    call.wide_errors = copies.in(given.wide_errors, steps);
    call.steps_mask = copies.in(given.steps_mask, steps);
    call.mark = copies.in(given.mark, kMarkWords);
    call.task_rows = copies.in(given.task_rows, bytes_of_tasks(call.tasks, call.dropped + call.n));
    run<SetShared>(plan_set(call.tree, call.n),
                   [&](Kernel kernel, auto& ctx, auto* shared) { run_set(kernel, ctx, call, shared); });
  }
  void start(const CopyCall& given, Stream) override {
    CopyCall call = given;
    Copies copies(this);
    call.indices = copies.in(given.indices, static_cast<std::size_t>(call.n));
    call.mark = copies.out(given.mark, kMarkWords);
    for (int k = 0; k < call.num_fields; ++k) {
      CopiedField& field = call.fields[k];
      const auto bytes = static_cast<std::size_t>((call.dropped + call.n) * field.row_bytes);
      field.rows = call.kind == CopyKind::gather ? copies.out(field.rows, bytes)
                                                 : const_cast<std::byte*>(copies.in<std::byte>(field.rows, bytes));
    }
    run<char>(plan_copy(call), [&](Kernel, auto& ctx, char*) { copy_rows(ctx, call); });
    copies.finish();
  }
  void start(const StreamCall& given, Stream) override {
    StreamCall call = given;
    Copies copies(this);
    for (int p = 0; p < call.num_pairs; ++p) {
      const auto bytes = static_cast<std::size_t>(call.n * call.pairs[p].bytes);
      call.now[p] = copies.in(given.now[p], bytes);
      call.next[p] = copies.in(given.next[p], bytes);
    }
    call.terminated = copies.in(given.terminated, static_cast<std::size_t>(call.n));
    call.truncated = copies.in(given.truncated, static_cast<std::size_t>(call.n));
    call.task_rows = copies.in(given.task_rows, bytes_of_tasks(call.tasks, call.n));
    run<RowsShared>(plan_rows_of(call),
                    [&](Kernel kernel, auto& ctx, auto* shared) { run_rows(kernel, ctx, call, shared); });
  }
  void start(const ReturnCall& given, Stream) override {
    ReturnCall call = given;
    Copies copies(this);
    const auto n = static_cast<std::size_t>(call.n);
    call.indices = copies.in(given.indices, n);
    const std::size_t item_bytes = call.wide ? sizeof(double) : sizeof(float);
    call.returns = copies.out(given.returns, n * static_cast<std::size_t>(call.reward_items) * item_bytes);
    call.discounts = copies.out(given.discounts, n);
    run<char>(plan_returns(call), [&](Kernel, auto& ctx, char*) { follow_returns(ctx, call); });
    copies.finish();
  }
  void start(const SequenceCall& given, Stream) override {
    SequenceCall call = given;
    Copies copies(this);
    const auto n = static_cast<std::size_t>(call.n);
    call.indices = copies.in(given.indices, n);
    call.mask = copies.out(given.mask, n * static_cast<std::size_t>(call.length));
    run<char>(plan_sequences(call), [&](Kernel, auto& ctx, char*) { follow_sequences(ctx, call); });
    copies.finish();
  }
  void start(const AssembleCall& given, Stream) override {
    AssembleCall call = given;
    Copies copies(this);
    call.indices = copies.in(given.indices, static_cast<std::size_t>(call.n));
    call.mark = copies.out(given.mark, kMarkWords);
    for (int k = 0; k < call.num_fields; ++k) {
      CopiedField& field = call.fields[k].copied;
      field.rows = copies.out(field.rows, static_cast<std::size_t>(call.fields[k].rows * field.row_bytes));
    }
    run<char>(plan_assembly(call), [&](Kernel, auto& ctx, char*) { assemble_rows(ctx, call); });
    copies.finish();
  }
  void start(const WeightCall& given, Stream) override {
    WeightCall call = given;
    Copies copies(this);
    const auto n = static_cast<std::size_t>(call.n);
    call.probabilities = copies.in(given.probabilities, n);
    call.short_probabilities = copies.in(given.short_probabilities, n);
    call.beta_memory = copies.in(given.beta_memory, 1);
    call.weights = copies.out(given.weights, n);
    call.short_weights = copies.out(given.short_weights, n);
    run<WeightShared>(plan_weights(call),
                      [&](Kernel, auto& ctx, auto* shared) { weigh_probabilities(ctx, call, shared); });
    copies.finish();
  }
  void start(const TaskOrderCall& given, Stream) override {
    TaskOrderCall call = given;
    Copies copies(this);
    call.rows = copies.in(given.rows, bytes_of_tasks(call.tasks, call.dropped + call.n));
    call.slots = copies.in(given.slots, static_cast<std::size_t>(call.n));
    run<TaskShared>(plan_order(call), [&](Kernel, auto& ctx, auto* shared) { order_tasks(ctx, call, shared); });
  }
  void start(const TaskRefreshCall& given, Stream) override {
    TaskRefreshCall call = given;
    Copies copies(this);
    call.slots = copies.in(given.slots, static_cast<std::size_t>(call.n));
    run<SetShared>(plan_refresh(call),
                   [&](Kernel kernel, auto& ctx, auto* shared) { run_refresh(kernel, ctx, call, shared); });
  }
  void start(const TaskSampleCall& given, Stream) override {
    TaskSampleCall call = given;
    Copies copies(this);
    const auto n = static_cast<std::size_t>(call.n);
    const auto listed = static_cast<std::size_t>(call.num_listed);
    call.beta_memory = copies.in(given.beta_memory, 1);
    call.uploaded = copies.in(given.uploaded, listed);
    call.short_weights = copies.in(given.short_weights, listed);
    call.wide_weights = copies.in(given.wide_weights, listed);
    call.indices = copies.out(given.indices, n);
    call.weights = copies.out(given.weights, n);
    call.probabilities = copies.out(given.probabilities, n);
    run<TaskSampleShared>(plan_task_sample(call),
                          [&](Kernel kernel, auto& ctx, auto* shared) { run_task_sample(kernel, ctx, call, shared); });
    copies.finish();
  }
  void start(const GetCall& given, Stream) override {
    GetCall call = given;
    Copies copies(this);
    const auto n = static_cast<std::size_t>(call.n);
    call.indices = copies.in(given.indices, n);
    call.priorities = copies.out(given.priorities, n);
    run<char>(plan_get(call.n), [&](Kernel kernel, auto& ctx, char*) { run_get(kernel, ctx, call); });
    copies.finish();
  }
  // An environment's rows are read and written where they are: threads share nothing of them but the status.
  const EnvKernels* find_env(const std::string& name) override {
    try {
      return &metarl_test::find_emulated_kernels(name);
    } catch (const std::out_of_range&) {
      return nullptr;
    }
  }
  void load_env(const EnvKernels& kernels, const std::string& library) override {
    for (const void* kernel : {kernels.reset, kernels.step, kernels.roll_out}) {
      check(kernels.runtime->load(kernel), "loading the kernels of " + library);
    }
  }
  void start(EnvWork work, const EnvKernels& kernels, const EnvCall& call, Stream) override {
    const auto launch = [&](auto body, std::int64_t rows) {
      if (rows > 0) launch_rows(rows, [&](auto& ctx) { body(ctx, call); });
    };
    if (work != EnvWork::reset) launch(metarl_test::emulated_check, call.num_envs);
    const void* const kernel = work == EnvWork::reset  ? kernels.reset
                               : work == EnvWork::step ? kernels.step
                                                       : kernels.roll_out;
    check(kernels.runtime->launch(kernel, call, &emulator_), "a launch");
    launch(metarl_test::emulated_tell, told_rows(call));
    if (work != EnvWork::reset) {
      emulator_.launch<char>("finish", 1, 1, [&](auto& ctx, char*) { metarl_test::emulated_finish(ctx, call); });
    }
  }
  void start(const SeedCall& call, Stream) override {
    launch_rows(call.count, [&](auto& ctx) { metarl_test::emulated_seed(ctx, call); });
  }
  void start_zeros(void* memory, std::size_t bytes, Stream) override { std::memset(memory, 0, bytes); }

 private:
  template <typename Body>
  void launch_rows(std::int64_t rows, Body body) {
    constexpr int kThreads = 8;  // several blocks of few rows
    const int blocks = static_cast<int>(std::min<std::int64_t>((rows + kThreads - 1) / kThreads, 16));
    emulator_.launch<char>("environments", blocks, kThreads, [&](auto& ctx, char*) { body(ctx); });
  }

  // The arguments of a call in the emulator's memory, where each is a buffer of its exact size.
  class Copies {
   public:
    explicit Copies(EmulatedDevice* device) : device_(device) {}
    ~Copies() {
      for (const Pair& pair : pairs_) device_->emulator_.release(pair.inside);
    }
    Copies(const Copies&) = delete;
    Copies& operator=(const Copies&) = delete;

    template <typename T>
    const T* in(const T* from, std::size_t n) {
      if (from == nullptr) return nullptr;
      const T* inside = device_->emulator_.upload(std::vector<T>(from, from + n), "argument");
      pairs_.push_back(Pair{nullptr, inside, 0});
      return inside;
    }
    template <typename T>
    T* out(T* to, std::size_t n) {
      if (to == nullptr) return nullptr;
      T* inside = device_->emulator_.template allocate<T>(n, "result");
      pairs_.push_back(Pair{to, inside, n * sizeof(T)});
      return inside;
    }
    void finish() {
      for (const Pair& pair : pairs_) {
        if (pair.outside != nullptr) std::memcpy(pair.outside, pair.inside, pair.bytes);
      }
    }

   private:
    struct Pair {
      void* outside;
      const void* inside;
      std::size_t bytes;
    };
    EmulatedDevice* device_;
    std::vector<Pair> pairs_;
  };

  // What a library's runtime returned: of one that was built for GPUs, an error that there is no driver.
  static void check(int error, const std::string& what) {
    if (error != 0) throw std::runtime_error(what + " failed (CUDA error " + std::to_string(error) + ")");
  }

  static std::size_t bytes_of_tasks(const DeviceTasks& tasks, std::int64_t rows) {
    return static_cast<std::size_t>(rows) * static_cast<std::size_t>(tasks.bytes);
  }

  static void refuse_in_graph(Stream stream) {
    if (stream == kCapturingStream) throw std::runtime_error("operation not permitted when stream is capturing");
  }

  template <typename Priority>
  void set(const SetCall<Priority>& given) {
    SetCall<Priority> call = given;
    Copies copies(this);
    const auto n = static_cast<std::size_t>(call.n);
    call.indices = copies.in(given.indices, given.indices == nullptr ? 0 : n);
    call.priorities = copies.in(given.priorities, given.priorities == nullptr ? 0 : n);
    run<SetShared>(plan_set(call.tree, call.n),
                   [&](Kernel kernel, auto& ctx, auto* shared) { run_set(kernel, ctx, call, shared); });
  }

  template <typename Shared, typename Body>
  void run(const Plan& plan, Body body) {
    for (int i = 0; i < plan.count; ++i) {
      const Launch& launch = plan.launches[i];
      emulator_.launch<Shared>("kernel", launch.num_blocks, launch.block_threads,
                               [&](auto& ctx, auto* shared) { body(launch.kernel, ctx, shared); });
    }
  }

  int number_;
  simt::Device emulator_;
};

constexpr int kNumDevices = 2;

}  // namespace

std::shared_ptr<Device> open_device(int number) {
  static std::shared_ptr<Device> devices[kNumDevices];
  if (number >= kNumDevices) {
    throw std::runtime_error("there is no cuda:" + std::to_string(number) + "; the emulator has cuda:0 ... cuda:1");
  }
  if (devices[number] == nullptr) devices[number] = std::make_shared<EmulatedDevice>(number);
  return devices[number];
}

std::vector<std::string> list_devices(std::string*) {
  return {"emulated:0 in host memory", "emulated:1 in host memory"};
}

}  // namespace metarl::cuda
