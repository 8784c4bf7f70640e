//! Stopping an engine from another thread, whichever it is.

use std::fmt;
use std::sync::Arc;

/// Stops what an engine generates, from any thread. If it generates nothing, its next work is
/// stopped, unless [`TextEngine::clear_stop`](super::TextEngine::clear_stop) comes first.
#[derive(Clone)]
pub struct StopHandle {
    stop: Arc<dyn Fn() + Send + Sync>,
}

impl StopHandle {
    /// Makes a handle of what an engine does to stop.
    pub fn new(stop: impl Fn() + Send + Sync + 'static) -> Self {
        Self { stop: Arc::new(stop) }
    }

    /// Stops the engine.
    pub fn stop(&self) {
        (self.stop)();
    }
}

impl fmt::Debug for StopHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StopHandle").finish_non_exhaustive()
    }
}
