// A persistent team of threads for loops over rows. Workers spin briefly between loops, then sleep.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace powerinfer {

// The caller's thread is worker 0; n_threads - 1 more are started. Belongs to one caller at a time.
class ThreadPool {
public:
    explicit ThreadPool(int n_threads);
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    int n_threads() const noexcept { return static_cast<int>(threads_.size()) + 1; }

    // Calls body(begin, end, worker) over [0, n) in pieces that workers take as they come; returns
    // when all are done. Pieces are multiples of `grain`, the last one aside: half of a fair share
    // of what is left, so long runs come first and short ones even out the end; at most `largest`.
    // Which worker takes which piece is not defined, so a body's result must depend on its indices
    // only. The body must not throw.
    template <typename Body>
    void parallel_for(int64_t n, int64_t grain, int64_t largest, Body&& body) {
        using Plain = std::remove_reference_t<Body>;
        run(n,
            grain,
            largest,
            const_cast<void*>(static_cast<const void*>(&body)),
            [](void* context, int64_t begin, int64_t end, int worker) {
                (*static_cast<Plain*>(context))(begin, end, worker);
            });
    }
    // In pieces of `grain`.
    template <typename Body>
    void parallel_for(int64_t n, int64_t grain, Body&& body) {
        parallel_for(n, grain, grain, std::forward<Body>(body));
    }

private:
    using Invoke = void (*)(void* context, int64_t begin, int64_t end, int worker);

    void run(int64_t n, int64_t grain, int64_t largest, void* context, Invoke invoke);
    void work_off(int worker);
    int64_t piece_at(int64_t begin) const noexcept;
    void worker_loop(int worker);
    void wait_for_job(uint64_t seen);
    void stop();

    // A job is open while workers may join it. A worker that wakes after it was closed just goes
    // back to waiting, so a loop never waits for a thread that the system has not scheduled.
    // Layout: job number << 16 | kOpen | workers inside.
    std::atomic<uint64_t> state_{0};
    std::atomic<int64_t> next_{0}; // first index that nobody has taken
    int64_t n_ = 0;
    int64_t grain_ = 1;
    int64_t largest_ = 1;
    void* context_ = nullptr;
    Invoke invoke_ = nullptr;

    std::atomic<int> n_sleeping_{0};
    std::mutex mutex_;
    std::condition_variable wake_;
    bool is_stopping_ = false; // guarded by mutex_
    std::vector<std::thread> threads_;
};

} // namespace powerinfer
