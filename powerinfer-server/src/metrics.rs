//! Metrics in the form of Prometheus.

use std::sync::atomic::AtomicU64;

use powerinfer::Finished;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::engine::Engine;

/// Upper bounds in seconds, those that dashboards for other servers expect.
const FIRST_TOKEN: [f64; 15] =
    [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0];
const BETWEEN_TOKENS: [f64; 12] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5];
const REQUEST: [f64; 12] = [0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0];

/// All metrics of a server.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    http_requests: Family<HttpLabels, Counter>,
    finished: Family<ReasonLabels, Counter>,
    prompt_tokens: Counter,
    cached_tokens: Counter,
    generation_tokens: Counter,
    first_token: Histogram,
    between_tokens: Histogram,
    request: Histogram,
    gauges: Gauges,
}

#[derive(Debug, Default)]
struct Gauges {
    running: Gauge,
    waiting: Gauge,
    cache_usage: Gauge<f64, AtomicU64>,
    tokens_per_second: Gauge<f64, AtomicU64>,
    active_share: Gauge<f64, AtomicU64>,
    hot_hit_ratio: Gauge<f64, AtomicU64>,
    device_bytes: Gauge,
    resident_bytes: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HttpLabels {
    path: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: String,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("powerinfer");
        let gauges = Gauges::default();
        let metrics = Self {
            http_requests: Family::default(),
            finished: Family::default(),
            prompt_tokens: Counter::default(),
            cached_tokens: Counter::default(),
            generation_tokens: Counter::default(),
            first_token: Histogram::new(FIRST_TOKEN),
            between_tokens: Histogram::new(BETWEEN_TOKENS),
            request: Histogram::new(REQUEST),
            gauges,
            registry: Registry::default(),
        };
        let m = &metrics;
        let g = &m.gauges;
        // Counters get `_total` at their end.
        registry.register(
            "http_requests",
            "HTTP requests by path and status",
            m.http_requests.clone(),
        );
        registry.register("requests_finished", "Texts that ended, by reason", m.finished.clone());
        registry.register("prompt_tokens", "Tokens of prompts", m.prompt_tokens.clone());
        registry.register(
            "prompt_tokens_cached",
            "Tokens of prompts that were in the cache",
            m.cached_tokens.clone(),
        );
        registry.register("generation_tokens", "Tokens generated", m.generation_tokens.clone());
        registry.register(
            "time_to_first_token_seconds",
            "From a request to its first token",
            m.first_token.clone(),
        );
        registry.register(
            "inter_token_latency_seconds",
            "Mean time between the tokens of a text",
            m.between_tokens.clone(),
        );
        registry.register(
            "e2e_request_latency_seconds",
            "From a request to the end of its text",
            m.request.clone(),
        );
        registry.register("requests_running", "Texts that have a sequence", g.running.clone());
        registry.register("requests_waiting", "Requests in the queue", g.waiting.clone());
        registry.register(
            "kv_cache_usage_ratio",
            "Share of the KV cache in use, finished texts included",
            g.cache_usage.clone(),
        );
        registry.register(
            "tokens_per_second",
            "Tokens computed in a second lately, prompts included",
            g.tokens_per_second.clone(),
        );
        registry.register(
            "active_share",
            "Share of the neurons that were not zero lately",
            g.active_share.clone(),
        );
        registry.register(
            "hot_hit_ratio",
            "Share of the active neurons that are on a GPU lately",
            g.hot_hit_ratio.clone(),
        );
        registry.register(
            "device_bytes",
            "Bytes on a GPU for cache and scratch",
            g.device_bytes.clone(),
        );
        registry.register(
            "resident_memory_bytes",
            "Resident memory of the process",
            g.resident_bytes.clone(),
        );
        Self { registry, ..metrics }
    }

    /// Counts an answer. `path` is the route, so that clients cannot invent any.
    pub(crate) fn answered(&self, path: &str, status: u16) {
        self.http_requests.get_or_create(&HttpLabels { path: path.to_owned(), status }).inc();
    }

    /// Counts a text that ended.
    pub(crate) fn finished(&self, finished: &Finished) {
        let metrics = &finished.metrics;
        let reason = finished.finish_reason.to_string();
        self.finished.get_or_create(&ReasonLabels { reason }).inc();
        self.prompt_tokens.inc_by(metrics.prompt_tokens);
        self.cached_tokens.inc_by(metrics.cached_tokens);
        self.generation_tokens.inc_by(metrics.completion_tokens);
        if let Some(seconds) = metrics.time_to_first_token_seconds {
            self.first_token.observe(seconds);
            self.request.observe(seconds + metrics.decode_seconds);
        }
        if let Some(rate) = metrics.decode_tokens_per_second.filter(|&rate| rate > 0.0) {
            self.between_tokens.observe(1.0 / rate);
        }
    }

    /// All metrics as text. The engine's are as of its last snapshot.
    pub(crate) fn render(&self, engine: Option<&Engine>) -> Result<String, std::fmt::Error> {
        if let Some(engine) = engine {
            let snapshot = engine.snapshots.last();
            let gauges = &self.gauges;
            gauges.running.set(count(snapshot.running));
            gauges.waiting.set(count(engine.waiting()));
            gauges.cache_usage.set(snapshot.cache_usage);
            gauges.tokens_per_second.set(snapshot.tokens_per_second);
            gauges.active_share.set(snapshot.active_share.unwrap_or(0.0));
            gauges.hot_hit_ratio.set(snapshot.hot_hit_ratio.unwrap_or(0.0));
            gauges.device_bytes.set(i64::try_from(snapshot.device_bytes).unwrap_or(i64::MAX));
        }
        if let Some(bytes) = resident_bytes() {
            self.gauges.resident_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Resident memory of this process, where the system tells it.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
