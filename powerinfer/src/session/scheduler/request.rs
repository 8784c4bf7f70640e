//! Requests: texts to make and texts to embed, prepared on any thread.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::super::Session;
use super::super::embed::{EmbedOptions, Pool};
use super::super::generate_options::GenerateOptions;
use super::super::interrupt::CancelHandle;
use super::super::preparation::Preparation;
use super::job::Work;
use crate::batch::Token;
use crate::error::Error;
use crate::model::Model;
use crate::text::{ChatRequest, ChatTemplate};
use crate::trace;

/// Prepares requests for one [`Scheduler`](super::Scheduler), on any thread: prompts become tokens,
/// and what cannot run is refused before it takes a place in the queue. The `tracing` span that is
/// entered on that thread is the parent of the request's.
#[derive(Debug, Clone)]
pub struct Requests {
    pub(super) model: Model,
    pub(super) capacity: usize,
    pub(super) defaults: GenerateOptions,
    pub(super) session: CancelHandle,
    pub(super) time_limit: Option<Duration>,
}

/// Work for a [`Scheduler`](super::Scheduler).
pub struct Request {
    pub(super) work: Work,
    pub(super) handle: RequestHandle,
    pub(super) time_limit: Option<Duration>,
    pub(super) asked: Instant,
    pub(super) label: Option<String>,
}

/// Cancels a request from any thread, wherever it is: before it is submitted, in the queue, in its
/// prompt or in its text.
#[derive(Debug, Clone)]
pub struct RequestHandle {
    state: Arc<State>,
    session: CancelHandle,
}

#[derive(Debug, Default)]
struct State {
    is_cancelled: AtomicBool,
    /// Its prompt is being computed, which may take long.
    is_in_prompt: AtomicBool,
}

impl Requests {
    /// What prepares requests for `session`, without a time limit.
    pub(in super::super) fn of(session: &Session) -> Self {
        Self {
            model: session.model().clone(),
            capacity: session.capacity(),
            defaults: session.defaults().clone(),
            session: session.cancel_handle(),
            time_limit: None,
        }
    }

    /// The model that answers.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Tokens that a text can have, prompt and completion together.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// What texts take where their own options are silent.
    pub fn defaults(&self) -> &GenerateOptions {
        &self.defaults
    }

    /// A text that continues `prompt`.
    ///
    /// # Errors
    ///
    /// As for [`Session::generate`](crate::Session::generate) before anything is computed.
    pub fn text(
        &self,
        prompt: &str,
        options: impl Into<GenerateOptions>,
    ) -> Result<Request, Error> {
        Ok(self.request(Work::text(self.prepare(options).text(prompt)?)))
    }

    /// A text that continues tokens.
    ///
    /// # Errors
    ///
    /// As for [`Session::generate_tokens`](crate::Session::generate_tokens).
    pub fn tokens(
        &self,
        prompt: &[Token],
        options: impl Into<GenerateOptions>,
    ) -> Result<Request, Error> {
        Ok(self.request(Work::text(self.prepare(options).tokens(prompt)?)))
    }

    /// A text that answers a conversation by a template, often the model's own:
    /// [`Model::chat_template`].
    ///
    /// # Errors
    ///
    /// As for [`Session::generate_chat`](crate::Session::generate_chat).
    pub fn chat(
        &self,
        template: &ChatTemplate,
        request: &ChatRequest<'_>,
        options: impl Into<GenerateOptions>,
    ) -> Result<Request, Error> {
        Ok(self.request(Work::text(self.prepare(options).chat(template, request)?)))
    }

    /// The embedding of a text.
    ///
    /// # Errors
    ///
    /// As for [`Session::embed`](crate::Session::embed) before anything is computed.
    pub fn embedding(&self, text: &str, options: EmbedOptions) -> Result<Request, Error> {
        let tokens = self.prepare(GenerateOptions::default()).embedded(text)?;
        Ok(self.request(self.embed(tokens, options)))
    }

    /// The embedding of tokens.
    ///
    /// # Errors
    ///
    /// As for [`embedding`](Self::embedding), and [`Error::UnknownToken`].
    pub fn token_embedding(
        &self,
        tokens: &[Token],
        options: EmbedOptions,
    ) -> Result<Request, Error> {
        self.prepare(GenerateOptions::default()).check_embedded(tokens)?;
        Ok(self.request(self.embed(tokens.to_vec(), options)))
    }

    fn prepare(&self, options: impl Into<GenerateOptions>) -> Preparation<'_> {
        let options = options.into().or(&self.defaults);
        Preparation::new(&self.model, self.capacity, options)
    }

    fn embed(&self, tokens: Vec<Token>, options: EmbedOptions) -> Work {
        let dim = self.model.info().dim;
        let span = trace::embedding(self.model.identity(), tokens.len(), dim);
        Work::Embedding { tokens, pool: Pool::new(dim, options), span }
    }

    fn request(&self, work: Work) -> Request {
        let handle = RequestHandle { state: Arc::default(), session: self.session.clone() };
        let time_limit = self.time_limit;
        Request { work, handle, time_limit, asked: Instant::now(), label: None }
    }
}

impl Request {
    /// Sets how long the request may take, from now on, the time in the queue included; it then
    /// fails with [`Error::Timeout`]. Without this call the session's limit counts.
    #[must_use]
    pub fn time_limit(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.time_limit = limit.into();
        self.asked = Instant::now();
        self
    }

    /// Sets the `request_id` of its log event and of its span.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        let label = label.into();
        trace::label(self.work.span(), &label);
        self.label = Some(label);
        self
    }

    /// Gives it up before it is submitted. Its span says so by `kind`, a word for the error such as
    /// `queue_full`, and `reason`, a sentence.
    pub fn refuse(self, kind: &str, reason: &str) {
        trace::refuse(self.work.span(), kind, reason);
    }

    /// Cancels it from any thread.
    pub fn handle(&self) -> RequestHandle {
        self.handle.clone()
    }

    /// Number of tokens of its prompt.
    pub fn prompt_tokens(&self) -> usize {
        self.work.prompt().len()
    }

    /// The seed of the draws of a text.
    pub fn seed(&self) -> Option<u64> {
        match &self.work {
            Work::Text(run) => Some(run.seed()),
            Work::Embedding { .. } => None,
        }
    }
}

impl RequestHandle {
    /// Cancels the request. Its text ends as it is, with
    /// [`FinishReason::Cancelled`](crate::FinishReason::Cancelled).
    pub fn cancel(&self) {
        self.state.is_cancelled.store(true, Ordering::SeqCst);
        if self.state.is_in_prompt.load(Ordering::SeqCst) {
            // Stops the step that computes it; others in that step are computed again. A step of
            // plain decoding is short, and is let be.
            self.session.cancel();
        }
    }

    /// Whether the request was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.state.is_cancelled.load(Ordering::SeqCst)
    }

    pub(super) fn set_in_prompt(&self, is_in_prompt: bool) {
        self.state.is_in_prompt.store(is_in_prompt, Ordering::SeqCst);
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("prompt_tokens", &self.prompt_tokens())
            .field("label", &self.label)
            .field("time_limit", &self.time_limit)
            .field("is_cancelled", &self.handle.is_cancelled())
            .finish_non_exhaustive()
    }
}
