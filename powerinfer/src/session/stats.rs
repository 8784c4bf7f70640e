//! Counters of a session: what was computed, read and skipped, and how long it took.

use std::time::Duration;

use crate::ffi::{RawLayerStats, RawStats};
use crate::model_options::Strategy;

/// Counters since the session was opened or they were reset; the fields of `pi_stats`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Batches computed.
    pub n_decode_calls: u64,
    /// Tokens computed.
    pub n_tokens: u64,
    /// Weight bytes that had to move, each row once for each internal batch.
    pub weight_bytes_read: u64,
    /// Cache bytes that had to move.
    pub kv_bytes_read: u64,
    /// Time spent on embeddings.
    pub embed_time: Duration,
    /// Time spent on attention.
    pub attention_time: Duration,
    /// Time spent on predictors.
    pub predictor_time: Duration,
    /// Time spent on feed-forward layers.
    pub ffn_time: Duration,
    /// Time spent on logits.
    pub output_time: Duration,
    /// Neurons times layers times tokens.
    pub neurons_total: u64,
    /// Of these: tested, that is, the gate (without one: up) was computed.
    pub neurons_candidate: u64,
    /// Of these: not zero, so that the rest of the neuron was needed.
    pub neurons_active: u64,
    /// Audit only: neurons that a dense layer would find not zero.
    pub audit_active: u64,
    /// Audit only: of these, the ones that the predictor did not select.
    pub audit_missed: u64,
    /// Bytes allocated for the KV cache.
    pub kv_bytes: u64,
    /// Bytes allocated beside it.
    pub scratch_bytes: u64,
    /// Bytes allocated on the GPU for cache and scratch; 0 without one, like all that follow.
    pub device_bytes: u64,
    /// Of [`neurons_active`](Self::neurons_active): on the GPU.
    pub device_neurons_active: u64,
    /// Weight bytes that the GPU had to move, each row once per internal batch.
    pub device_bytes_read: u64,
    /// Neurons that moved to the GPU, each in the place of another one: see
    /// [`adapt_every`](crate::SessionOptions::adapt_every).
    pub neurons_replaced: u64,
    /// Bytes that went between memory and GPU.
    pub bus_bytes: u64,
    /// Time that the processor waited for the GPU.
    pub device_wait_time: Duration,
    /// Time that the processor took for its share of layers whose rest is on the GPU.
    pub host_share_time: Duration,
    /// Time that the GPU computed or copied; 0 unless
    /// [`time_device`](crate::SessionOptions::time_device) is on, like what follows.
    pub device_time: Duration,
    /// Of this: its own share of layers that the processor has a share of.
    pub device_share_time: Duration,
    /// Time that both computed their shares.
    pub overlap_time: Duration,
}

/// Counters of one layer; the fields of `pi_layer_stats`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct LayerStats {
    /// How the layer would compute one token now; with [`Strategy::Auto`] what it decides, which is
    /// one of the other three.
    pub strategy: Strategy,
    /// Neurons times tokens.
    pub neurons_total: u64,
    /// Of these: tested.
    pub neurons_candidate: u64,
    /// Of these: not zero.
    pub neurons_active: u64,
}

impl Stats {
    /// Share of the neurons that were not zero; `None` before anything was computed.
    pub fn active_share(&self) -> Option<f64> {
        share(self.neurons_active, self.neurons_total)
    }

    /// Share of the neurons that were tested; `None` before anything was computed.
    pub fn candidate_share(&self) -> Option<f64> {
        share(self.neurons_candidate, self.neurons_total)
    }

    /// Share of the active neurons that the predictor selected; `None` without an audit.
    pub fn predictor_recall(&self) -> Option<f64> {
        share(self.audit_missed, self.audit_active).map(|missed| 1.0 - missed)
    }

    /// Share of the active neurons that are on the GPU; `None` without one, or before anything was
    /// computed.
    pub fn hot_hit_ratio(&self) -> Option<f64> {
        let ratio = share(self.device_neurons_active, self.neurons_active);
        ratio.filter(|_| self.device_bytes > 0)
    }

    /// Of the shorter of both shares of layers, the part of the time in which both sides computed;
    /// `None` where it was not measured, or no layer is shared.
    pub fn overlap_share(&self) -> Option<f64> {
        let shorter = self.host_share_time.min(self.device_share_time);
        (!shorter.is_zero()).then(|| self.overlap_time.div_duration_f64(shorter))
    }

