// The team of threads under pressure: more threads than processors, loops that end at once, naps
// between them. Meant for the thread sanitizer too.
#include "check.h"
#include "thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

using powerinfer::ThreadPool;

namespace {

// Plain memory, so that a sanitizer sees a loop that returns before its last chunk is done.
void every_index_is_visited_once(ThreadPool& pool, int64_t n, int64_t grain, int64_t largest) {
    std::vector<int> visits(static_cast<size_t>(n));
    std::atomic<bool> is_sound{true};
    pool.parallel_for(n, grain, largest, [&](int64_t begin, int64_t end, int worker) {
        const bool is_alone = pool.n_threads() == 1 || n <= grain;
        const bool is_piece = begin % grain == 0 && (end % grain == 0 || end == n) &&
                              (is_alone || end - begin <= std::max(grain, largest));
        if (worker < 0 || worker >= pool.n_threads() || begin >= end || !is_piece) {
            is_sound.store(false);
        }
        for (int64_t i = begin; i < end; ++i) {
            ++visits[static_cast<size_t>(i)];
        }
    });
    bool is_once = true;
    for (const int n_visits : visits) {
        is_once = is_once && n_visits == 1;
    }
    CHECK_MSG(
        is_once && is_sound.load(),
        "%lld by %lld to %lld",
        static_cast<long long>(n),
        static_cast<long long>(grain),
        static_cast<long long>(largest)
    );
}

void loops_of_all_sizes_visit_every_index_once() {
    for (int n_threads = 1; n_threads <= 8; ++n_threads) {
        ThreadPool pool(n_threads);
        CHECK_EQ(pool.n_threads(), n_threads);
        for (const int64_t n : {0, 1, 2, 3, 7, 64, 1000}) {
            for (const int64_t grain : {1, 3, 1000}) {
                for (const int64_t largest : {1, 10, 2000}) {
                    every_index_is_visited_once(pool, n, grain, largest);
                }
            }
        }
    }
}

// Late workers of one loop meet the beginning of the next.
void many_tiny_loops_see_each_other_s_results() {
    for (const int n_threads : {2, 3, 8}) {
        ThreadPool pool(n_threads);
        std::vector<int64_t> values(16);
        constexpr int kLoops = 3000;
        for (int loop = 0; loop < kLoops; ++loop) {
            pool.parallel_for(16, 1, [&](int64_t begin, int64_t end, int) {
                for (int64_t i = begin; i < end; ++i) {
                    values[static_cast<size_t>(i)] += loop;
                }
            });
        }
        const int64_t wanted = int64_t{kLoops} * (kLoops - 1) / 2;
        for (const int64_t value : values) {
            CHECK_EQ(value, wanted);
        }
    }
}

void threads_that_fell_asleep_wake_up() {
    ThreadPool pool(4);
    for (int nap = 0; nap < 20; ++nap) {
        std::this_thread::sleep_for(std::chrono::milliseconds(nap % 4)); // spinning ends within
        std::atomic<int> n_met{0};
        // Each chunk waits for another one, so that the caller alone could not finish the loop.
        pool.parallel_for(2, 1, [&](int64_t, int64_t, int) {
            n_met.fetch_add(1);
            while (n_met.load() < 2) {
                std::this_thread::yield();
            }
        });
        CHECK_EQ(n_met.load(), 2);
    }
}

void a_pool_ends_whatever_its_threads_do() {
    for (int round = 0; round < 60; ++round) {
        ThreadPool pool(1 + round % 8);
        if (round % 3 > 0) {
            every_index_is_visited_once(pool, 64, 1, 1);
        }
        if (round % 3 == 2) {
            std::this_thread::sleep_for(std::chrono::milliseconds(2)); // asleep
        }
    }
}

void pools_of_several_callers_do_not_meet() {
    std::vector<int64_t> sums(3);
    std::vector<std::thread> callers;
    for (int64_t& sum : sums) {
        callers.emplace_back([&sum] {
            ThreadPool pool(3);
            std::vector<int64_t> values(100);
            for (int loop = 0; loop < 200; ++loop) {
                pool.parallel_for(100, 7, [&](int64_t begin, int64_t end, int) {
                    for (int64_t i = begin; i < end; ++i) {
                        values[static_cast<size_t>(i)] += i;
                    }
                });
            }
            sum = std::accumulate(values.begin(), values.end(), int64_t{0});
        });
    }
    for (std::thread& caller : callers) {
        caller.join();
    }
    for (const int64_t sum : sums) {
        CHECK_EQ(sum, 200 * 4950);
    }
}

} // namespace

int main() {
    CHECK_RUN(loops_of_all_sizes_visit_every_index_once);
    CHECK_RUN(many_tiny_loops_see_each_other_s_results);
    CHECK_RUN(threads_that_fell_asleep_wake_up);
    CHECK_RUN(a_pool_ends_whatever_its_threads_do);
    CHECK_RUN(pools_of_several_callers_do_not_meet);
    return check::finish();
}
