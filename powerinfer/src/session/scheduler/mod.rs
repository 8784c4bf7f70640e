//! Many requests at a time, which come and go between two steps.

mod event;
mod job;
mod request;
mod room;
mod schedule;
mod slots;

pub use event::{Event, Finished, RequestId};
pub use request::{Request, RequestHandle, Requests};
pub(super) use schedule::{Schedule, Step};

use super::Session;
use super::to_usize;

/// Tokens of prompts in a step while texts are running, unless it is set.
const PREFILL_CHUNK: usize = 64;

/// Serves many requests from one session: continuous batching.
///
/// Each [`step`](Self::step) computes a token for every running text and a piece of the prompts
/// that are on their way, all in one pass over the weights. Requests enter as soon as a sequence is
/// free and leave when they end; the others do not notice: every text is what
/// [`Session::generate`](crate::Session::generate) gives for it alone.
///
/// - A prompt that begins like a text in the cache, finished or running, takes over what they share.
/// - Long prompts are cut, so that texts go on beside them; prompts that are computed together
///   share the step.
/// - First come, first served. A request enters when the cache has room for its prompt beside those
///   that run, to the page. Where texts grow until the cache is full, what finished ones left in it
///   goes first; then the last one admitted goes back to the queue and starts over, with its text so
///   far, when there is room.
/// - An error of one request, a panic too, ends that request only.
///
/// # Examples
///
/// ```no_run
/// use powerinfer::{Event, Model, Sampling, Scheduler, SessionOptions};
///
/// let model = Model::load("model.gguf")?;
/// let session = model.session(SessionOptions::default().context(4096).sequences(4))?;
/// let mut scheduler = Scheduler::new(session);
/// for prompt in ["Once upon a time", "The dog"] {
///     let request = scheduler.requests().text(prompt, Sampling::greedy())?;
///     scheduler.submit(request);
/// }
/// while scheduler.step(&mut |id, event| match event {
///     Event::Piece(piece) => println!("{id:?}: {}", piece.text),
///     other => println!("{id:?}: {other:?}"),
/// }) {}
/// # Ok::<(), powerinfer::Error>(())
/// ```
pub struct Scheduler {
    session: Session,
    schedule: Schedule,
}

/// How busy a scheduler is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Load {
    /// Requests that have a sequence.
    pub running: usize,
    /// Requests in the queue.
    pub waiting: usize,
    /// Tokens in the cache, those of finished texts included.
    pub cached_tokens: usize,
    /// Tokens that the cache still has room for.
    pub room: usize,
}

impl Scheduler {
    /// Serves from `session`: as many texts at a time as it has sequences.
    pub fn new(session: Session) -> Self {
        let n_sequences = to_usize(session.options().sequences);
        Self { session, schedule: Schedule::new(n_sequences, PREFILL_CHUNK) }
    }

    /// Sets how many tokens of prompts a step computes at most while texts are running; more make
    /// prompts faster and the texts beside them wait longer. Without running texts it is the
    /// session's batch.
    #[must_use]
    pub fn prefill_chunk(mut self, tokens: usize) -> Self {
        self.schedule.set_prefill_chunk(tokens);
        self
    }

    /// The session that computes.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// What prepares requests, on any thread.
    pub fn requests(&self) -> Requests {
        Requests { time_limit: self.session.options.timeout, ..Requests::of(&self.session) }
    }

    /// Puts a request at the end of the queue.
    pub fn submit(&mut self, request: Request) -> RequestId {
        self.schedule.submit(&self.session, request)
    }

    /// Computes one batch and tells `on_event` what became of the requests. Returns whether any
    /// are left, running or waiting.
    pub fn step(&mut self, on_event: &mut dyn FnMut(RequestId, Event)) -> bool {
        self.schedule.step(&mut self.session, on_event);
        self.schedule.has_work()
    }

    /// How busy it is.
    pub fn load(&self) -> Load {
        Load {
            running: self.schedule.n_running(),
            waiting: self.schedule.n_waiting(),
            cached_tokens: self.session.histories.iter().map(Vec::len).sum(),
            room: self.session.room(),
        }
    }
}

impl std::fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scheduler")
            .field("session", &self.session)
            .field("load", &self.load())
            .finish_non_exhaustive()
    }
}
