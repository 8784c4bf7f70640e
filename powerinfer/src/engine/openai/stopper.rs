//! Stopping a request from another thread, by closing its connection.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ureq::Agent;

use crate::error::Error;

/// Stops the request that runs, or the next one.
#[derive(Debug, Default)]
pub(super) struct Stopper {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_stopped: bool,
    /// Whose connection is to be closed.
    running: Option<Agent>,
}

impl Stopper {
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.is_stopped = true;
        if let Some(agent) = state.running.take() {
            agent.shutdown();
        }
    }

    pub(super) fn clear(&self) {
        self.lock().is_stopped = false;
    }

    /// Runs a request that can be stopped, and forgets a stop that was meant for it.
    pub(super) fn run<T>(
        &self,
        agent: &Agent,
        work: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        {
            let mut state = self.lock();
            if std::mem::take(&mut state.is_stopped) {
                return Err(Error::Cancelled);
            }
            state.running = Some(agent.clone());
        }
        let result = work();
        let mut state = self.lock();
        state.running = None;
        // A connection that is closed under a request looks like many things.
        if std::mem::take(&mut state.is_stopped) { Err(Error::Cancelled) } else { result }
    }

    /// A plain value is whole even if a thread panicked while it held the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
