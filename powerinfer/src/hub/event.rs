//! What a pull tells while it works, and how it is stopped.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::HubError;

/// How often a wait looks whether it should end.
const TICK: Duration = Duration::from_millis(50);

/// What a pull tells while it works.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum PullEvent<'a> {
    /// Another process pulls or removes this model; its end is waited for.
    Waiting {
        /// The model.
        name: &'a str,
    },
    /// The model is here already, whole and unchanged.
    Present {
        /// The model.
        name: &'a str,
    },
    /// Files are going to be fetched.
    Downloading {
        /// The model.
        name: &'a str,
        /// How many files.
        files: usize,
        /// Bytes of all of them, where that is known.
        bytes: Option<u64>,
    },
    /// A file is begun, or gone on with.
    File {
        /// Its name below the model's folder.
        file: &'a str,
        /// Its bytes, where that is known.
        bytes: Option<u64>,
        /// Bytes that were there before.
        present: u64,
    },
    /// Bytes have come.
    Progress {
        /// Bytes of all files that are there.
        done: u64,
        /// Bytes of all files, where that is known.
        total: Option<u64>,
    },
    /// Something failed and is tried again.
    Retrying {
        /// What failed.
        reason: &'a str,
        /// Seconds until then.
        seconds: f64,
    },
    /// What there was of a file cannot be gone on with.
    Restarted {
        /// Why.
        reason: &'a str,
    },
}

/// Tells events and remembers how far all files are.
pub(super) struct Sink<'a> {
    tell: &'a mut dyn FnMut(&PullEvent<'_>) -> ControlFlow<()>,
    done: u64,
    total: Option<u64>,
}

impl<'a> Sink<'a> {
    pub(super) fn new(tell: &'a mut dyn FnMut(&PullEvent<'_>) -> ControlFlow<()>) -> Self {
        Self { tell, done: 0, total: None }
    }

    pub(super) fn event(&mut self, event: &PullEvent<'_>) -> Result<(), HubError> {
        match (self.tell)(event) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(HubError::Cancelled),
        }
    }

    /// How many bytes there will be.
    pub(super) fn expect(&mut self, total: Option<u64>) {
        self.total = total;
    }

    /// Counts bytes that have come, or were there.
    pub(super) fn advance(&mut self, bytes: u64) -> Result<(), HubError> {
        self.done += bytes;
        self.tick()
    }

    /// Takes back bytes that were of no use.
    pub(super) fn retreat(&mut self, bytes: u64, reason: &str) -> Result<(), HubError> {
        self.done = self.done.saturating_sub(bytes);
        self.event(&PullEvent::Restarted { reason })
    }

    /// Waits, unless the caller wants no more.
    pub(super) fn sleep(&mut self, wait: Duration) -> Result<(), HubError> {
        let end = Instant::now() + wait;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(TICK));
            self.tick()?;
        }
    }

    fn tick(&mut self) -> Result<(), HubError> {
        self.event(&PullEvent::Progress { done: self.done, total: self.total })
    }
}
