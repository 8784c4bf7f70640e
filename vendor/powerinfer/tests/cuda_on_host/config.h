// What the emulated device is like, and in which orders it works.
#pragma once

#include <cstddef>

namespace emu {

struct Config {
    // Nothing in CUDA says in which order threads, blocks and streams get on. A program is right
    // when its results are the same in all of these.
    enum Order {
        Forward, // threads and blocks ascending; a stream runs only when something waits for it
        Reverse, // threads and blocks descending; a stream runs before another that is waited for
        Shuffle, // threads and blocks at random; streams in turns of random length
    };

    Order order = Forward;
    unsigned seed = 1;    // of Shuffle
    unsigned threads = 1; // of the operating system, over which blocks are spread; 1 in sanitizers
    size_t stack = 128 << 10; // bytes of each thread of a block
    bool lazy = true;         // work waits in its stream until something waits for it
    int fail_in = 0;          // calls that enqueue work: the last one of them fails; 0: none
    int n_devices = 1;
    int driver = 13000;                       // its version; 0: none is installed
    bool has_kernels = true;                  // compiled for the kind of this device
    size_t memory = size_t{1} << 30;          // of the device, bytes
    size_t shared_memory = size_t{227} << 10; // that a block may have, bytes
    int n_multiprocessors = 4;
};

using Order = Config::Order;

inline Config& config() {
    static Config current;
    return current;
}

} // namespace emu
