//! What a server tells the program that started it: JSON lines on standard output.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use powerinfer::LoadProgress;
use serde_json::{Value, json};

use super::super::output::Out;

/// How often progress is told.
const PERIOD: Duration = Duration::from_millis(500);

/// Tells events, if they are wanted.
#[derive(Debug, Clone)]
pub(in super::super) struct Events {
    is_on: bool,
    last_progress: Arc<Mutex<Option<Instant>>>,
}

impl Events {
    pub(in super::super) fn new(is_on: bool) -> Self {
        Self { is_on, last_progress: Arc::default() }
    }

    /// Tells an event. A reader that went away is no reason to stop serving.
    pub(in super::super) fn tell(&self, event: &Value) {
        if self.is_on {
            let _ = Out::lock().json_line(event);
        }
    }

    /// Tells how far a download is: at its start, at its end, and now and then.
    #[cfg(feature = "hub")]
    pub(in super::super) fn downloading(&self, event: &powerinfer::hub::PullEvent<'_>) {
        use powerinfer::hub::PullEvent;
        let (done, total) = match *event {
            PullEvent::Downloading { bytes, .. } => (0, bytes),
            PullEvent::Progress { done, total } if self.is_time(Some(done) == total) => {
                (done, total)
            }
            _ => return,
        };
        self.tell(&json!({ "event": "downloading", "done": done, "total": total }));
    }

    /// Tells how far the load is, as often.
    pub(in super::super) fn loading(&self, progress: LoadProgress) {
        if self.is_time(progress.done >= progress.total) {
            self.tell(&json!({ "event": "loading", "progress": share(progress) }));
        }
    }

    /// Whether progress is to be told again.
    fn is_time(&self, is_end: bool) -> bool {
        let mut last = self.last_progress.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = is_end || last.is_none_or(|last| last.elapsed() >= PERIOD);
        if is_time {
            *last = Some(Instant::now());
        }
        is_time
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share is shown with a few digits")]
fn share(progress: LoadProgress) -> f64 {
    let share = progress.done as f64 / progress.total.max(1) as f64;
    (share * 1000.0).round() / 1000.0
}
