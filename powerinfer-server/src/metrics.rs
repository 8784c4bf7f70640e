//! Metrics in the form of Prometheus.

use std::sync::atomic::AtomicU64;

use powerinfer::Finished;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

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
        let r = &mut registry;
        Self {
            // Counters get `_total` at their end.
            http_requests: add(r, "http_requests", "HTTP requests by path and status"),
            finished: add(r, "requests_finished", "Texts that ended, by reason"),
            prompt_tokens: add(r, "prompt_tokens", "Tokens of prompts"),
            cached_tokens: add(
                r,
                "prompt_tokens_cached",
                "Tokens of prompts that were in the cache",
            ),
            generation_tokens: add(r, "generation_tokens", "Tokens generated"),
            first_token: histogram(
                r,
                "time_to_first_token_seconds",
                "From a request to its first token",
                FIRST_TOKEN,
            ),
            between_tokens: histogram(
                r,
                "inter_token_latency_seconds",
                "Mean time between the tokens of a text",
                BETWEEN_TOKENS,
            ),
            request: histogram(
                r,
                "e2e_request_latency_seconds",
                "From a request to the end of its text",
                REQUEST,
            ),
            running: add(r, "requests_running", "Texts that have a sequence"),
            waiting: add(r, "requests_waiting", "Requests in the queue"),
            cache_usage: add(
                r,
                "kv_cache_usage_ratio",
                "Share of the KV cache in use, finished texts included",
            ),
            tokens_per_second: add(
                r,
                "tokens_per_second",
                "Tokens computed in a second lately, prompts included",
            ),
            active_share: add(r, "active_share", "Share of the neurons that were not zero lately"),
            hot_hit_ratio: add(
                r,
                "hot_hit_ratio",
                "Share of the active neurons that are on a GPU lately",
            ),
            device_bytes: add(r, "device_bytes", "Bytes on a GPU for cache and scratch"),
            resident_bytes: add(r, "resident_memory_bytes", "Resident memory of the process"),
            registry,
        }
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
            self.running.set(count(snapshot.running));
            self.waiting.set(count(engine.waiting()));
            self.cache_usage.set(snapshot.cache_usage);
            self.tokens_per_second.set(snapshot.tokens_per_second);
            self.active_share.set(snapshot.active_share.unwrap_or(0.0));
            self.hot_hit_ratio.set(snapshot.hot_hit_ratio.unwrap_or(0.0));
            self.device_bytes.set(i64::try_from(snapshot.device_bytes).unwrap_or(i64::MAX));
        }
        if let Some(bytes) = resident_bytes() {
            self.resident_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// A metric that is known from now on.
fn add<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

/// The same with the upper bounds of its buckets.
fn histogram<const N: usize>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    bounds: [f64; N],
) -> Histogram {
    let metric = Histogram::new(bounds);
    registry.register(name, help, metric.clone());
    metric
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
