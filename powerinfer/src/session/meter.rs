//! Measures one generation while it runs.

use std::time::{Duration, Instant};

use super::stats::Stats;
use crate::ffi;
use crate::gpu::GpuState;
use crate::metrics::Metrics;
use crate::monitor::GpuMonitor;

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
    /// Of them: there was no room for these.
    pub(super) forgotten: usize,
    /// Of the others: in the cache.
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
        let timed = on_device.filter(|decoded| !decoded.device_time.is_zero());
        let computed = counts.prompt.saturating_sub(counts.forgotten + counts.cached);
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
            monitor: GpuMonitor::Off, // asked once, at the end
            device_bytes: Some(stats.device_bytes).filter(|&bytes| bytes > 0),
            hot_hit_ratio: on_device.and_then(|d| d.hot_hit_ratio()),
            bus_bytes_per_token: on_device.map(|d| d.bus_bytes as f64 / d.n_tokens as f64),
            device_wait_seconds: on_device.map(|d| d.device_wait_time.as_secs_f64()),
            host_share_seconds: on_device.map(|d| d.host_share_time.as_secs_f64()),
            device_seconds: timed.map(|d| d.device_time.as_secs_f64()),
            device_share_seconds: timed.map(|d| d.device_share_time.as_secs_f64()),
            overlap_seconds: timed.map(|d| d.overlap_time.as_secs_f64()),
            overlap_share: timed.and_then(|d| d.overlap_share()),
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
        let counts = TokenCounts { prompt: 11, forgotten: 1, cached: 2, completion: 3 };
        let metrics = meter.finish(counts, &stats(10, 5_000), &GpuState::Off);
        assert_eq!(metrics.total_tokens, 14);
        assert_eq!(metrics.prefill_tokens_per_second, Some(4.0));
        assert_eq!(metrics.decode_tokens_per_second, Some(1.0));
        assert_eq!(metrics.bytes_per_token, Some(2_000.0));
        assert_eq!(metrics.gigabytes_per_second, Some(2_000.0 / 1e9));
        assert_eq!(metrics.active_share, Some(0.1));
        assert_eq!((metrics.device_bytes, metrics.hot_hit_ratio), (None, None), "without a GPU");
    }

    #[test]
    fn times_of_a_gpu_are_told_where_they_were_measured() {
        let ms = Duration::from_millis;
        let on_gpu = |n_tokens, device| Stats {
            n_tokens,
            device_bytes: 1,
            host_share_time: ms(4 * n_tokens),
            device_time: device,
            device_share_time: device / 2,
            overlap_time: device / 4,
            ..Stats::default()
        };
        let finish = |device: Duration| {
            let mut meter = Meter::new(Duration::ZERO);
            meter.step(ms(1), true, &on_gpu(1, Duration::ZERO));
            meter.step(ms(9), true, &on_gpu(2, device));
            let counts = TokenCounts { prompt: 1, forgotten: 0, cached: 0, completion: 2 };
            meter.finish(counts, &on_gpu(2, device), &GpuState::Off)
        };
        let metrics = finish(ms(8));
        assert_eq!(
            (metrics.host_share_seconds, metrics.device_seconds),
            (Some(0.004), Some(0.008))
        );
        let shared = (metrics.device_share_seconds, metrics.overlap_seconds);
        assert_eq!((shared, metrics.overlap_share), ((Some(0.004), Some(0.002)), Some(0.5)));
        let metrics = finish(Duration::ZERO);
        assert_eq!((metrics.device_seconds, metrics.overlap_share), (None, None));
        assert!(metrics.host_share_seconds.is_some());
    }

    #[test]
    fn nothing_decoded_has_no_rates() {
        let meter = Meter::new(Duration::ZERO);
        let counts = TokenCounts { prompt: 3, forgotten: 0, cached: 0, completion: 0 };
        let metrics = meter.finish(counts, &Stats::default(), &GpuState::Off);
        assert_eq!(metrics.decode_tokens_per_second, None);
        assert_eq!(metrics.time_to_first_token_seconds, None);
        assert_eq!(metrics.gigabytes_per_second, None);
    }
}
