//! Replies, whole or in pieces, in OpenAI's form.

use std::sync::Arc;

use axum::Json;
use axum::response::{IntoResponse as _, Response, sse};
use futures_util::StreamExt as _;
use futures_util::stream;
use powerinfer::{TokenDetail, Tokenizer};

use super::super::generations::{Generations, Made, Meter, finish_reason};
use super::super::{event, finite, head, printed, speller};
use super::tools::{CallFinder, Found, Toolbox};
use crate::engine::{Engine, Told};
use crate::error::ApiError;
use crate::wire::chat::{
    ChatChoice, ChatChunk, ChatChunkChoice, ChatLogprob, ChatLogprobs, ChatResponse, Delta, Reply,
    TopLogprob,
};
use crate::wire::{Head, StreamOptions, UsageField};

/// Why a reply ended that asks for calls.
const TOOL_CALLS: &str = "tool_calls";

type SseEvent = Result<sse::Event, axum::Error>;

/// What all parts of an answer have in common.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    head: Head,
    speller: Option<Tokenizer>,
    tools: Option<Arc<Toolbox>>,
}

/// A stream on its way.
struct Progress {
    answer: Answer,
    options: StreamOptions,
    meter: Meter,
    /// By reply, where there are tools.
    finders: Vec<CallFinder>,
    has_failed: bool,
}

impl Answer {
    pub(super) fn new(engine: &Engine, tells_logprobs: bool, tools: Option<Arc<Toolbox>>) -> Self {
        let speller = speller(engine, tells_logprobs);
        Self { head: head(engine, "chatcmpl"), speller, tools }
    }

    pub(super) async fn whole(self, generations: Generations) -> Result<Response, ApiError> {
        let (texts, usage) = generations.collect().await?;
        let choices = texts.into_iter().enumerate();
        let choices = choices.map(|(index, made)| self.choice(index, made)).collect();
        let (head, object) = (self.head, "chat.completion");
        Ok(Json(ChatResponse { head, object, choices, usage }).into_response())
    }

    fn choice(&self, index: usize, made: Made) -> ChatChoice {
        let logprobs = self.logprobs(&made.details);
        let mut found = Found { text: made.text, calls: Vec::new() };
        if let Some(tools) = &self.tools {
            let mut finder = tools.finder();
            let (text, rest) = (finder.push(&found.text), finder.flush());
            found = Found {
                text: text.text + &rest.text,
                calls: text.calls.into_iter().chain(rest.calls).collect(),
            };
        }
        for call in &mut found.calls {
            call.index = None; // the list has an order
        }
        let has_calls = !found.calls.is_empty();
        let content = (!(has_calls && found.text.is_empty())).then_some(found.text);
        let message = Reply { role: "assistant", content, refusal: None, tool_calls: found.calls };
        let finish_reason = if has_calls { TOOL_CALLS } else { made.finish_reason };
        ChatChoice { index, message, logprobs, finish_reason }
    }

    pub(super) fn stream(self, generations: Generations, options: StreamOptions) -> Response {
        let n = generations.len();
        let finders = self.tools.iter().flat_map(|tools| (0..n).map(|_| tools.finder()));
        let progress = Progress {
            finders: finders.collect(),
            options,
            meter: generations.meter(),
            has_failed: false,
            answer: self,
        };
        let roles: Vec<SseEvent> = (0..n)
            .map(|index| {
                let content = Some(String::new());
                let delta = Delta { role: Some("assistant"), content, ..Delta::default() };
                progress.chunk(index, delta, &[], None)
            })
            .collect();
        let told = generations.stream().map(Some).chain(stream::iter([None]));
        let rest = told.scan(progress, |progress, told| {
            std::future::ready(Some(stream::iter(progress.events(told))))
        });
        super::super::sse(stream::iter(roles).chain(rest.flatten()))
    }

    fn frame(&self, choices: Vec<ChatChunkChoice>, usage: UsageField) -> ChatChunk {
        ChatChunk { head: self.head.clone(), object: "chat.completion.chunk", choices, usage }
    }

    fn logprobs(&self, tokens: &[TokenDetail]) -> Option<ChatLogprobs> {
        let speller = self.speller.as_ref()?;
        let spell = |token: u32, logprob: f64| TopLogprob {
            token: printed(speller, token),
            logprob: finite(logprob),
            bytes: speller.token_bytes(token).unwrap_or_default().to_vec(),
        };
        let content = tokens.iter().map(|detail| ChatLogprob {
            token: spell(detail.token, detail.logprob.unwrap_or(0.0)),
            top_logprobs: detail.top.iter().map(|top| spell(top.token, top.logprob)).collect(),
        });
        Some(ChatLogprobs { content: content.collect(), refusal: None })
    }
}

impl Progress {
    /// The events of what was told; the last ones at the end.
    fn events(&mut self, told: Option<(usize, Told)>) -> Vec<SseEvent> {
        if self.has_failed {
            return Vec::new();
        }
        match told {
            Some((index, Told::Piece(piece))) => {
                let found = match self.finders.get_mut(index) {
                    Some(finder) => finder.push(&piece.text),
                    None => Found { text: piece.text, calls: Vec::new() },
                };
                self.found(index, found, &piece.tokens).into_iter().collect()
            }
            Some((index, Told::Finished(finished))) => {
                self.meter.add(index, &finished);
                match finish_reason(&finished.finish_reason) {
                    Ok(reason) => self.finish(index, reason),
                    Err(error) => self.fail(&error),
                }
            }
            Some((_, Told::Failed(error))) => self.fail(&error),
            Some((_, Told::Embedded { .. })) => Vec::new(),
            None => {
                let done = Ok(sse::Event::default().data("[DONE]"));
                let usage = UsageField::Told(self.meter.usage());
                let last = event(&self.answer.frame(Vec::new(), usage));
                if self.options.include_usage { vec![last, done] } else { vec![done] }
            }
        }
    }

    fn finish(&mut self, index: usize, reason: &'static str) -> Vec<SseEvent> {
        let rest = self.finders.get_mut(index).map(CallFinder::flush).unwrap_or_default();
        let has_calls = self.finders.get(index).is_some_and(CallFinder::has_calls);
        let reason = if has_calls { TOOL_CALLS } else { reason };
        let mut events: Vec<SseEvent> = self.found(index, rest, &[]).into_iter().collect();
        events.push(self.chunk(index, Delta::default(), &[], Some(reason)));
        events
    }

    fn fail(&mut self, error: &ApiError) -> Vec<SseEvent> {
        self.has_failed = true;
        vec![event(&error.body())]
    }

    /// The event of what was found, if it was anything.
    fn found(&self, index: usize, found: Found, tokens: &[TokenDetail]) -> Option<SseEvent> {
        let Found { text, calls } = found;
        if text.is_empty() && calls.is_empty() && tokens.is_empty() {
            return None;
        }
        let content = (!text.is_empty()).then_some(text);
        let delta = Delta { role: None, content, tool_calls: calls };
        Some(self.chunk(index, delta, tokens, None))
    }

    fn chunk(
        &self,
        index: usize,
        delta: Delta,
        tokens: &[TokenDetail],
        finish_reason: Option<&'static str>,
    ) -> SseEvent {
        let logprobs = if tokens.is_empty() { None } else { self.answer.logprobs(tokens) };
        let choice = ChatChunkChoice { index, delta, logprobs, finish_reason };
        event(&self.answer.frame(vec![choice], UsageField::in_chunk(self.options)))
    }
}
