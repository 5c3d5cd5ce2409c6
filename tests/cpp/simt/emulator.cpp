#include "simt/emulator.h"

#include <exception>
#include <numeric>

#include "simt/fiber.h"

namespace simt {
namespace {

constexpr int kResidentThreads = 4096;

}  // namespace

enum class Wait : std::uint8_t { none, barrier, exchange, ended };

struct Thread {
  Thread() : context(nullptr, nullptr) {}

  Fiber fiber;
  Context context;
  Device* device = nullptr;
  Block* block = nullptr;
  int number = 0;
  Wait wait = Wait::none;
  int line = 0;
  // Of the exchange under way.
  Exchange kind = Exchange::shuffle;
  std::uint32_t mask = 0;
  std::uint64_t value = 0;
  int source = 0;
};

// Lanes that arrived at an exchange with one mask.
struct Meeting {
  std::uint32_t mask = 0;
  std::uint32_t arrived = 0;
};

struct Block {
  int number = 0;
  void* shared = nullptr;
  std::vector<std::unique_ptr<Thread>> threads;
  std::vector<std::vector<Meeting>> meetings;  // by warp
  int at_barrier = 0;
  int ended = 0;
  int num_runnable = 0;
};

int Context::thread() const { return self_->number; }
int Context::block() const { return self_->block->number; }
int Context::block_threads() const { return device_->block_threads_; }
int Context::num_blocks() const { return device_->num_blocks_; }

void Context::sync(int line) {
  Block* block = self_->block;
  self_->wait = Wait::barrier;
  self_->line = line;
  if (++block->at_barrier == device_->block_threads_) {
    for (const auto& other : block->threads) {
      if (other->line != line) {
        device_->fault(self_, "is at the barrier of line " + std::to_string(line) + ", thread " +
                                  std::to_string(other->number) + " at that of line " + std::to_string(other->line));
      }
    }
    block->at_barrier = 0;
    for (const auto& other : block->threads) {
      other->wait = Wait::none;
      if (other.get() != self_) device_->make_runnable(other.get());
    }
    interleave(2);
    return;
  }
  device_->yield(self_);
}

std::uint64_t Context::exchange(Exchange kind, std::uint32_t mask, std::uint64_t value, int source, int line) {
  if ((mask >> lane() & 1) == 0) {
    device_->fault(self_, "is not in the mask of its own exchange, line " + std::to_string(line));
  }
  if ((mask >> source & 1) == 0) {
    device_->fault(self_,
                   "reads lane " + std::to_string(source) + ", which is not in the mask, line " + std::to_string(line));
  }
  self_->wait = Wait::exchange;
  self_->line = line;
  self_->kind = kind;
  self_->mask = mask;
  self_->value = value;
  self_->source = source;
  device_->arrive(self_);
  if (self_->wait != Wait::none) {
    device_->yield(self_);
  } else {
    interleave(2);
  }
  return self_->value;
}

void Context::interleave(unsigned rarity) {
  if (device_->random() % rarity != 0) return;
  device_->make_runnable(self_);
  device_->yield(self_);
}

void Context::check(const void* at, std::size_t bytes, std::size_t alignment, bool read) {
  const auto* address = static_cast<const std::byte*>(at);
  auto found = device_->buffers_.upper_bound(address);
  if (found == device_->buffers_.begin()) device_->fault(self_, "accesses memory that is not the device's");
  --found;
  Device::Buffer& buffer = found->second;
  const std::size_t offset = static_cast<std::size_t>(address - found->first);
  const auto place = [&] { return "'" + buffer.name + "' at byte " + std::to_string(offset); };
  if (offset + bytes > buffer.bytes) {
    device_->fault(self_, "accesses " + place() + " of " + std::to_string(buffer.bytes));
  }
  if (reinterpret_cast<std::uintptr_t>(at) % alignment != 0) device_->fault(self_, "is misaligned: " + place());
  for (std::size_t i = offset; i < offset + bytes; ++i) {
    if (!read) {
      buffer.written[i] = true;
    } else if (!buffer.written[i]) {
      device_->fault(self_, "reads " + place() + ", which was not written");
    }
  }
}

Device::Device(std::uint64_t seed) : random_state_(seed * 2 + 1) {}

Device::~Device() = default;

// SplitMix64 (Steele, Lea and Flood, 2014).
std::uint64_t Device::random() {
  std::uint64_t z = (random_state_ += 0x9E3779B97F4A7C15ull);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

void* Device::allocate_bytes(std::size_t bytes, const std::string& name) {
  // Aligned as the real allocator does, with a gap behind, so that the neighbour of a buffer is not another one.
  constexpr std::size_t kAlignment = 256;
  Buffer buffer;
  buffer.name = name;
  buffer.bytes = bytes;
  buffer.memory = std::make_unique<std::byte[]>(bytes + 2 * kAlignment);
  buffer.written.assign(bytes, false);
  const auto start = (reinterpret_cast<std::uintptr_t>(buffer.memory.get()) + kAlignment - 1) & ~(kAlignment - 1);
  auto* at = reinterpret_cast<std::byte*>(start);
  std::fill_n(at, bytes, std::byte{0xCD});
  buffers_.emplace(at, std::move(buffer));
  return at;
}

void* Device::allocate_zeroed(std::size_t bytes, const std::string& name) {
  void* at = allocate_bytes(bytes, name);
  std::memset(at, 0, bytes);
  declare_written(at);
  return at;
}

void Device::declare_written(const void* at) {
  Buffer& buffer = buffers_.at(static_cast<const std::byte*>(at));
  buffer.written.assign(buffer.bytes, true);
}

void Device::forget(const void* at) {
  Buffer& buffer = buffers_.at(static_cast<const std::byte*>(at));
  buffer.written.assign(buffer.bytes, false);
}

void Device::release(const void* at) { buffers_.erase(static_cast<const std::byte*>(at)); }

void Device::fault(const Thread* thread, const std::string& what) const {
  throw Fault(std::string(kernel_) + ": thread " + std::to_string(thread->number) + " of block " +
              std::to_string(thread->block->number) + " " + what);
}

void Device::make_runnable(Thread* thread) {
  runnable_.push_back(thread);
  ++thread->block->num_runnable;
}

void Device::yield(Thread* thread) {
  ++switches_;
  thread->fiber.suspend();
}

// A lane reached an exchange: the last one of the mask carries it out.
void Device::arrive(Thread* thread) {
  Block* block = thread->block;
  const int warp = thread->number / kWarp;
  std::vector<Meeting>& meetings = block->meetings[static_cast<std::size_t>(warp)];
  auto meeting =
      std::find_if(meetings.begin(), meetings.end(), [&](const Meeting& m) { return m.mask == thread->mask; });
  if (meeting == meetings.end()) meeting = meetings.insert(meetings.end(), Meeting{thread->mask, 0});
  meeting->arrived |= 1u << (thread->number % kWarp);
  if (meeting->arrived != meeting->mask) return;
  meetings.erase(meeting);
  const auto lane = [&](int l) { return block->threads[static_cast<std::size_t>(warp * kWarp + l)].get(); };
  std::array<std::uint64_t, kWarp> given{};
  std::uint32_t votes = 0;
  for (int l = 0; l < kWarp; ++l) {
    if ((thread->mask >> l & 1) == 0) continue;
    const Thread* other = lane(l);
    if (other->kind != thread->kind || other->line != thread->line) {
      fault(thread, "is at the exchange of line " + std::to_string(thread->line) + ", lane " + std::to_string(l) +
                        " at that of line " + std::to_string(other->line));
    }
    given[static_cast<std::size_t>(l)] = other->value;
    votes |= static_cast<std::uint32_t>(other->value & 1) << l;
  }
  for (int l = 0; l < kWarp; ++l) {
    if ((thread->mask >> l & 1) == 0) continue;
    Thread* other = lane(l);
    other->value = thread->kind == Exchange::ballot ? votes : given[static_cast<std::size_t>(other->source)];
    other->wait = Wait::none;
    if (other != thread) make_runnable(other);
  }
}

void Device::thread_entry(void* argument) {
  auto* thread = static_cast<Thread*>(argument);
  Device* device = thread->device;
  try {
    (*device->body_)(thread->context, thread->block->shared);
  } catch (...) {
    device->failure_ = std::current_exception();
  }
  thread->wait = Wait::ended;
  ++thread->block->ended;
  thread->fiber.suspend();
}

void Device::start_block(int number) {
  auto block = std::make_unique<Block>();
  block->number = number;
  block->meetings.resize(static_cast<std::size_t>((block_threads_ + kWarp - 1) / kWarp));
  for (int t = 0; t < block_threads_; ++t) {
    if (idle_.empty()) idle_.push_back(std::make_unique<Thread>());
    std::unique_ptr<Thread> thread = std::move(idle_.back());
    idle_.pop_back();
    thread->context = Context(this, thread.get());
    thread->device = this;
    thread->block = block.get();
    thread->number = t;
    thread->wait = Wait::none;
    thread->fiber.start(&Device::thread_entry, thread.get());
    make_runnable(thread.get());
    block->threads.push_back(std::move(thread));
  }
  blocks_.push_back(std::move(block));
}

// Nobody of the block can go on.
void Device::report_stuck(Block* block) {
  for (const auto& thread : block->threads) {
    if (thread->wait == Wait::ended) continue;
    const std::string line = std::to_string(thread->line);
    if (thread->wait == Wait::barrier) {
      const auto missing = std::find_if(block->threads.begin(), block->threads.end(),
                                        [](const auto& other) { return other->wait != Wait::barrier; });
      const bool gone = (*missing)->wait == Wait::ended;
      fault(thread.get(), "waits at the barrier of line " + line + " for thread " + std::to_string((*missing)->number) +
                              (gone ? ", which has ended"
                                    : ", which waits at the exchange of line " + std::to_string((*missing)->line)));
    }
    for (int l = 0; l < kWarp; ++l) {
      if ((thread->mask >> l & 1) == 0) continue;
      const std::size_t number = static_cast<std::size_t>(thread->number / kWarp * kWarp + l);
      const Thread* other = number < block->threads.size() ? block->threads[number].get() : nullptr;
      if (other != nullptr && other->wait == Wait::exchange && other->mask == thread->mask) continue;
      fault(thread.get(), "waits at the exchange of line " + line + " for lane " + std::to_string(l) + ", which " +
                              (other == nullptr               ? "does not exist"
                               : other->wait == Wait::ended   ? "has ended"
                               : other->wait == Wait::barrier ? "waits at a barrier"
                                                              : "waits with another mask"));
    }
  }
}

void Device::finish_blocks(Block* block) {
  for (auto& thread : block->threads) idle_.push_back(std::move(thread));
  release(block->shared);
  std::erase_if(blocks_, [&](const auto& b) { return b.get() == block; });
}

void Device::run(const char* kernel, int num_blocks, int block_threads, std::size_t shared_bytes, const Body& body) {
  kernel_ = kernel;
  num_blocks_ = num_blocks;
  block_threads_ = block_threads;
  body_ = &body;
  failure_ = nullptr;
  if (num_blocks < 1 || block_threads < 1 || block_threads > 1024) {
    throw Fault(std::string(kernel) + ": " + std::to_string(num_blocks) + " blocks of " +
                std::to_string(block_threads) + " threads cannot be launched");
  }
  std::vector<int> waiting(static_cast<std::size_t>(num_blocks));
  std::iota(waiting.begin(), waiting.end(), 0);
  for (std::size_t i = waiting.size(); i > 1; --i) std::swap(waiting[i - 1], waiting[random() % i]);
  const auto clean_up = [&] {
    while (!blocks_.empty()) finish_blocks(blocks_.back().get());
    runnable_.clear();
  };
  try {
    while (!waiting.empty() || !blocks_.empty()) {
      while (!waiting.empty() &&
             (blocks_.empty() || static_cast<int>(blocks_.size() + 1) * block_threads <= kResidentThreads)) {
        start_block(waiting.back());
        blocks_.back()->shared = allocate_bytes(shared_bytes, "shared memory");
        waiting.pop_back();
      }
      const std::size_t chosen = random() % runnable_.size();
      Thread* thread = runnable_[chosen];
      runnable_[chosen] = runnable_.back();
      runnable_.pop_back();
      Block* block = thread->block;
      --block->num_runnable;
      thread->fiber.resume();
      if (failure_) std::rethrow_exception(failure_);
      if (block->ended == block_threads) {
        finish_blocks(block);
      } else if (block->num_runnable == 0) {
        report_stuck(block);
      }
    }
  } catch (...) {
    clean_up();
    throw;
  }
}

}  // namespace simt
