// A function with a stack of its own, which runs until it hands over to another. All fibres that
// hand over to each other belong to one thread of the operating system.
#pragma once

#include <cstddef>
#include <memory>

namespace emu {

class Fiber {
public:
    Fiber() = default; // the thread itself, with the stack it has
    explicit Fiber(size_t stack_bytes);
    ~Fiber();
    Fiber(const Fiber&) = delete;
    Fiber& operator=(const Fiber&) = delete;

    // The next switch to it enters the function, and goes on with the fibre that this returns. What
    // it was doing before is forgotten.
    void prepare(Fiber& (*entry)());

    // Goes on where `to` is, and returns when something switches back.
    void switch_to(Fiber& to) { leave(to, false); }

private:
    static void begin();
    void arrive();
    void leave(Fiber& to, bool ends);

    std::unique_ptr<std::byte[]> stack_;
    size_t stack_bytes_ = 0;
    const void* stack_begin_ = nullptr;
    void* position_ = nullptr; // of the stack, while it does not run
    Fiber& (*entry_)() = nullptr;
    [[maybe_unused]] void* thread_sanitizer_ = nullptr;
    [[maybe_unused]] void* fake_stack_ = nullptr; // of the address sanitizer
    bool ignores_ = false; // was left while the thread sanitizer was told to ignore it
};

} // namespace emu
