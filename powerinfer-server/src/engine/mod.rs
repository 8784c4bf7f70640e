//! The engine: one thread that owns the session, and what handlers know of it.

mod reply;
mod snapshot;
mod thread;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use powerinfer::{ChatTemplate, Error, Model, Request, Requests, Session};
use tokio::sync::{oneshot, watch};

pub(crate) use reply::{Reply, Told};
pub(crate) use snapshot::{Snapshot, Snapshots};

use crate::error::ApiError;
use crate::metrics::Metrics;

/// Why a model cannot be loaded, in whatever form its loader has.
pub type LoadError = Box<dyn std::error::Error + Send + Sync>;

/// Opens a session on a model.
type Open = Box<dyn Fn(&Model) -> Result<Session, Error> + Send>;

/// A loaded model and how sessions are opened on it.
pub struct Served {
    pub(crate) model: Model,
    open: Open,
    id: String,
    template: Option<ChatTemplate>,
    facts: serde_json::Map<String, serde_json::Value>,
    when_ready: Box<dyn FnOnce(&str) + Send>,
}

impl Served {
    /// Serves `model` from a session that `open` opens; another one is opened if the first is lost
    /// to a bug. The session's [`sequences`](powerinfer::SessionOptions::sequences) are the texts
    /// that run at a time.
    pub fn new(
        model: Model,
        open: impl Fn(&Model) -> Result<Session, Error> + Send + 'static,
    ) -> Self {
        let id = model.info().name.clone();
        let facts = serde_json::Map::new();
        Self {
            model,
            open: Box::new(open),
            id,
            template: None,
            facts,
            when_ready: Box::new(|_| {}),
        }
    }

    /// Sets the name that requests call the model by; without it, the model's own.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// Sets the chat template; without it, the model file's.
    #[must_use]
    pub fn chat_template(mut self, template: Option<ChatTemplate>) -> Self {
        self.template = template;
        self
    }

    /// Calls `tell` with the model's name once requests are served.
    #[must_use]
    pub fn when_ready(mut self, tell: impl FnOnce(&str) + Send + 'static) -> Self {
        self.when_ready = Box::new(tell);
        self
    }

    /// Adds a fact about the model to what `/v1/models` tells.
    #[must_use]
    pub fn fact(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }
}

impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Served").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Whether there is a model yet.
#[derive(Debug, Clone)]
pub(crate) enum State {
    Loading,
    Ready(Arc<Engine>),
    /// It could not be loaded, or was lost and could not be opened again.
    Lost,
}

/// A model that serves.
#[derive(Debug)]
pub(crate) struct Engine {
    /// The name that requests call it by.
    pub(crate) id: String,
    pub(crate) requests: Requests,
    pub(crate) template: Option<ChatTemplate>,
    pub(crate) facts: serde_json::Map<String, serde_json::Value>,
    /// When it was ready, in seconds of Unix.
    pub(crate) created: u64,
    pub(crate) snapshots: Arc<Snapshots>,
    /// None once the engine was closed.
    mailbox: Mutex<Option<mpsc::Sender<Submission>>>,
    queue: Arc<Queue>,
}

/// Counts requests that wait, so that there are never too many.
#[derive(Debug)]
struct Queue {
    waiting: AtomicUsize,
    limit: usize,
}

/// A place in the queue; dropping it gives it back.
#[derive(Debug)]
struct QueuePlace(Arc<Queue>);

/// A request on its way to the engine's thread.
struct Submission {
    request: Request,
    reply: reply::Sender,
    place: QueuePlace,
}

/// An engine's thread that was started.
pub(crate) struct Started {
    pub(crate) state: watch::Receiver<State>,
    /// Tells why it ended, if it did not end because nobody needs it any more.
    pub(crate) failure: oneshot::Receiver<LoadError>,
    pub(crate) thread: JoinHandle<()>,
}

