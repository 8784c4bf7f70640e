//! What tells a server to end: Ctrl-C, SIGTERM, or the end of the program that started it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::super::interrupt::Interrupt;

/// How often is looked whether the server is told to end.
const PERIOD: Duration = Duration::from_millis(50);

/// Whether a server is told to end, and by what.
#[derive(Debug, Clone)]
pub(in super::super) struct Ending {
    pub(in super::super) interrupt: Interrupt,
    parent_is_gone: Arc<AtomicBool>,
}

impl Ending {
    /// Starts listening.
    pub(in super::super) fn listen() -> anyhow::Result<Self> {
        Ok(Self { interrupt: Interrupt::listen()?, parent_is_gone: Arc::default() })
    }

    /// Ends the server when nobody can write to its standard input any more.
    pub(in super::super) fn watch_parent(&self) {
        let ending = self.clone();
        std::thread::spawn(move || {
            // What is written there means nothing; an error is an end too.
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            ending.parent_is_gone.store(true, Ordering::SeqCst);
            ending.interrupt.come();
        });
    }

    /// Waits until the server is told to end.
    pub(in super::super) async fn wait(&self) {
        while !self.interrupt.has_come() {
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// What a thread of its own comes to; none if the server is told to end before, which the thread
    /// does not outlive. An error if it panics.
    #[cfg(feature = "hub")]
    pub(in super::super) fn unless_it_comes<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> anyhow::Result<Option<T>> {
        let thread = std::thread::spawn(work);
        while !thread.is_finished() {
            if self.interrupt.has_come() {
                return Ok(None);
            }
            std::thread::sleep(PERIOD);
        }
        thread.join().map(Some).map_err(|_| anyhow::anyhow!("a thread panicked: this is a bug"))
    }

    /// Why the server ends, for its last event.
    pub(in super::super) fn reason(&self) -> &'static str {
        if self.parent_is_gone.load(Ordering::SeqCst) { "parent_death" } else { "stopped" }
    }
}
