// What the sanitizers must be told, and nothing where there are none: the thread sanitizer to which
// fibre an access belongs and what orders fibres, the address sanitizer which stack is in use and
// which memory is out of bounds.
#pragma once

#include <cstddef>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EMU_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define EMU_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define EMU_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define EMU_TSAN 1
#endif

#if defined(EMU_ASAN)
extern "C" {
void __asan_poison_memory_region(const volatile void* begin, size_t n_bytes);
void __asan_unpoison_memory_region(const volatile void* begin, size_t n_bytes);
void __sanitizer_start_switch_fiber(void** fake_stack, const void* stack, size_t n_bytes);
void __sanitizer_finish_switch_fiber(void* fake_stack, const void** stack, size_t* n_bytes);
}
#endif
#if defined(EMU_TSAN)
extern "C" {
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned flags);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_acquire(void* address);
void __tsan_release(void* address);
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
#endif

namespace emu {

#if defined(EMU_ASAN) || defined(EMU_TSAN)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

inline void poison([[maybe_unused]] const void* begin, [[maybe_unused]] size_t n_bytes) {
#if defined(EMU_ASAN)
    __asan_poison_memory_region(begin, n_bytes);
#endif
}

inline void unpoison([[maybe_unused]] const void* begin, [[maybe_unused]] size_t n_bytes) {
#if defined(EMU_ASAN)
    __asan_unpoison_memory_region(begin, n_bytes);
#endif
}

// A place in time: what happened before its releases happened before what follows an acquire.
class SyncPoint {
public:
    void release() {
#if defined(EMU_TSAN)
        __tsan_release(&place_);
#endif
    }
    void acquire() {
#if defined(EMU_TSAN)
        __tsan_acquire(&place_);
#endif
    }

private:
    [[maybe_unused]] char place_ = 0;
};

// The emulator's own bookkeeping, which fibres of one thread share, is no race.
inline void begin_ignoring() {
#if defined(EMU_TSAN)
    AnnotateIgnoreReadsBegin("", 0);
    AnnotateIgnoreWritesBegin("", 0);
#endif
}

inline void end_ignoring() {
#if defined(EMU_TSAN)
    AnnotateIgnoreWritesEnd("", 0);
    AnnotateIgnoreReadsEnd("", 0);
#endif
}

class Ignore {
public:
    Ignore() { begin_ignoring(); }
    ~Ignore() { end_ignoring(); }
    Ignore(const Ignore&) = delete;
    Ignore& operator=(const Ignore&) = delete;
};

} // namespace emu
