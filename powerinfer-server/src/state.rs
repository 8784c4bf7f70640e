//! What all handlers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::watch;

use crate::engine::{Engine, State};
use crate::error::ApiError;
use crate::metrics::Metrics;
use crate::options::ServerOptions;

/// What all handlers share.
#[derive(Debug, Clone)]
pub(crate) struct App {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: ServerOptions,
    engine: watch::Receiver<State>,
    metrics: Arc<Metrics>,
    is_stopping: AtomicBool,
    started: Instant,
}

impl App {
    pub(crate) fn new(
        options: ServerOptions,
        engine: watch::Receiver<State>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let is_stopping = AtomicBool::new(false);
        let started = Instant::now();
        Self { inner: Arc::new(Inner { options, engine, metrics, is_stopping, started }) }
    }

    pub(crate) fn options(&self) -> &ServerOptions {
        &self.inner.options
    }

    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.inner.metrics
    }

    pub(crate) fn uptime(&self) -> std::time::Duration {
        self.inner.started.elapsed()
    }

    /// The engine, or 503 where it is not ready for requests.
    pub(crate) fn engine(&self) -> Result<Arc<Engine>, ApiError> {
        if self.is_stopping() {
            let message = "the server is stopping and takes no more requests";
            return Err(ApiError::unavailable("stopping", message));
        }
        self.loaded()
    }

    /// The engine, also while the server finishes its last requests.
    pub(crate) fn loaded(&self) -> Result<Arc<Engine>, ApiError> {
        match &*self.inner.engine.borrow() {
            State::Ready(engine) => Ok(Arc::clone(engine)),
            State::Loading => {
                Err(ApiError::unavailable("loading", "the model is being loaded: try again later"))
            }
            State::Lost => Err(crate::engine::lost()),
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.inner.is_stopping.load(Ordering::SeqCst)
    }

    /// Takes no more requests from now on.
    pub(crate) fn stop(&self) {
        self.inner.is_stopping.store(true, Ordering::SeqCst);
    }
}
