//! A request on its way: what is computed for it, and what that cost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Span;

use super::super::embed::Pool;
use super::super::generate_options::FinishReason;
use super::super::meter::{Meter, TokenCounts};
use super::super::run::Run;
use super::super::{Part, Session};
use super::event::{Event, Finished, RequestId};
use super::request::{Request, RequestHandle};
use crate::batch::{Batch, Output, Token};
use crate::error::Error;
use crate::report::{self, Outcome};
use crate::trace;

/// What is computed.
pub(super) enum Work {
    Text(Box<Run>),
    Embedding { tokens: Vec<Token>, pool: Pool, span: Span },
}

/// A request that was submitted.
pub(super) struct Job {
    pub(super) id: RequestId,
    pub(super) handle: RequestHandle,
    work: Work,
    meter: Meter,
    cached: usize,
    limit: Option<(Duration, Instant)>,
    label: Option<String>,
}

impl Work {
    pub(super) fn text(run: Run) -> Self {
        Self::Text(Box::new(run))
    }

    /// Tokens of the prompt.
    pub(super) fn prompt(&self) -> &[Token] {
        match self {
            Self::Text(run) => run.prompt(),
            Self::Embedding { tokens, .. } => tokens,
        }
    }

    /// What is recorded of it for traces.
    pub(super) fn span(&self) -> &Span {
        match self {
            Self::Text(run) => run.span(),
            Self::Embedding { span, .. } => span,
        }
    }
}

impl Job {
    pub(super) fn new(id: RequestId, request: Request, session: &Session) -> Self {
        let Request { work, handle, time_limit, asked, label } = request;
        // A limit beyond the clock's range is no limit.
        let limit = time_limit.and_then(|limit| Some((limit, asked.checked_add(limit)?)));
        let meter = Meter::since(asked, session.model.load_time());
        Self { id, handle, work, meter, cached: 0, limit, label }
    }

    /// What its sequence is to hold.
    pub(super) fn window(&self) -> &[Token] {
        match &self.work {
            Work::Text(run) => run.window(),
            Work::Embedding { tokens, .. } => tokens,
        }
    }

    /// What of that may come from the cache.
    pub(super) fn cacheable(&self) -> &[Token] {
        match &self.work {
            Work::Text(run) => run.cacheable(),
            Work::Embedding { pool, .. } if pool.needs_all() => &[],
            Work::Embedding { tokens, .. } => tokens,
        }
    }

    pub(super) fn has_completion(&self) -> bool {
        matches!(&self.work, Work::Text(run) if !run.completion().is_empty())
    }

    /// Notes that it found its first `kept` tokens in the cache.
    pub(super) fn admit(&mut self, kept: usize) {
        if !self.has_completion() {
            self.cached = kept;
        }
    }

    /// How it is to end without being computed any further, if it is: it was cancelled, or its
    /// time is up.
    pub(super) fn is_due(&self, now: Instant) -> Option<Due> {
        if self.handle.is_cancelled() {
            return Some(Due::Cancelled);
        }
        let (limit, deadline) = self.limit?;
        (deadline <= now).then_some(Due::Late(limit))
    }

    /// Appends up to `limit` of the tokens that `sequence` does not hold yet.
    pub(super) fn extend(
        &self,
        batch: &mut Batch,
        session: &Session,
        sequence: u32,
        limit: usize,
    ) -> Part {
        match &self.work {
            Work::Text(run) => session.extend_run(batch, sequence, run, limit),
            Work::Embedding { tokens, pool, .. } => {
                let outputs = (pool.outputs(), Output::HIDDEN);
                session.extend_batch(batch, sequence, tokens, limit, outputs)
            }
        }
    }

    /// Takes what was computed. Returns what that led to.
    pub(super) fn advance(&mut self, session: &Session, part: &Part) -> Result<(), Error> {
        match &mut self.work {
            Work::Text(run) => session.read_logits(part, run),
            Work::Embedding { pool, .. } => session.read_hidden(part, pool),
        }
    }

    /// Counts a step that took `elapsed`.
    pub(super) fn measure_step(&mut self, session: &Session, elapsed: Duration) {
        let has_completion = self.has_completion();
        self.meter.step(elapsed, has_completion, &session.stats());
    }

    /// The next piece of its text, if there is one.
    pub(super) fn take_piece(&mut self) -> Option<Event> {
        match &mut self.work {
            Work::Text(run) => run.take_piece().map(Event::Piece),
            Work::Embedding { .. } => None,
        }
    }

    /// Whether there is nothing left to compute once `part` is.
    pub(super) fn is_over(&self, part: &Part) -> bool {
        match &self.work {
            Work::Text(run) => run.finish_reason().is_some(),
            Work::Embedding { .. } => part.is_last,
        }
    }

    /// Ends a text where it is.
    pub(super) fn end(&mut self, reason: FinishReason) {
        if let Work::Text(run) = &mut self.work
            && run.finish_reason().is_none()
        {
            run.end(reason);
        }
    }

    /// The last events of a request that is over, and its log event.
    pub(super) fn finish(mut self, session: &Session) -> (RequestId, [Option<Event>; 2]) {
        let rest = self.take_piece();
        let metrics = self.measure(session);
        let (identity, label) = (session.model.identity(), self.label.as_deref());
        let last = match self.work {
            Work::Text(run) => {
                let reason = run.finish_reason().cloned().unwrap_or(FinishReason::Cancelled);
                let outcome = Outcome::Finished(&reason);
                report::generation(identity, label, run.span(), &metrics, outcome);
                let tokens = run.completion().to_vec();
                Event::Finished(Box::new(Finished { finish_reason: reason, tokens, metrics }))
            }
            Work::Embedding { span, .. } if self.handle.is_cancelled() => {
                trace::fail(&span, &Error::Cancelled);
                Event::Failed(Arc::new(Error::Cancelled))
            }
            Work::Embedding { tokens, pool, .. } => {
                Event::Embedded { tokens: tokens.len(), vector: pool.finish() }
            }
        };
        (self.id, [rest, Some(last)])
    }

    /// The last event of a request that cannot be served, and its log event.
    pub(super) fn fail(self, session: &Session, error: Arc<Error>) -> (RequestId, Event) {
        match &self.work {
            Work::Text(run) => {
                let metrics = self.measure(session);
                let (identity, label) = (session.model.identity(), self.label.as_deref());
                let outcome = Outcome::Failed(&error);
                report::generation(identity, label, run.span(), &metrics, outcome);
            }
            Work::Embedding { span, .. } => trace::fail(span, &error),
        }
        (self.id, Event::Failed(error))
    }

    fn measure(&self, session: &Session) -> crate::Metrics {
        let (completion, forgotten) = match &self.work {
            Work::Text(run) => (run.completion().len(), run.n_forgotten()),
            Work::Embedding { .. } => (0, 0),
        };
        let (prompt, cached) = (self.work.prompt().len(), self.cached);
        let counts = TokenCounts { prompt, forgotten, cached, completion };
        self.meter.finish(counts, &session.stats(), &session.model.info().gpu)
    }
}

/// Why a request ends early.
#[derive(Debug, Clone, Copy)]
pub(super) enum Due {
    Cancelled,
    Late(Duration),
}