/// Starts the engine's thread, which loads the model first.
pub(crate) fn start(
    load: impl FnOnce() -> Result<Served, LoadError> + Send + 'static,
    queue_limit: usize,
    prefill_chunk: Option<usize>,
    metrics: Arc<Metrics>,
) -> std::io::Result<Started> {
    let (state, watched) = watch::channel(State::Loading);
    let (failed, failure) = oneshot::channel();
    let queue = Arc::new(Queue { waiting: AtomicUsize::new(0), limit: queue_limit });
    let builder = std::thread::Builder::new().name("powerinfer-engine".to_owned());
    let thread = builder.spawn(move || {
        let thread = thread::Thread { state, queue, prefill_chunk, metrics };
        if let Err(error) = thread.run(load) {
            // Whoever waits for it may be gone already.
            let _ = failed.send(error);
        }
    })?;
    Ok(Started { state: watched, failure, thread })
}

impl Engine {
    /// Puts requests into the queue, all or none, and gives the replies in their order.
    pub(crate) fn submit(&self, requests: Vec<Request>) -> Result<Vec<Reply>, ApiError> {
        let mailbox = self.mailbox().clone().ok_or_else(lost)?;
        let places = match Queue::enter(&self.queue, requests.len()) {
            Ok(places) => places,
            Err(error) => {
                let (code, message) = error.in_words();
                for request in requests {
                    request.refuse(code, message);
                }
                return Err(error);
            }
        };
        let submit = |(request, place): (Request, QueuePlace)| {
            let (sender, reply) = reply::channel(request.handle());
            let sent = mailbox.send(Submission { request, reply: sender, place });
            sent.map(|()| reply).map_err(|_| lost())
        };
        requests.into_iter().zip(places).map(submit).collect()
    }

    /// Takes no more requests; the engine's thread ends when it has done the last one.
    pub(crate) fn close(&self) {
        self.mailbox().take();
    }

    /// A plain value is whole even if a thread panicked while it held the lock.
    fn mailbox(&self) -> MutexGuard<'_, Option<mpsc::Sender<Submission>>> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the model's conversations are written, or why there are none.
    pub(crate) fn chat_template(&self) -> Result<&ChatTemplate, ApiError> {
        match &self.template {
            Some(template) => Ok(template),
            None => Ok(self.requests.model().chat_template()?),
        }
    }

    /// Requests that have no sequence yet.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.waiting.load(Ordering::Relaxed)
    }
}

impl Queue {
    /// All of `n` places, or none.
    fn enter(queue: &Arc<Self>, n: usize) -> Result<Vec<QueuePlace>, ApiError> {
        let limit = queue.limit;
        if n > limit {
            let message = format!(
                "the request asks for {n} texts, and {limit} can wait on this server: ask for fewer"
            );
            return Err(ApiError::invalid(message));
        }
        let add = |waiting: usize| waiting.checked_add(n).filter(|&sum| sum <= limit);
        let entered = queue.waiting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, add);
        entered.map_err(|waiting| ApiError::busy(waiting, limit))?;
        Ok((0..n).map(|_| QueuePlace(Arc::clone(queue))).collect())
    }
}

impl Drop for QueuePlace {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The error of requests that a lost engine leaves behind.
pub(crate) fn lost() -> ApiError {
    ApiError::unavailable("engine_lost", "the engine was lost to an error; see the server's log")
}

pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;

    #[test]
    fn places_are_given_back() {
        let queue = Arc::new(Queue { waiting: AtomicUsize::new(0), limit: 3 });
        let waiting = || queue.waiting.load(Ordering::SeqCst);
        let refusal =
            |n| Queue::enter(&queue, n).map(drop).unwrap_err().into_response().status().as_u16();
        let mut two = Queue::enter(&queue, 2).unwrap();
        assert_eq!(refusal(2), 429);
        assert_eq!(waiting(), 2, "a refusal takes none");
        two.pop();
        let more = Queue::enter(&queue, 2).unwrap();
        assert_eq!(waiting(), 3);
        drop((two, more));
        assert_eq!(waiting(), 0);
        assert_eq!(refusal(4), 400, "waiting would not help");
    }
}
