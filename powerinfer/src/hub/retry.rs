//! Which failures are worth another try, and when it is made.

use std::time::Duration;

use super::HubError;
use super::event::{PullEvent, Sink};
use super::options::Patience;
use super::url;

/// A server that asks for a longer wait is not waited for.
const LONGEST_ASKED: Duration = Duration::from_secs(300);

/// Why a try failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// For a reason that may pass.
    Again {
        reason: String,
        /// The wait that the server asks for.
        after: Option<Duration>,
    },
    /// For good.
    Final(HubError),
}

impl Failure {
    pub(super) fn again(reason: impl Into<String>) -> Self {
        Self::Again { reason: reason.into(), after: None }
    }
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        Self::Final(error)
    }
}

/// Counts the failures since the last progress.
#[derive(Debug)]
pub(super) struct Tries {
    patience: Patience,
    failures: u32,
    /// Bytes that there were at most.
    farthest: u64,
}

impl Tries {
    /// Starts with so many bytes.
    pub(super) fn new(patience: Patience, done: u64) -> Self {
        Self { patience, failures: 0, farthest: done }
    }

    /// Waits before the next try, or gives up. `done` are the bytes that there are now.
    pub(super) fn failed(
        &mut self,
        failure: Failure,
        url: &str,
        done: u64,
        sink: &mut Sink<'_>,
    ) -> Result<(), HubError> {
        let (reason, after) = match failure {
            Failure::Again { reason, after } => (reason, after),
            Failure::Final(error) => return Err(error),
        };
        if done > self.farthest {
            (self.farthest, self.failures) = (done, 0);
        }
        self.failures += 1;
        let wait = after.unwrap_or_else(|| self.patience.delay(self.failures));
        if self.failures >= self.patience.tries || wait > LONGEST_ASKED {
            let (url, tries) = (url::shown(url).to_owned(), self.failures);
            return Err(HubError::GaveUp { url, tries, done, reason });
        }
        sink.event(&PullEvent::Retrying { reason: &reason, seconds: wait.as_secs_f64() })?;
        sink.sleep(wait)
    }
}

/// Does something that needs no progress until it works or is given up.
pub(super) fn patiently<T>(
    patience: Patience,
    url: &str,
    sink: &mut Sink<'_>,
    mut work: impl FnMut() -> Result<T, Failure>,
) -> Result<T, HubError> {
    let mut tries = Tries::new(patience, 0);
    loop {
        match work() {
            Ok(value) => return Ok(value),
            Err(failure) => tries.failed(failure, url, 0, sink)?,
        }
    }
}
