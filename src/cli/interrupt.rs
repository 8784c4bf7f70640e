//! Ctrl-C: the first one ends the reply where it is, the second one ends the program.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use powerinfer::CancelHandle;

use super::exit::Exit;

/// Listens for Ctrl-C.
#[derive(Debug, Clone)]
pub(super) struct Interrupt {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    has_come: AtomicBool,
    session: Mutex<Option<CancelHandle>>,
}

impl Interrupt {
    /// Starts listening; from here on Ctrl-C does not end the program by itself.
    pub(super) fn listen() -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::default());
        let heard = Arc::clone(&shared);
        ctrlc::set_handler(move || heard.interrupt()).context("cannot listen for Ctrl-C")?;
        Ok(Self { shared })
    }

    /// Whether Ctrl-C has come.
    pub(super) fn has_come(&self) -> bool {
        self.shared.has_come.load(Ordering::SeqCst)
    }

    /// Stops this session when Ctrl-C comes, or now if it has come.
    pub(super) fn stops(&self, session: CancelHandle) {
        let mut slot = self.shared.session.lock().unwrap_or_else(PoisonError::into_inner);
        if self.has_come() {
            session.cancel();
        }
        *slot = Some(session);
    }
}

impl Shared {
    fn interrupt(&self) {
        if self.has_come.swap(true, Ordering::SeqCst) {
            std::process::exit(Exit::Interrupted.code().into());
        }
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = &*session {
            session.cancel();
        }
    }
}
