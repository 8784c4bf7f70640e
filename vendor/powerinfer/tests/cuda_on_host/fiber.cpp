#include "fiber.h"

#include "sanitizers.h"

#include <cstdint>

// Saves the registers that a call preserves on this stack, and loads them from another.
extern "C" [[gnu::visibility("hidden")]] void emu_switch_stack(void** from, void* to);

#if defined(__x86_64__)
asm(R"(
    .text
    .hidden emu_switch_stack
    .globl emu_switch_stack
    .type emu_switch_stack, @function
emu_switch_stack:
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
    .size emu_switch_stack, .-emu_switch_stack
)");
#elif defined(__aarch64__)
asm(R"(
    .text
    .hidden emu_switch_stack
    .globl emu_switch_stack
    .type emu_switch_stack, %function
emu_switch_stack:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
    .size emu_switch_stack, .-emu_switch_stack
)");
#else
#error "no switch of stacks for this processor"
#endif

namespace emu {

namespace {

// The thread sanitizer counts functions that are entered and left: it must not see those that are
// entered in one fibre and left in another, or never.
#if defined(__clang__)
#define EMU_UNSEEN __attribute__((disable_sanitizer_instrumentation))
#else
#define EMU_UNSEEN __attribute__((no_sanitize("thread")))
#endif

constinit thread_local Fiber* running = nullptr;  // or about to
constinit thread_local Fiber* previous = nullptr; // that handed over to it

#if defined(__x86_64__)
constexpr int kFrameWords = 8; // six registers, the address to return to, and what aligns them
constexpr int kReturnWord = 6;
#else
constexpr int kFrameWords = 20;
constexpr int kReturnWord = 11; // x30
#endif

} // namespace

Fiber::Fiber(size_t stack_bytes)
    : stack_(new std::byte[stack_bytes]), stack_bytes_(stack_bytes), stack_begin_(stack_.get()) {
#if defined(EMU_TSAN)
    thread_sanitizer_ = __tsan_create_fiber(0);
#endif
}

// The thread sanitizer keeps its own fibre: it ends a program that destroys one it is told to
// ignore, and this one cannot say so any more.
Fiber::~Fiber() {
    unpoison(stack_.get(), stack_bytes_);
}

void Fiber::prepare(Fiber& (*entry)()) {
    unpoison(stack_.get(), stack_bytes_); // of frames that were left
    const auto end = reinterpret_cast<uintptr_t>(stack_.get() + stack_bytes_) & ~uintptr_t{15};
    auto* frame = reinterpret_cast<void**>(end) - kFrameWords;
    for (int i = 0; i < kFrameWords; ++i) {
        frame[i] = nullptr;
    }
    frame[kReturnWord] = reinterpret_cast<void*>(&Fiber::begin);
    position_ = frame;
    entry_ = entry;
}

void Fiber::arrive() {
#if defined(EMU_ASAN)
    __sanitizer_finish_switch_fiber(fake_stack_, &previous->stack_begin_, &previous->stack_bytes_);
#endif
}

EMU_UNSEEN void Fiber::begin() {
    Fiber* self = running;
    self->fake_stack_ = nullptr;
    self->arrive();
    if (self->ignores_) {
        end_ignoring();
    }
    self->leave(self->entry_(), true);
    __builtin_trap();
}

EMU_UNSEEN void Fiber::leave(Fiber& to, [[maybe_unused]] bool ends) {
    ignores_ = true;
    previous = this;
    running = &to;
#if defined(EMU_TSAN)
    if (stack_ == nullptr) {
        thread_sanitizer_ = __tsan_get_current_fiber();
    }
    __tsan_switch_to_fiber(to.thread_sanitizer_, 1); // 1: orders nothing
#endif
#if defined(EMU_ASAN)
    __sanitizer_start_switch_fiber(ends ? nullptr : &fake_stack_, to.stack_begin_, to.stack_bytes_);
#endif
    emu_switch_stack(&position_, to.position_);
    arrive();
}

} // namespace emu