    /// What was counted between `earlier` and now. Allocated sizes stay as they are.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let n = |now: u64, then: u64| now.saturating_sub(then);
        let t = |now: Duration, then: Duration| now.saturating_sub(then);
        Self {
            n_decode_calls: n(self.n_decode_calls, earlier.n_decode_calls),
            n_tokens: n(self.n_tokens, earlier.n_tokens),
            weight_bytes_read: n(self.weight_bytes_read, earlier.weight_bytes_read),
            kv_bytes_read: n(self.kv_bytes_read, earlier.kv_bytes_read),
            embed_time: t(self.embed_time, earlier.embed_time),
            attention_time: t(self.attention_time, earlier.attention_time),
            predictor_time: t(self.predictor_time, earlier.predictor_time),
            ffn_time: t(self.ffn_time, earlier.ffn_time),
            output_time: t(self.output_time, earlier.output_time),
            neurons_total: n(self.neurons_total, earlier.neurons_total),
            neurons_candidate: n(self.neurons_candidate, earlier.neurons_candidate),
            neurons_active: n(self.neurons_active, earlier.neurons_active),
            audit_active: n(self.audit_active, earlier.audit_active),
            audit_missed: n(self.audit_missed, earlier.audit_missed),
            kv_bytes: self.kv_bytes,
            scratch_bytes: self.scratch_bytes,
            device_bytes: self.device_bytes,
            device_neurons_active: n(self.device_neurons_active, earlier.device_neurons_active),
            device_bytes_read: n(self.device_bytes_read, earlier.device_bytes_read),
            neurons_replaced: n(self.neurons_replaced, earlier.neurons_replaced),
            bus_bytes: n(self.bus_bytes, earlier.bus_bytes),
            device_wait_time: t(self.device_wait_time, earlier.device_wait_time),
            host_share_time: t(self.host_share_time, earlier.host_share_time),
            device_time: t(self.device_time, earlier.device_time),
            device_share_time: t(self.device_share_time, earlier.device_share_time),
            overlap_time: t(self.overlap_time, earlier.overlap_time),
        }
    }
}

impl LayerStats {
    /// Share of the neurons that were not zero; `None` before anything was computed.
    pub fn active_share(&self) -> Option<f64> {
        share(self.neurons_active, self.neurons_total)
    }

    /// Share of the neurons that were tested; `None` before anything was computed.
    pub fn candidate_share(&self) -> Option<f64> {
        share(self.neurons_candidate, self.neurons_total)
    }
}

impl From<RawStats> for Stats {
    fn from(raw: RawStats) -> Self {
        Self {
            n_decode_calls: raw.n_decode_calls,
            n_tokens: raw.n_tokens,
            weight_bytes_read: raw.weight_bytes_read,
            kv_bytes_read: raw.kv_bytes_read,
            embed_time: Duration::from_nanos(raw.embed_ns),
            attention_time: Duration::from_nanos(raw.attention_ns),
            predictor_time: Duration::from_nanos(raw.predictor_ns),
            ffn_time: Duration::from_nanos(raw.ffn_ns),
            output_time: Duration::from_nanos(raw.output_ns),
            neurons_total: raw.neurons_total,
            neurons_candidate: raw.neurons_candidate,
            neurons_active: raw.neurons_active,
            audit_active: raw.audit_active,
            audit_missed: raw.audit_missed,
            kv_bytes: raw.kv_bytes,
            scratch_bytes: raw.scratch_bytes,
            device_bytes: raw.device_bytes,
            device_neurons_active: raw.device_neurons_active,
            device_bytes_read: raw.device_bytes_read,
            neurons_replaced: raw.neurons_replaced,
            bus_bytes: raw.bus_bytes,
            device_wait_time: Duration::from_nanos(raw.device_wait_ns),
            host_share_time: Duration::from_nanos(raw.host_share_ns),
            device_time: Duration::from_nanos(raw.device_ns),
            device_share_time: Duration::from_nanos(raw.device_share_ns),
            overlap_time: Duration::from_nanos(raw.overlap_ns),
        }
    }
}

impl From<RawLayerStats> for LayerStats {
    fn from(raw: RawLayerStats) -> Self {
        Self {
            strategy: Strategy::from_resolved(raw.strategy),
            neurons_total: raw.neurons_total,
            neurons_candidate: raw.neurons_candidate,
            neurons_active: raw.neurons_active,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share needs no more than 52 bits")]
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_nothing_are_unknown() {
        let stats = Stats::default();
        assert_eq!((stats.active_share(), stats.predictor_recall()), (None, None));
    }

    #[test]
    fn a_gpu_hits_the_share_of_the_active_neurons_that_it_has() {
        let on_processor = Stats { neurons_active: 8, ..Stats::default() };
        assert_eq!(on_processor.hot_hit_ratio(), None);
        let then = Stats { device_bytes: 1, ..on_processor };
        let now = Stats { neurons_active: 16, device_neurons_active: 6, ..then };
        assert_eq!(now.since(&then).hot_hit_ratio(), Some(0.75));
    }

    #[test]
    fn an_overlap_is_a_share_of_the_shorter_side() {
        let ms = Duration::from_millis;
        let then = Stats { host_share_time: ms(1), device_share_time: ms(1), ..Stats::default() };
        assert_eq!(then.overlap_share(), Some(0.0));
        let now = Stats {
            host_share_time: ms(5),
            device_share_time: ms(9),
            overlap_time: ms(3),
            ..Stats::default()
        };
        assert_eq!(now.since(&then).overlap_share(), Some(0.75));
        let not_measured = Stats { host_share_time: ms(5), ..Stats::default() };
        assert_eq!(not_measured.overlap_share(), None);
    }

    #[test]
    fn a_difference_counts_what_happened_between() {
        let then = Stats { n_tokens: 3, kv_bytes: 10, ..Stats::default() };
        let now = Stats { n_tokens: 8, kv_bytes: 10, neurons_total: 4, ..Stats::default() };
        let between = now.since(&then);
        assert_eq!((between.n_tokens, between.kv_bytes, between.neurons_total), (5, 10, 4));
    }
}
