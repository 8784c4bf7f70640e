// Counters of a context. Units and meaning: pi_stats in powerinfer.h.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <utility>
#include <vector>

namespace powerinfer {

struct LayerStats {
    uint64_t neurons_total = 0;
    uint64_t neurons_candidate = 0;
    uint64_t neurons_active = 0;
    uint64_t device_active = 0;  // of these, on the device
    std::vector<uint64_t> fired; // (hidden_dim,) tokens that needed the neuron; empty: not counted
};

struct Stats {
    uint64_t n_decode_calls = 0;
    uint64_t n_tokens = 0;
    uint64_t weight_bytes_read = 0;
    uint64_t kv_bytes_read = 0;
    uint64_t embed_ns = 0;
    uint64_t attention_ns = 0;
    uint64_t predictor_ns = 0;
    uint64_t ffn_ns = 0;
    uint64_t output_ns = 0;
    uint64_t device_bytes_read = 0; // of weights, on the device
    uint64_t bus_bytes = 0;         // between host and device
    uint64_t device_wait_ns = 0;    // that the host waited for the device
    uint64_t host_share_ns = 0;     // that it computed its share of layers on a device
    uint64_t device_ns = 0;         // that the device computed, if that is measured
    uint64_t device_share_ns = 0;   // of this: its share of layers that the host has a share of
    uint64_t overlap_ns = 0;        // that both computed their shares
    uint64_t audit_active = 0;
    uint64_t audit_missed = 0;
    std::vector<LayerStats> layers; // (n_layers,)

    // To zero; what is counted stays.
    void reset() {
        std::vector<LayerStats> zeroed = std::move(layers);
        for (LayerStats& layer : zeroed) {
            std::vector<uint64_t> fired = std::move(layer.fired);
            std::fill(fired.begin(), fired.end(), uint64_t{0});
            layer = LayerStats{};
            layer.fired = std::move(fired);
        }
        *this = Stats{};
        layers = std::move(zeroed);
    }
};

// Adds the time since its creation, or since the last lap, to a counter.
class StopWatch {
public:
    void lap(uint64_t& counter_ns) {
        const Clock::time_point now = Clock::now();
        counter_ns += static_cast<uint64_t>(
            std::chrono::duration_cast<std::chrono::nanoseconds>(now - start_).count()
        );
        start_ = now;
    }

private:
    using Clock = std::chrono::steady_clock;
    Clock::time_point start_ = Clock::now();
};

} // namespace powerinfer
