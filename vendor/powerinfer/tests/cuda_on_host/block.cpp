#include "block.h"

#include "config.h"
#include "fiber.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <span>
#include <thread>
#include <utility>
#include <vector>

namespace emu {

constinit thread_local const Position* position = nullptr;

namespace {

constexpr unsigned kWarp = 32;
constexpr unsigned kMaxWarps = 32; // of a block

enum class Progress { ready, at_barrier, at_exchange, returned };

struct Lane {
    Position position;
    Fiber* fiber;
    Progress progress;
    bool predicate;     // brought to a barrier
    Exchange* exchange; // brought to an exchange
    SyncPoint own;
};

// Lanes that meet in an exchange.
struct Warp {
    Lane* lanes[kWarp];
    size_t n;
    Exchange* exchanges[kWarp]; // of each lane by its number; nullptr: not in the mask
};

// The block that a thread of the operating system works on.
class Block {
public:
    // Returns what went wrong, or an empty text.
    std::string run(
        const std::function<void()>& thread, const Position& first, size_t shared_bytes
    );

    int wait_for_block(bool predicate);
    void wait_for_lanes(Exchange& exchange);

private:
    static Fiber& run_lane();
    void make_lanes(const Position& first);
    void make_shared(size_t n_bytes);
    void wake(std::span<Lane*> lanes);
    void wake_all();
    Fiber& next();
    void go_on();
    void fail(std::string what);
    std::string deadlock() const;
    bool is_early(const Lane& lane) const;
    bool all_here(Lane& lane, Warp& warp);
    void resolve(Lane& lane);
    void order(const Lane& lane, const Warp& warp);

    const std::function<void()>* thread_ = nullptr;
    std::vector<std::unique_ptr<Fiber>> fibers_;
    size_t stack_bytes_ = 0; // of the fibres
    std::vector<Lane> lanes_;
    std::vector<Lane*> all_; // room for wake_all()
    std::deque<Lane*> ready_;
    Lane* running_ = nullptr;
    Fiber main_;
    size_t n_returned_ = 0;
    size_t n_waiting_ = 0; // at the barrier
    int n_predicates_ = 0; // that held at the last one
    std::string failure_;  // empty: none
    std::minstd_rand random_;
    std::unique_ptr<std::byte[]> shared_;
    size_t shared_bytes_ = 0;

