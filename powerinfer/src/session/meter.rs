//! Measures one generation while it runs.

use std::time::{Duration, Instant};

use super::stats::Stats;
use crate::ffi;
use crate::gpu::GpuState;
use crate::metrics::Metrics;

/// A clock with two phases: up to the first token, and after it.
#[derive(Debug)]
pub(super) struct Meter {
    start: Instant,
    load: Duration,
    prefill: Duration,
    decode: Duration,
    first_token: Option<(Duration, Stats)>,
}

/// How many tokens a generation had to do with.
#[derive(Debug, Clone, Copy)]
pub(super) struct TokenCounts {
    pub(super) prompt: usize,
    pub(super) cached: usize,
    pub(super) completion: usize,
}

impl Meter {
    pub(super) fn new(load: Duration) -> Self {
        Self::since(Instant::now(), load)
    }

    /// Measures a generation that was asked for at `start`.
    pub(super) fn since(start: Instant, load: Duration) -> Self {
        Self { start, load, prefill: Duration::ZERO, decode: Duration::ZERO, first_token: None }
    }

    /// When the generation was asked for.
    pub(super) fn start(&self) -> Instant {
        self.start
    }

    /// Counts a step that took `elapsed` and left the counters at `stats`.
    pub(super) fn step(&mut self, elapsed: Duration, has_token: bool, stats: &Stats) {
        if self.first_token.is_some() {
            self.decode += elapsed;
            return;
        }
        self.prefill += elapsed;
        if has_token {
            self.first_token = Some((self.start.elapsed(), *stats));
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "rates need no more than 52 bits")]
    pub(super) fn finish(&self, counts: TokenCounts, stats: &Stats, gpu: &GpuState) -> Metrics {
        let decoded = self.first_token.map(|(_, at_first)| stats.since(&at_first));
        let decoded = decoded.filter(|decoded| decoded.n_tokens > 0);
        let moved = decoded.map(|d| (d.weight_bytes_read + d.kv_bytes_read) as f64);
        let on_device = decoded.filter(|decoded| decoded.device_bytes > 0);
        let computed = counts.prompt.saturating_sub(counts.cached);
        Metrics {
            prompt_tokens: counts.prompt as u64,
            cached_tokens: counts.cached as u64,
            completion_tokens: counts.completion as u64,
            total_tokens: (counts.prompt + counts.completion) as u64,
            load_seconds: self.load.as_secs_f64(),
            prefill_seconds: self.prefill.as_secs_f64(),
            decode_seconds: self.decode.as_secs_f64(),
            time_to_first_token_seconds: self.first_token.map(|(time, _)| time.as_secs_f64()),
            prefill_tokens_per_second: self
                .first_token
                .and_then(|_| per_second(computed as f64, self.prefill)),
            decode_tokens_per_second: decoded
                .and_then(|_| per_second(counts.completion.saturating_sub(1) as f64, self.decode)),
            peak_memory_bytes: ffi::peak_memory_bytes(),
            active_share: decoded.and_then(|d| d.active_share()),
            candidate_share: decoded.and_then(|d| d.candidate_share()),
            bytes_per_token: decoded.zip(moved).map(|(d, moved)| moved / d.n_tokens as f64),
            gigabytes_per_second: moved.and_then(|moved| per_second(moved / 1e9, self.decode)),
            gpu: gpu.clone(),
            device_bytes: Some(stats.device_bytes).filter(|&bytes| bytes > 0),
            hot_hit_ratio: on_device.and_then(|d| d.hot_hit_ratio()),
            bus_bytes_per_token: on_device.map(|d| d.bus_bytes as f64 / d.n_tokens as f64),
            device_wait_seconds: on_device.map(|d| d.device_wait_time.as_secs_f64()),
            host_share_seconds: on_device.map(|d| d.host_share_time.as_secs_f64()),
        }
    }
}

fn per_second(amount: f64, time: Duration) -> Option<f64> {
    (!time.is_zero()).then(|| amount / time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_told_apart_by_the_first_token() {
        let stats = |n_tokens, bytes| Stats {
            n_tokens,
            weight_bytes_read: bytes,
            neurons_total: n_tokens * 100,
            neurons_active: n_tokens * 10,
            ..Stats::default()
        };
        let mut meter = Meter::new(Duration::from_secs(1));
        meter.step(Duration::from_secs(2), true, &stats(8, 1_000));
        meter.step(Duration::from_secs(1), true, &stats(9, 3_000));
        meter.step(Duration::from_secs(1), false, &stats(10, 5_000));
        let counts = TokenCounts { prompt: 10, cached: 2, completion: 3 };
        let metrics = meter.finish(counts, &stats(10, 5_000), &GpuState::Off);
        assert_eq!(metrics.total_tokens, 13);
        assert_eq!(metrics.prefill_tokens_per_second, Some(4.0));
        assert_eq!(metrics.decode_tokens_per_second, Some(1.0));
        assert_eq!(metrics.bytes_per_token, Some(2_000.0));
        assert_eq!(metrics.gigabytes_per_second, Some(2_000.0 / 1e9));
        assert_eq!(metrics.active_share, Some(0.1));
        assert_eq!((metrics.device_bytes, metrics.hot_hit_ratio), (None, None), "without a GPU");
    }

    #[test]
    fn nothing_decoded_has_no_rates() {
        let meter = Meter::new(Duration::ZERO);
        let counts = TokenCounts { prompt: 3, cached: 0, completion: 0 };
        let metrics = meter.finish(counts, &Stats::default(), &GpuState::Off);
        assert_eq!(metrics.decode_tokens_per_second, None);
        assert_eq!(metrics.time_to_first_token_seconds, None);
        assert_eq!(metrics.gigabytes_per_second, None);
    }
}
