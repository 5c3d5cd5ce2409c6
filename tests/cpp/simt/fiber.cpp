#include "simt/fiber.h"

#include <cstring>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__)
// ucontext would do, but it calls the kernel at each switch, about a hundred times slower.
extern "C" void metarl_simt_switch(void** from, void* to);
asm(R"(
.text
.globl metarl_simt_switch
.hidden metarl_simt_switch
.type metarl_simt_switch, @function
metarl_simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size metarl_simt_switch, . - metarl_simt_switch
)");
#endif

namespace simt {
namespace {

Fiber* starting = nullptr;  // the emulator is single-threaded

}  // namespace

struct Fiber::Registers {
#if defined(__x86_64__)
  void* fiber = nullptr;
  void* caller = nullptr;
#else
  ucontext_t fiber;
  ucontext_t caller;
#endif
#if defined(__SANITIZE_ADDRESS__)
  const void* caller_stack = nullptr;
  std::size_t caller_size = 0;
  void* fiber_fake = nullptr;
#endif
};

Fiber::Fiber() : stack_(new std::byte[kStackBytes]), registers_(std::make_unique<Registers>()) {}

Fiber::~Fiber() = default;

void Fiber::begin() {
  Fiber* self = starting;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &self->registers_->caller_stack, &self->registers_->caller_size);
#endif
  self->entry_(self->argument_);
  __builtin_trap();  // see start
}

void Fiber::start(void (*entry)(void*), void* argument) {
  entry_ = entry;
  argument_ = argument;
#if defined(__x86_64__)
  const auto end = (reinterpret_cast<std::uintptr_t>(stack_.get()) + kStackBytes) & ~std::uintptr_t{15};
  // From below: six registers, where to go, and no return address, as if `begin` had been called.
  std::uintptr_t frame[8] = {};
  frame[6] = reinterpret_cast<std::uintptr_t>(&Fiber::begin);
  registers_->fiber = reinterpret_cast<void*>(end - sizeof frame);
  std::memcpy(registers_->fiber, frame, sizeof frame);
#else
  getcontext(&registers_->fiber);
  registers_->fiber.uc_stack.ss_sp = stack_.get();
  registers_->fiber.uc_stack.ss_size = kStackBytes;
  registers_->fiber.uc_link = nullptr;
  makecontext(&registers_->fiber, &Fiber::begin, 0);
#endif
}

void Fiber::resume() {
  starting = this;
#if defined(__SANITIZE_ADDRESS__)
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, stack_.get(), kStackBytes);
#endif
#if defined(__x86_64__)
  metarl_simt_switch(&registers_->caller, registers_->fiber);
#else
  swapcontext(&registers_->caller, &registers_->fiber);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

void Fiber::suspend() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&registers_->fiber_fake, registers_->caller_stack, registers_->caller_size);
#endif
#if defined(__x86_64__)
  metarl_simt_switch(&registers_->fiber, registers_->caller);
#else
  swapcontext(&registers_->fiber, &registers_->caller);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(registers_->fiber_fake, &registers_->caller_stack, &registers_->caller_size);
#endif
}

}  // namespace simt