    SyncPoint begin_;
    SyncPoint end_;
    SyncPoint barriers_[2]; // of even and odd ones: nobody is two ahead
    unsigned n_barriers_ = 0;
    SyncPoint exchanges_[kMaxWarps][4]; // of each warp, of the last ones
    unsigned n_exchanges_[kMaxWarps] = {};
};

thread_local Block block;

Fiber& Block::run_lane() {
    block.begin_.acquire();
    (*block.thread_)();
    begin_ignoring(); // ended when the fibre begins anew
    block.running_->progress = Progress::returned;
    block.n_returned_ += 1;
    return block.next();
}

std::string Block::run(
    const std::function<void()>& thread, const Position& first, size_t shared_bytes
) {
    const Ignore ignore;
    if (stack_bytes_ != config().stack) {
        fibers_.clear();
        stack_bytes_ = config().stack;
    }
    failure_.clear();
    thread_ = &thread;
    n_returned_ = 0;
    n_waiting_ = 0;
    ready_.clear();
    random_.seed(config().seed + first.block.x * 7919 + first.block.y * 104729 + first.block.z);
    make_shared(shared_bytes);
    make_lanes(first);
    begin_.release();

    wake_all();
    go_on();
    end_.acquire();
    if (failure_.empty() && n_returned_ != lanes_.size()) {
        failure_ = deadlock();
    }
    return failure_;
}

// NaN, so that what nobody wrote shows.
void Block::make_shared(size_t n_bytes) {
    if (shared_bytes_ != n_bytes || shared_ == nullptr) {
        shared_.reset(new std::byte[n_bytes]);
        shared_bytes_ = n_bytes;
    }
    std::memset(shared_.get(), 0xff, n_bytes);
}

void Block::make_lanes(const Position& first) {
    const dim3 dim = first.block_dim;
    lanes_.assign(size_t{dim.x} * dim.y * dim.z, Lane{});
    while (fibers_.size() < lanes_.size()) {
        fibers_.push_back(std::make_unique<Fiber>(stack_bytes_));
    }
    for (unsigned i = 0; i < lanes_.size(); ++i) {
        Lane& lane = lanes_[i];
        lane.position = first;
        lane.position.thread = {i % dim.x, i / dim.x % dim.y, i / dim.x / dim.y};
        lane.position.id = i;
        lane.position.shared = shared_.get();
        lane.fiber = fibers_[i].get();
        lane.fiber->prepare(&Block::run_lane);
    }
}

void Block::wake(std::span<Lane*> lanes) {
    if (config().order == Order::Reverse) {
        std::ranges::reverse(lanes);
    } else if (config().order == Order::Shuffle) {
        std::ranges::shuffle(lanes, random_);
    }
    for (Lane* lane : lanes) {
        lane->progress = Progress::ready;
        ready_.push_back(lane);
    }
}

void Block::wake_all() {
    all_.clear();
    for (Lane& lane : lanes_) {
        all_.push_back(&lane);
    }
    wake(all_);
}

// Of the lane that goes on now; of run() when none is ready, or after a failure.
Fiber& Block::next() {
    Lane* lane = nullptr;
    if (failure_.empty() && !ready_.empty()) {
        lane = ready_.front();
        ready_.pop_front();
    }
    if (running_ != nullptr) {
        end_.release(); // the stack may be used again, whether it ended or not
    }
    running_ = lane;
    position = lane == nullptr ? nullptr : &lane->position;
    return lane == nullptr ? main_ : *lane->fiber;
}

void Block::go_on() {
    Fiber& from = running_ == nullptr ? main_ : *running_->fiber;
    Fiber& to = next();
    if (&to != &from) {
        from.switch_to(to);
    }
}

void Block::fail(std::string what) {
    if (failure_.empty()) {
        failure_ = std::move(what);
    }
}

std::string Block::deadlock() const {
    const auto count = [&](Progress progress) {
        return std::to_string(std::ranges::count(lanes_, progress, &Lane::progress));
    };
    return "deadlock: of " + std::to_string(lanes_.size()) + " threads " +
           count(Progress::at_barrier) + " wait at __syncthreads, " + count(Progress::at_exchange) +
           " at a warp-collective, " + count(Progress::returned) + " returned";
}

int Block::wait_for_block(bool predicate) {
    const Ignore ignore;
    SyncPoint& barrier = barriers_[n_barriers_ % 2];
    barrier.release();
    running_->predicate = predicate;
    running_->progress = Progress::at_barrier;
    n_waiting_ += 1;
    if (n_waiting_ == lanes_.size()) {
        n_predicates_ = static_cast<int>(std::ranges::count(lanes_, true, &Lane::predicate));
        n_waiting_ = 0;
        n_barriers_ += 1;
        wake_all();
    }
    go_on();
    barrier.acquire();
    return n_predicates_;
}

// Whether every lane of the mask brings the same kind of exchange with the same mask.
bool Block::all_here(Lane& lane, Warp& warp) {
    const Exchange& own = *lane.exchange;
    const unsigned first = lane.position.id / kWarp * kWarp;
    if ((own.mask >> (lane.position.id - first) & 1) == 0) {
        fail("warp-collective: the calling lane is not in its own mask");
        return false;
    }
    for (unsigned i = 0; i < kWarp; ++i) {
        if ((own.mask >> i & 1) == 0) {
            continue;
        }
        if (first + i >= lanes_.size()) {
            fail("warp-collective: mask names lanes past the block's end");
            return false;
        }
        Lane& other = lanes_[first + i];
        if (other.progress == Progress::returned) {
            fail("warp-collective: mask names a lane that has returned");
            return false;
        }
        if (other.progress != Progress::at_exchange || other.exchange->mask != own.mask ||
            other.exchange->resolve != own.resolve) {
            return false;
        }
        warp.exchanges[i] = other.exchange;
        warp.lanes[warp.n++] = &other;
    }
    return true;
}

// As CUDA has it, __syncwarp orders memory among its lanes; shuffles and votes move values only.
void Block::order(const Lane& lane, const Warp& warp) {
    const unsigned number = lane.position.id / kWarp;
    SyncPoint& point = exchanges_[number][n_exchanges_[number]++ % 4];
    for (Lane* other : std::span(warp.lanes, warp.n)) {
        other->own.acquire();
        other->exchange->sync = &point;
    }
    point.release();
}

// Whether a neighbour in the mask is still on its way: so it is for most lanes that arrive.
bool Block::is_early(const Lane& lane) const {
    const unsigned id = lane.position.id;
    const auto is_on_its_way = [&](unsigned other) {
        return other / kWarp == id / kWarp && other < lanes_.size() &&
               (lane.exchange->mask >> other % kWarp & 1) != 0 &&
               lanes_[other].progress == Progress::ready;
    };
    return is_on_its_way(id + 1) || is_on_its_way(id - 1);
}

// Wakes the lanes of the exchange when this one is the last.
void Block::resolve(Lane& lane) {
    if (is_early(lane)) {
        return;
    }
    Warp warp = {};
    if (!all_here(lane, warp)) {
        return;
    }
    if (const char* wrong = lane.exchange->resolve(warp.exchanges); wrong != nullptr) {
        fail(wrong);
        return;
    }
    if (lane.exchange->orders_memory) {
        order(lane, warp);
    }
    wake(std::span(warp.lanes, warp.n));
}

void Block::wait_for_lanes(Exchange& exchange) {
    const Ignore ignore;
    Lane& lane = *running_;
    lane.exchange = &exchange;
    lane.progress = Progress::at_exchange;
    if (exchange.orders_memory) {
        lane.own.release();
    }
    resolve(lane);
    go_on(); // for ever after a failure: nothing here may need to be freed
    if (exchange.sync != nullptr) {
        exchange.sync->acquire();
    }
}

// The order in which blocks are begun.
std::vector<size_t> order_of_blocks(size_t n) {
    std::vector<size_t> order(n);
    std::iota(order.begin(), order.end(), size_t{0});
    if (config().order == Order::Reverse) {
        std::ranges::reverse(order);
    } else if (config().order == Order::Shuffle) {
        std::ranges::shuffle(order, std::minstd_rand(config().seed));
    }
    return order;
}

std::string text_of(uint3 index) {
    return std::to_string(index.x) + ", " + std::to_string(index.y) + ", " +
           std::to_string(index.z);
}

} // namespace

std::string run_grid(
    const std::function<void()>& thread, dim3 grid, dim3 block_dim, size_t shared_bytes
) {
    const std::vector<size_t> order = order_of_blocks(size_t{grid.x} * grid.y * grid.z);
    std::atomic<size_t> n_begun = 0;
    std::mutex mutex;
    std::string failure; // of the first that failed
    std::atomic<bool> failed = false;
    const auto work = [&] {
        for (size_t i = n_begun++; i < order.size() && !failed; i = n_begun++) {
            Position first = {};
            first.block.x = static_cast<unsigned>(order[i] % grid.x);
            first.block.y = static_cast<unsigned>(order[i] / grid.x % grid.y);
            first.block.z = static_cast<unsigned>(order[i] / grid.x / grid.y);
            first.block_dim = block_dim;
            first.grid_dim = grid;
            const std::string wrong = block.run(thread, first, shared_bytes);
            if (!wrong.empty()) {
                const std::lock_guard lock(mutex);
                failure = failed ? failure : wrong + " [block " + text_of(first.block) + "]";
                failed = true;
            }
        }
    };
    std::vector<std::thread> helpers;
    for (unsigned i = 1; i < config().threads && !kSanitized; ++i) {
        helpers.emplace_back(work);
    }
    work();
    for (std::thread& helper : helpers) {
        helper.join();
    }
    return failure;
}

int wait_for_block(bool predicate) {
    return block.wait_for_block(predicate);
}

void wait_for_lanes(Exchange& exchange) {
    block.wait_for_lanes(exchange);
}

} // namespace emu
