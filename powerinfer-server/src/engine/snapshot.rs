//! What the engine did lately, for `/stats` and `/metrics`.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use powerinfer::{LayerStats, Load, Scheduler, Stats};
use serde::Serialize;
use utoipa::ToSchema;

/// How often a snapshot is taken while the engine works.
const INTERVAL: Duration = Duration::from_millis(250);

/// What the engine did lately.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub(crate) struct Snapshot {
    /// Texts that have a sequence.
    pub(crate) running: usize,
    /// Tokens in the cache.
    pub(crate) cached_tokens: usize,
    /// Share of the cache in use, 0 to 1.
    pub(crate) cache_usage: f64,
    /// Tokens computed in a second, prompts included, since the last snapshot.
    pub(crate) tokens_per_second: f64,
    /// Share of the neurons that were not zero, since the last snapshot with any tokens.
    pub(crate) active_share: Option<f64>,
    /// The same by layer, the first layer first.
    pub(crate) layers: Vec<LayerActivity>,
    /// Share of the active neurons that are on a GPU.
    pub(crate) hot_hit_ratio: Option<f64>,
    /// Bytes on a GPU for cache and scratch.
    pub(crate) device_bytes: u64,
}

/// What a layer did lately.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
pub(crate) struct LayerActivity {
    /// Share of its neurons that were not zero.
    pub(crate) active_share: f64,
    /// Share of its neurons that were tested.
    pub(crate) candidate_share: f64,
}

/// The last snapshot, and what the next one is compared with.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    last: Mutex<Snapshot>,
}

/// Takes snapshots; the engine's side.
#[derive(Debug)]
pub(super) struct Watch {
    taken: Instant,
    stats: Stats,
    layers: Vec<LayerStats>,
}

impl Snapshots {
    pub(crate) fn last(&self) -> Snapshot {
        self.lock().clone()
    }

    /// A plain value is whole even if a thread panicked while it held the lock.
    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    pub(super) fn new(scheduler: &Scheduler) -> Self {
        Self {
            taken: Instant::now(),
            stats: scheduler.session().stats(),
            layers: layers(scheduler),
        }
    }

    /// Takes a snapshot if it is time for one, or if the engine comes to rest.
    pub(super) fn observe(&mut self, scheduler: &Scheduler, rests: bool, snapshots: &Snapshots) {
        let elapsed = self.taken.elapsed();
        if !rests && elapsed < INTERVAL {
            return;
        }
        let stats = scheduler.session().stats();
        let layers = layers(scheduler);
        let mut last = snapshots.lock();
        let load = scheduler.load();
        last.running = load.running;
        last.cached_tokens = load.cached_tokens;
        last.cache_usage = cache_usage(load);
        let done = stats.since(&self.stats);
        last.tokens_per_second =
            if rests { 0.0 } else { ratio(done.n_tokens, 1) / elapsed.as_secs_f64() };
        last.device_bytes = stats.device_bytes;
        if done.n_tokens > 0 {
            last.active_share = done.active_share();
            last.hot_hit_ratio = done.hot_hit_ratio().filter(|_| stats.device_bytes > 0);
            last.layers =
                layers.iter().zip(&self.layers).map(|(now, then)| activity(now, then)).collect();
        }
        *self = Self { taken: Instant::now(), stats, layers };
    }
}

fn layers(scheduler: &Scheduler) -> Vec<LayerStats> {
    let session = scheduler.session();
    let layers = 0..session.model().info().n_layers;
    layers.filter_map(|layer| session.layer_stats(layer).ok()).collect()
}

fn activity(now: &LayerStats, then: &LayerStats) -> LayerActivity {
    let total = now.neurons_total - then.neurons_total;
    LayerActivity {
        active_share: ratio(now.neurons_active - then.neurons_active, total),
        candidate_share: ratio(now.neurons_candidate - then.neurons_candidate, total),
    }
}

fn cache_usage(load: Load) -> f64 {
    // Pages that texts share are counted for each of them.
    let used = load.cached_tokens as u64;
    ratio(used, used + load.room as u64)
}

#[expect(clippy::cast_precision_loss, reason = "shares and rates need no more than 52 bits")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
