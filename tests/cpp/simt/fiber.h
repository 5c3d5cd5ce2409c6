// A call stack of its own that gives control back in the middle of a function: what a thread of the emulator runs on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace simt {

class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // The next resume calls entry(argument), which must end in a suspend that is never resumed. What was suspended before
  // is dropped without running destructors.
  void start(void (*entry)(void*), void* argument);
  // Runs until the fiber suspends itself.
  void resume();
  // Called on the fiber.
  void suspend();

 private:
  struct Registers;
  static void begin();

  static constexpr std::size_t kStackBytes = 128 * 1024;  // only the pages that are used are backed by memory
  std::unique_ptr<std::byte[]> stack_;
  std::unique_ptr<Registers> registers_;
  void (*entry_)(void*) = nullptr;
  void* argument_ = nullptr;
};

}  // namespace simt
