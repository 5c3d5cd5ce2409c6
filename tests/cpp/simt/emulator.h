// Runs kernel bodies as a GPU would, without one: every thread is a fiber, warps of 32 exchange values in shuffles and
// ballots, blocks meet at barriers, and threads of all resident blocks take turns in an order that a seed decides, at
// every access to memory and every exchange. A kernel whose result depends on that order is wrong.
//
// Faults, thrown from launch: an access outside of device memory or misaligned; a read of memory that nobody wrote; a
// shuffle or ballot that lanes of its mask never reach, or that reads a lane outside of the mask; a barrier that not
// all threads of the block reach, or that they reach at different lines.
//
// Memory is sequentially consistent here: a missing fence shows on a GPU only.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace simt {

constexpr int kWarp = 32;

struct Fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Device;
struct Thread;
struct Block;

enum class Exchange : std::uint8_t { shuffle, ballot };

// What a kernel body sees; csrc/cuda/context.h is the same on a GPU.
class Context {
 public:
  Context(Device* device, Thread* self) : device_(device), self_(self) {}

  int thread() const;
  int block() const;
  int block_threads() const;
  int num_blocks() const;
  int lane() const { return thread() % kWarp; }

  void sync(int line = __builtin_LINE());

  template <typename T>
  T shuffle(std::uint32_t mask, T value, int source, int line = __builtin_LINE()) {
    return from_word<T>(exchange(Exchange::shuffle, mask, to_word(value), source & (kWarp - 1), line));
  }
  template <typename T>
  T shuffle_xor(std::uint32_t mask, T value, int lanes, int line = __builtin_LINE()) {
    return from_word<T>(exchange(Exchange::shuffle, mask, to_word(value), lane() ^ lanes, line));
  }
  // Lanes below `delta` within their `width` get their own value.
  template <typename T>
  T shuffle_up(std::uint32_t mask, T value, int delta, int width, int line = __builtin_LINE()) {
    const int source = lane() % width < delta ? lane() : lane() - delta;
    return from_word<T>(exchange(Exchange::shuffle, mask, to_word(value), source, line));
  }
  std::uint32_t ballot(std::uint32_t mask, bool predicate, int line = __builtin_LINE()) {
    return static_cast<std::uint32_t>(exchange(Exchange::ballot, mask, predicate ? 1 : 0, lane(), line));
  }

  template <typename T>
  T load(const T* from) {
    interleave(8);
    check(from, sizeof(T), alignof(T), true);
    return *from;
  }
  // A load that may race with atomics of other threads.
  template <typename T>
  T peek(const T* from) {
    return load(from);
  }
  // N neighbours at an address aligned to 16 bytes.
  template <int N, typename T>
  std::array<T, N> load_vector(const T* from) {
    static_assert(N * sizeof(T) == 16);
    interleave(8);
    check(from, 16, 16, true);
    std::array<T, N> values;
    std::memcpy(values.data(), from, 16);
    return values;
  }
  template <typename T>
  void store(T* to, std::type_identity_t<T> value) {
    interleave(8);
    check(to, sizeof(T), alignof(T), false);
    *to = value;
  }
  template <std::size_t N, typename T>
  void store_vector(T* to, const std::array<T, N>& values) {
    static_assert(N * sizeof(T) == 16);
    interleave(8);
    check(to, 16, 16, false);
    std::memcpy(to, values.data(), 16);
  }
  template <typename T>
  void atomic_add(T* at, std::type_identity_t<T> value) {
    atomic(at, [&](T old) { return static_cast<T>(old + value); });
  }
  template <typename T>
  void atomic_max(T* at, std::type_identity_t<T> value) {
    atomic(at, [&](T old) { return std::max(old, value); });
  }
  template <typename T>
  T atomic_or(T* at, std::type_identity_t<T> value) {
    return atomic(at, [&](T old) { return static_cast<T>(old | value); });
  }
  template <typename T>
  T atomic_exchange(T* at, std::type_identity_t<T> value) {
    return atomic(at, [&](T) { return value; });
  }

 private:
  template <typename T>
  static std::uint64_t to_word(T value) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
    std::uint64_t word = 0;
    std::memcpy(&word, &value, sizeof value);
    return word;
  }
  template <typename T>
  static T from_word(std::uint64_t word) {
    T value;
    std::memcpy(&value, &word, sizeof value);
    return value;
  }
  template <typename T, typename F>
  T atomic(T* at, F f) {
    interleave(2);
    check(at, sizeof(T), sizeof(T), true);
    const T old = *at;
    *at = f(old);
    return old;
  }
  std::uint64_t exchange(Exchange kind, std::uint32_t mask, std::uint64_t value, int source, int line);
  // Lets others run, once in `rarity` times.
  void interleave(unsigned rarity);
  void check(const void* at, std::size_t bytes, std::size_t alignment, bool read);

  Device* device_;
  Thread* self_;
};

class Device {
 public:
  explicit Device(std::uint64_t seed);
  ~Device();

  // Device memory that nobody wrote yet. Host code may use the pointer; what it writes it must declare.
  template <typename T>
  T* allocate(std::size_t count, const std::string& name) {
    return static_cast<T*>(allocate_bytes(count * sizeof(T), name));
  }
  template <typename T>
  T* upload(const std::vector<T>& values, const std::string& name) {
    T* at = allocate<T>(values.size(), name);
    std::copy(values.begin(), values.end(), at);
    declare_written(at);
    return at;
  }
  void* allocate_zeroed(std::size_t bytes, const std::string& name);
  void declare_written(const void* at);
  void release(const void* at);
  // As after allocate: for outputs that are used again.
  void forget(const void* at);

  // body(context, shared) in every thread; Shared is the block's shared memory, which nobody wrote.
  template <typename Shared, typename Body>
  void launch(const char* kernel, int num_blocks, int block_threads, Body body) {
    run(kernel, num_blocks, block_threads, sizeof(Shared),
        [&](Context& context, void* shared) { body(context, static_cast<Shared*>(shared)); });
  }

  std::uint64_t num_switches() const { return switches_; }

 private:
  friend class Context;
  friend struct Thread;
  struct Buffer {
    std::string name;
    std::size_t bytes = 0;
    std::unique_ptr<std::byte[]> memory;
    std::vector<std::uint8_t> written;  // one a byte
  };
  using Body = std::function<void(Context&, void*)>;

  void* allocate_bytes(std::size_t bytes, const std::string& name);
  void run(const char* kernel, int num_blocks, int block_threads, std::size_t shared_bytes, const Body& body);
  void start_block(int number);
  void finish_blocks(Block* block);
  void make_runnable(Thread* thread);
  void yield(Thread* thread);
  void arrive(Thread* thread);
  void report_stuck(Block* block);
  [[noreturn]] void fault(const Thread* thread, const std::string& what) const;
  std::uint64_t random();
  static void thread_entry(void* thread);

  std::uint64_t random_state_;
  std::map<const std::byte*, Buffer> buffers_;

  // Of the launch under way.
  const char* kernel_ = "";
  int num_blocks_ = 0;
  int block_threads_ = 0;
  const Body* body_ = nullptr;
  std::vector<std::unique_ptr<Block>> blocks_;  // resident
  std::vector<Thread*> runnable_;
  std::exception_ptr failure_;
  std::uint64_t switches_ = 0;
  std::vector<std::unique_ptr<Thread>> idle_;  // fibers to be used again
};

}  // namespace simt
