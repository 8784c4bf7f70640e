//! What a model load may choose.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::ffi::ModelSettings;
use crate::gpu::GpuOptions;
use crate::policy::Repack;

/// How feed-forward layers are computed.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Strategy {
    /// Predictor if the file has one, else exact for sparse and dense for plain files.
    #[default]
    Default,
    /// Reads every neuron.
    Dense,
    /// Reads the gate (without one: up) first and the rest of a neuron only if it fires.
    Exact,
    /// Reads only neurons that the predictor selects, the gate first.
    Predictor,
    /// What measurements on this machine say is fastest: each layer uses its predictor always or
    /// never, and is dense or exact for each batch. The first session of a model on a machine takes
    /// a fraction of a second longer; what it measures is kept in `powerinfer/tuning` below
    /// `XDG_CACHE_HOME` or the usual folder for caches, so that the same layers use their
    /// predictors, and the tokens are the same, from then on. A model whose activations are never
    /// exactly zero is dense: there is nothing to decide.
    Auto,
}

impl Strategy {
    /// The name as it is written in policies and on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Dense => "dense",
            Self::Exact => "exact",
            Self::Predictor => "predictor",
            Self::Auto => "auto",
        }
    }

    pub(crate) fn to_raw(self) -> u32 {
        match self {
            Self::Default => powerinfer_sys::PI_STRATEGY_DEFAULT,
            Self::Dense => powerinfer_sys::PI_STRATEGY_DENSE,
            Self::Exact => powerinfer_sys::PI_STRATEGY_EXACT,
            Self::Predictor => powerinfer_sys::PI_STRATEGY_PREDICTOR,
            Self::Auto => powerinfer_sys::PI_STRATEGY_AUTO,
        }
    }

    /// The strategy of a loaded model or of a layer, which is not the default.
    pub(crate) fn from_resolved(raw: u32) -> Self {
        match raw {
            powerinfer_sys::PI_STRATEGY_DENSE => Self::Dense,
            powerinfer_sys::PI_STRATEGY_EXACT => Self::Exact,
            powerinfer_sys::PI_STRATEGY_PREDICTOR => Self::Predictor,
            powerinfer_sys::PI_STRATEGY_AUTO => Self::Auto,
            _ => Self::Default,
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is no strategy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown strategy {found:?}: want default, dense, exact, predictor or auto")]
pub struct UnknownStrategy {
    /// The name given.
    pub found: String,
}

impl std::str::FromStr for Strategy {
    type Err = UnknownStrategy;

    fn from_str(name: &str) -> Result<Self, UnknownStrategy> {
        [Self::Default, Self::Dense, Self::Exact, Self::Predictor, Self::Auto]
            .into_iter()
            .find(|strategy| strategy.name() == name)
            .ok_or_else(|| UnknownStrategy { found: name.to_owned() })
    }
}

/// How far a load has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadProgress {
    /// Bytes made ready so far.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

type ProgressFn = dyn Fn(LoadProgress) -> ControlFlow<()> + Send + Sync;

/// What [`Model::load_with`](crate::Model::load_with) may choose.
///
/// # Examples
///
/// ```
/// use powerinfer::{ModelOptions, Strategy};
///
/// let options = ModelOptions::default().strategy(Strategy::Exact).prefetch(true);
/// assert_eq!(options.strategy, Strategy::Exact);
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct ModelOptions {
    /// How feed-forward layers are computed.
    pub strategy: Strategy,
    /// Reads the whole file during the load instead of on first use.
    pub prefetch: bool,
    /// Locks the weights in memory, which includes `prefetch`.
    pub lock_memory: bool,
    /// Whether the weights are copied into memory with large pages, which includes `prefetch`.
    pub repack: Repack,
    /// What a predictor's score must reach; `None` takes the file's own threshold, or 0. A
    /// threshold for a model that is loaded with a strategy without predictors is an error.
    pub sparse_threshold: Option<f32>,
    /// Whether a GPU gets a part of the model; off by default. A model with a part on a GPU can have
    /// one session at a time.
    pub gpu: GpuOptions,
    progress: Option<Arc<ProgressFn>>,
}

impl ModelOptions {
    /// Sets how feed-forward layers are computed.
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Sets whether the whole file is read during the load.
    #[must_use]
    pub fn prefetch(mut self, prefetch: bool) -> Self {
        self.prefetch = prefetch;
        self
    }

    /// Sets whether the weights are locked in memory.
    #[must_use]
    pub fn lock_memory(mut self, lock_memory: bool) -> Self {
        self.lock_memory = lock_memory;
        self
    }

    /// Sets whether the weights are copied into memory with large pages.
    #[must_use]
    pub fn repack(mut self, repack: Repack) -> Self {
        self.repack = repack;
        self
    }

    /// Sets what a predictor's score must reach.
    #[must_use]
    pub fn sparse_threshold(mut self, threshold: f32) -> Self {
        self.sparse_threshold = Some(threshold);
        self
    }

    /// Sets what a GPU gets of the model.
    #[must_use]
    pub fn gpu(mut self, gpu: GpuOptions) -> Self {
        self.gpu = gpu;
        self
    }

    /// Calls `progress` while the file is read in, on the loading thread; a load that neither
    /// copies weights nor prefetches nor locks reads nothing in. `Break` stops the load with
    /// [`Error::Cancelled`](crate::Error::Cancelled); a panic stops it and continues in the caller.
    #[must_use]
    pub fn progress(
        mut self,
        progress: impl Fn(LoadProgress) -> ControlFlow<()> + Send + Sync + 'static,
    ) -> Self {
        self.progress = Some(Arc::new(progress));
        self
    }

    pub(crate) fn settings(&self) -> ModelSettings {
        ModelSettings {
            strategy: self.strategy.to_raw(),
            prefetch: self.prefetch,
            lock_memory: self.lock_memory,
            repack: match self.repack {
                Repack::Auto => powerinfer_sys::PI_REPACK_AUTO,
                Repack::Always => powerinfer_sys::PI_REPACK_ALWAYS,
                Repack::Never => powerinfer_sys::PI_REPACK_NEVER,
            },
            sparse_threshold: self.sparse_threshold,
        }
    }

    /// Reports to the callback, if there is one; false stops the load.
    pub(crate) fn report(&self, done: u64, total: u64) -> bool {
        let Some(progress) = &self.progress else { return true };
        progress(LoadProgress { done, total }).is_continue()
    }
}

impl fmt::Debug for ModelOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelOptions")
            .field("strategy", &self.strategy)
            .field("prefetch", &self.prefetch)
            .field("lock_memory", &self.lock_memory)
            .field("repack", &self.repack)
            .field("sparse_threshold", &self.sparse_threshold)
            .field("gpu", &self.gpu)
            .field("progress", &self.progress.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies_are_read_as_they_are_written() {
        for name in ["default", "dense", "exact", "predictor", "auto"] {
            assert_eq!(name.parse::<Strategy>().unwrap().to_string(), name);
        }
        assert!("Dense".parse::<Strategy>().is_err(), "names are lower case");
    }

    #[test]
    fn a_callback_that_breaks_stops_the_load() {
        let stop_at_half = |p: LoadProgress| {
            if 2 * p.done >= p.total { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let options = ModelOptions::default().progress(stop_at_half);
        assert!(options.report(1, 4), "goes on at a quarter");
        assert!(!options.report(2, 4), "stops at half");
        assert!(ModelOptions::default().report(4, 4), "nobody listens");
    }
}
