#include "thread_pool.h"

#include "error.h"

#include <algorithm>
#include <chrono>
#include <system_error>

namespace powerinfer {

namespace {

constexpr uint64_t kOpen = 1U << 15;
constexpr uint64_t kInside = kOpen - 1; // mask of the count of workers inside
constexpr int kJobShift = 16;
// A wait first spins, then offers its processor to others between two looks, so that a worker that
// has lost its own gets on with its work; workers without a job go to sleep after that.
constexpr int kSpins = 100;
constexpr auto kAwake = std::chrono::microseconds(100); // longer than the gap between two loops

void pause_cpu() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

class Waiter {
public:
    void wait() noexcept {
        if (n_spins_ < kSpins) {
            n_spins_ += 1;
            pause_cpu();
        } else {
            std::this_thread::yield();
        }
    }
    // Since the spins were over; nothing before.
    std::chrono::steady_clock::duration time() noexcept {
        if (n_spins_ < kSpins) {
            return {};
        }
        const auto now = std::chrono::steady_clock::now();
        if (start_ == std::chrono::steady_clock::time_point{}) {
            start_ = now;
        }
        return now - start_;
    }

private:
    int n_spins_ = 0;
    std::chrono::steady_clock::time_point start_{};
};

uint64_t job_of(uint64_t state) noexcept {
    return state >> kJobShift;
}

} // namespace

ThreadPool::ThreadPool(int n_threads) {
    threads_.reserve(static_cast<size_t>(std::max(0, n_threads - 1)));
    try {
        for (int worker = 1; worker < n_threads; ++worker) {
            threads_.emplace_back([this, worker] { worker_loop(worker); });
        }
    } catch (const std::system_error& error) {
        stop();
        PI_THROW(out_of_memory, "cannot start %d threads: %s", n_threads, error.what());
    } catch (...) {
        stop(); // a thread that is not joined would end the program
        throw;
    }
}

ThreadPool::~ThreadPool() {
    stop();
}

void ThreadPool::stop() {
    {
        const std::lock_guard lock(mutex_);
        is_stopping_ = true;
        state_.fetch_add(uint64_t{1} << kJobShift); // ends spinning; the job is not open
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) {
        thread.join();
    }
}

void ThreadPool::run(int64_t n, int64_t grain, int64_t largest, void* context, Invoke invoke) {
    if (threads_.empty() || n <= grain) {
        if (n > 0) {
            invoke(context, 0, n, 0);
        }
        return;
    }
    n_ = n;
    grain_ = grain;
    largest_ = std::max(grain, largest / grain * grain);
    context_ = context;
    invoke_ = invoke;
    next_.store(0, std::memory_order_relaxed);
    const uint64_t job = job_of(state_.load(std::memory_order_relaxed)) + 1;
    state_.store(job << kJobShift | kOpen); // sequentially consistent with n_sleeping_ below
    if (n_sleeping_.load() > 0) {
        const std::lock_guard lock(mutex_);
        wake_.notify_all();
    }
    work_off(0);
    state_.fetch_and(~kOpen, std::memory_order_acq_rel);
    Waiter waiter;
    while ((state_.load(std::memory_order_acquire) & kInside) != 0) {
        waiter.wait();
    }
}

int64_t ThreadPool::piece_at(int64_t begin) const noexcept {
    const int64_t half_share = (n_ - begin) / (2 * int64_t{n_threads()});
    return std::clamp(half_share / grain_ * grain_, grain_, largest_);
}

void ThreadPool::work_off(int worker) {
    int64_t begin = next_.load(std::memory_order_relaxed);
    while (begin < n_) {
        const int64_t end = std::min(n_, begin + piece_at(begin));
        if (next_.compare_exchange_weak(begin, end, std::memory_order_relaxed)) {
            invoke_(context_, begin, end, worker);
            begin = next_.load(std::memory_order_relaxed);
        }
    }
}

void ThreadPool::wait_for_job(uint64_t seen) {
    Waiter waiter;
    do {
        if (job_of(state_.load(std::memory_order_acquire)) != seen) {
            return;
        }
        waiter.wait();
    } while (waiter.time() < kAwake);
    std::unique_lock lock(mutex_);
    n_sleeping_.fetch_add(1);
    wake_.wait(lock, [&] { return job_of(state_.load()) != seen; });
    n_sleeping_.fetch_sub(1);
}

void ThreadPool::worker_loop(int worker) {
    uint64_t seen = 0;
    for (;;) {
        wait_for_job(seen);
        uint64_t state = state_.load(std::memory_order_acquire);
        seen = job_of(state);
        bool is_inside = false;
        while ((state & kOpen) != 0 && !is_inside) {
            is_inside = state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel);
        }
        if (is_inside) {
            seen = job_of(state);
            work_off(worker);
            state_.fetch_sub(1, std::memory_order_release);
            continue;
        }
        const std::lock_guard lock(mutex_);
        if (is_stopping_) {
            return;
        }
    }
}

} // namespace powerinfer
