//! What one generation cost, for people and for dashboards.

use serde::Serialize;

use crate::gpu::GpuState;
use crate::monitor::GpuMonitor;

/// Numbers of one generation. Times are seconds; a share or rate is absent where nothing was
/// computed that it could describe.
///
/// Shares, bytes and GB/s describe the time after the first token, when tokens are computed one by
/// one and memory bandwidth is the limit.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Metrics {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Of these: taken from the cache of an earlier prompt.
    pub cached_tokens: u64,
    /// Tokens generated.
    pub completion_tokens: u64,
    /// Tokens of the prompt and generated.
    pub total_tokens: u64,
    /// Opening and loading the model.
    pub load_seconds: f64,
    /// Computing the prompt.
    pub prefill_seconds: f64,
    /// Computing what came after the first token.
    pub decode_seconds: f64,
    /// From the call to its first token.
    pub time_to_first_token_seconds: Option<f64>,
    /// Prompt tokens computed in a second of prefill.
    pub prefill_tokens_per_second: Option<f64>,
    /// Tokens generated in a second after the first.
    pub decode_tokens_per_second: Option<f64>,
    /// Largest resident size of the process so far, mapped weights included.
    pub peak_memory_bytes: Option<u64>,
    /// Share of the neurons that were not zero.
    pub active_share: Option<f64>,
    /// Share of the neurons that were tested.
    pub candidate_share: Option<f64>,
    /// Bytes of weights and cache that had to move for a token.
    pub bytes_per_token: Option<f64>,
    /// Bytes that had to move in a second, in GB/s (1e9 bytes).
    pub gigabytes_per_second: Option<f64>,
    /// Whether a GPU has a part of the model, and why if not.
    pub gpu: GpuState,
    /// What the GPU's driver said of it at the end. A scheduler does not ask: its other requests
    /// would wait.
    pub monitor: GpuMonitor,
    /// Bytes allocated on the GPU for cache and scratch. Absent without one, like all that follow.
    pub device_bytes: Option<u64>,
    /// Share of the active neurons that are on the GPU.
    pub hot_hit_ratio: Option<f64>,
    /// Bytes that went between memory and GPU for a token.
    pub bus_bytes_per_token: Option<f64>,
    /// Time that the processor waited for the GPU.
    pub device_wait_seconds: Option<f64>,
    /// Time that the processor took for its share of layers whose rest is on the GPU.
    pub host_share_seconds: Option<f64>,
    /// Time that the GPU computed or copied. Absent unless
    /// [`time_device`](crate::SessionOptions::time_device) is on, like what follows.
    pub device_seconds: Option<f64>,
    /// Of this: its own share of layers that the processor has a share of.
    pub device_share_seconds: Option<f64>,
    /// Time that both computed their shares.
    pub overlap_seconds: Option<f64>,
    /// The same as a share of the shorter of both.
    pub overlap_share: Option<f64>,
}
