//! Ctrl-C: the first one ends the reply where it is, the second one ends the program. In a
//! conversation, one that ends a reply does not count.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use powerinfer::engine::StopHandle;

use super::exit::Exit;

/// Listens for Ctrl-C.
#[derive(Debug, Clone)]
pub(super) struct Interrupt {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    has_come: bool,
    /// What Ctrl-C stops.
    stop: Option<StopHandle>,
    /// Whether that is a reply of a conversation, which goes on.
    is_turn: bool,
}

/// A reply of a conversation, which Ctrl-C stops for as long as this lives.
#[derive(Debug)]
pub(super) struct Turn<'i> {
    interrupt: &'i Interrupt,
}

impl Interrupt {
    /// Starts listening; from here on Ctrl-C does not end the program by itself.
    pub(super) fn listen() -> anyhow::Result<Self> {
        let interrupt = Self { state: Arc::default() };
        let heard = interrupt.clone();
        ctrlc::set_handler(move || heard.hear()).context("cannot listen for Ctrl-C")?;
        Ok(interrupt)
    }

    /// Whether Ctrl-C has come.
    pub(super) fn has_come(&self) -> bool {
        self.lock().has_come
    }

    /// Does what Ctrl-C does, unless it has come.
    #[cfg(feature = "server")]
    pub(super) fn come(&self) {
        if !self.has_come() {
            self.hear();
        }
    }

    /// Stops this when Ctrl-C comes, or now if it has come.
    pub(super) fn stops(&self, stop: StopHandle) {
        let mut state = self.lock();
        if state.has_come {
            stop.stop();
        }
        state.stop = Some(stop);
    }

    /// Stops this reply when Ctrl-C comes, and only the reply.
    pub(super) fn turn(&self, stop: StopHandle) -> Turn<'_> {
        *self.lock() = State { has_come: false, stop: Some(stop), is_turn: true };
        Turn { interrupt: self }
    }

    fn hear(&self) {
        let mut state = self.lock();
        if state.has_come && !state.is_turn {
            std::process::exit(Exit::Interrupted.code().into());
        }
        state.has_come = true;
        if let Some(stop) = &state.stop {
            stop.stop();
        }
    }

    /// A plain value is whole even if a thread panicked while it held the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.interrupt.lock() = State::default();
    }
}
