//! A thread that stops a session when its time is up. It sleeps unless a run is watched.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::interrupt::{Cause, Interrupt};

/// Owns the thread; ends and joins it on drop.
#[derive(Debug)]
pub(super) struct Watchdog {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    deadline: Option<Instant>,
    quits: bool,
}

impl Watchdog {
    pub(super) fn start(interrupt: Arc<Interrupt>) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let watched = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("powerinfer-timeout".to_owned())
            .spawn(move || watched.watch(&interrupt))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Watches until `deadline`, or not at all. After `None` returns, no interrupt follows.
    pub(super) fn set_deadline(&self, deadline: Option<Instant>) {
        self.shared.lock().deadline = deadline;
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn watch(&self, interrupt: &Interrupt) {
        let mut state = self.lock();
        while !state.quits {
            let now = Instant::now();
            state = match state.deadline {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) if deadline <= now => {
                    state.deadline = None;
                    // Under the lock, so that `set_deadline(None)` comes before or after.
                    interrupt.raise(Cause::Timeout);
                    state
                }
                Some(deadline) => {
                    let wait = self.changed.wait_timeout(state, deadline - now);
                    wait.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.lock().quits = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed by its hook, and there is nobody to tell here.
            let _ = thread.join();
        }
    }
}
