//! A reply as it comes: pieces, how it ended, and what it used.

use std::ops::ControlFlow;
use std::time::Instant;

use serde::Deserialize;
use serde_json::Value;

use super::super::{EngineError, Reply};
use super::sse::SseEvent;
use super::transport::{excerpt, message_of};
use crate::error::Error;
use crate::metrics::Metrics;

/// What is known of a reply so far.
#[derive(Debug)]
pub(super) struct Stream {
    address: String,
    /// The model that answers, as the endpoint calls it.
    pub(super) model: Option<String>,
    start: Instant,
    first: Option<Instant>,
    last: Option<Instant>,
    finish_reason: Option<String>,
    usage: Option<Usage>,
    is_left: bool,
}

/// One portion of a reply; what other servers add is of no interest here.
#[derive(Deserialize)]
struct Chunk {
    error: Option<Value>,
    model: Option<String>,
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    /// Of a conversation.
    #[serde(default)]
    delta: Delta,
    /// Of a plain text.
    text: Option<String>,
    finish_reason: Option<String>,
}

#[derive(Deserialize, Default)]
struct Delta {
    content: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Usage {
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Debug, Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u64>,
}

impl Stream {
    pub(super) fn new(address: String) -> Self {
        let start = Instant::now();
        let (first, last, finish_reason, usage) = (None, None, None, None);
        Self { address, model: None, start, first, last, finish_reason, usage, is_left: false }
    }

    /// Takes an event; breaks where nothing more is to come or wanted.
    pub(super) fn take(
        &mut self,
        event: &SseEvent,
        on_piece: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        if event.data == "[DONE]" {
            return Ok(ControlFlow::Break(()));
        }
        let chunk: Chunk = serde_json::from_str(&event.data).map_err(|error| {
            self.answer("a portion of a reply", &format!("{error} in {}", event.data))
        })?;
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            let message = message_of(&serde_json::json!({ "error": error }).to_string());
            let url = self.address.clone();
            return Err(EngineError::Refused { url, status: 200, message }.into());
        }
        self.model = chunk.model.or(self.model.take());
        if let Some(usage) = chunk.usage {
            self.usage = Some(usage);
        }
        for choice in chunk.choices {
            let piece = choice.delta.content.or(choice.text).filter(|piece| !piece.is_empty());
            if let Some(piece) = piece {
                let now = Instant::now();
                self.first.get_or_insert(now);
                self.last = Some(now);
                if on_piece(&piece).is_break() {
                    self.is_left = true;
                    return Ok(ControlFlow::Break(()));
                }
            }
            self.finish_reason = choice.finish_reason.or(self.finish_reason.take());
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The reply, after the last event.
    pub(super) fn finish(mut self) -> Result<Reply, Error> {
        if self.is_left {
            return Ok(self.stopped());
        }
        let Some(finish_reason) = self.finish_reason.take() else {
            return Err(self.answer("a reason why the reply ends", "the end of the stream"));
        };
        Ok(Reply { finish_reason, is_stopped: false, metrics: self.metrics() })
    }

    /// The reply, where it was stopped.
    pub(super) fn stopped(self) -> Reply {
        let metrics = self.metrics();
        Reply { finish_reason: "cancelled".to_owned(), is_stopped: true, metrics }
    }

    fn metrics(&self) -> Option<Metrics> {
        let usage = self.usage.as_ref()?;
        let seconds = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64();
        let decode_seconds = self.first.zip(self.last).map_or(0.0, |(a, b)| seconds(a, b));
        let later_tokens = u32::try_from(usage.completion_tokens.saturating_sub(1)).unwrap_or(0);
        let cached = usage.prompt_tokens_details.as_ref().and_then(|details| details.cached_tokens);
        Some(Metrics {
            prompt_tokens: usage.prompt_tokens,
            cached_tokens: cached.unwrap_or(0),
            completion_tokens: usage.completion_tokens,
            total_tokens: usage.prompt_tokens.saturating_add(usage.completion_tokens),
            decode_seconds,
            time_to_first_token_seconds: self.first.map(|first| seconds(self.start, first)),
            decode_tokens_per_second: (decode_seconds > 0.0 && later_tokens > 0)
                .then(|| f64::from(later_tokens) / decode_seconds),
            ..Metrics::default()
        })
    }

    fn answer(&self, wanted: &'static str, found: &str) -> Error {
        EngineError::Answer { url: self.address.clone(), wanted, found: excerpt(found) }.into()
    }
}
