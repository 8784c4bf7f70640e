//! Texts in the making, for chat and plain completions alike.

use std::sync::Arc;

use futures_util::stream::{self, BoxStream, StreamExt as _};
use powerinfer::{FinishReason, Finished, Request, TokenDetail};

use crate::engine::{Engine, Reply, Told};
use crate::error::ApiError;
use crate::request_id::RequestId;
use crate::state::App;
use crate::wire::{PromptTokensDetails, Usage};

/// Texts that the engine was asked for.
#[derive(Debug)]
pub(super) struct Generations {
    replies: Vec<Reply>,
    /// How many of them belong to each prompt.
    per_prompt: usize,
}

/// A finished text.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) text: String,
    pub(super) details: Vec<TokenDetail>,
    pub(super) finish_reason: &'static str,
}

/// Adds up what texts took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meter {
    usage: Usage,
    per_prompt: usize,
}

impl Generations {
    /// Prepares requests on a thread that may take its time, and puts them into the queue.
    pub(super) async fn start(
        app: &App,
        engine: &Arc<Engine>,
        RequestId(id): &RequestId,
        per_prompt: usize,
        prepare: impl FnOnce(&Engine) -> Result<Vec<Request>, ApiError> + Send + 'static,
    ) -> Result<Self, ApiError> {
        let requests = prepared(app, engine, id, prepare).await?;
        Ok(Self { replies: engine.submit(requests)?, per_prompt })
    }

    /// Number of texts.
    pub(super) fn len(&self) -> usize {
        self.replies.len()
    }

    pub(super) fn meter(&self) -> Meter {
        Meter { usage: Usage::default(), per_prompt: self.per_prompt }
    }

    /// All texts in their order. The first that fails ends them all.
    pub(super) async fn collect(self) -> Result<(Vec<Made>, Usage), ApiError> {
        let mut meter = self.meter();
        let mut texts = Vec::with_capacity(self.replies.len());
        let mut replies = self.replies;
        for (index, reply) in replies.iter_mut().enumerate() {
            let mut made = Made::default();
            loop {
                match reply.next().await {
                    Some(Told::Piece(piece)) => {
                        made.text.push_str(&piece.text);
                        made.details.extend(piece.tokens);
                    }
                    Some(Told::Finished(finished)) => {
                        meter.add(index, &finished);
                        made.finish_reason = finish_reason(&finished.finish_reason)?;
                        break;
                    }
                    Some(Told::Failed(error)) => return Err(error),
                    Some(Told::Embedded { .. }) | None => return Err(crate::engine::lost()),
                }
            }
            texts.push(made);
        }
        Ok((texts, meter.usage))
    }

    /// What is told of all texts, with their numbers, as it comes.
    pub(super) fn stream(self) -> BoxStream<'static, (usize, Told)> {
        let streams = self.replies.into_iter().enumerate().map(|(index, reply)| {
            let next = move |mut reply: Reply| async move {
                let told = reply.next().await?;
                Some(((index, told), reply))
            };
            stream::unfold(reply, next).boxed()
        });
        stream::select_all(streams).boxed()
    }
}

impl Meter {
    pub(super) fn add(&mut self, index: usize, finished: &Finished) {
        let (usage, metrics) = (&mut self.usage, &finished.metrics);
        if index.is_multiple_of(self.per_prompt) {
            usage.prompt_tokens += metrics.prompt_tokens;
            let PromptTokensDetails { cached_tokens } = &mut usage.prompt_tokens_details;
            *cached_tokens += metrics.cached_tokens;
        }
        usage.completion_tokens += metrics.completion_tokens;
        usage.total_tokens = usage.prompt_tokens + usage.completion_tokens;
    }

    pub(super) fn usage(&self) -> Usage {
        self.usage
    }
}

/// Prepares requests on a thread that may take its time; reading a long prompt does.
pub(super) async fn prepared(
    app: &App,
    engine: &Arc<Engine>,
    id: &str,
    prepare: impl FnOnce(&Engine) -> Result<Vec<Request>, ApiError> + Send + 'static,
) -> Result<Vec<Request>, ApiError> {
    let engine = Arc::clone(engine);
    let span = tracing::Span::current();
    let prepare = move || span.in_scope(|| prepare(&engine));
    let prepared = tokio::task::spawn_blocking(prepare).await;
    let requests = prepared.map_err(|error| ApiError::internal(error.to_string()))??;
    let limit = app.options().request_timeout;
    let finish = |request: Request| match limit {
        Some(limit) => request.label(id).time_limit(limit),
        None => request.label(id),
    };
    Ok(requests.into_iter().map(finish).collect())
}

/// The word for how a text ended. One that was cancelled has none: who asked is gone, or the
/// server had to stop.
pub(super) fn finish_reason(reason: &FinishReason) -> Result<&'static str, ApiError> {
    reason.as_openai().ok_or_else(|| ApiError::from(&powerinfer::Error::Cancelled))
}
