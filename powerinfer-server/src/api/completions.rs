//! `POST /v1/completions`.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use futures_util::StreamExt as _;
use futures_util::stream;
use powerinfer::{Request, TokenDetail, Tokenizer};

use super::chat::with_choice;
use super::generations::{Generations, Meter, finish_reason};
use super::{check_model, event, finite, head, printed, speller, sse};
use crate::engine::{Engine, Told};
use crate::error::ApiError;
use crate::extract::StrictJson;
use crate::request_id::RequestId;
use crate::state::App;
use crate::wire::completion::{
    CompletionChoice, CompletionLogprobs, CompletionRequest, CompletionResponse, OnePrompt,
};
use crate::wire::generation::{Allowed, MAX_TOP_LOGPROBS, refuse};
use crate::wire::{Head, StreamEvent, StreamOptions, UsageField};

/// Prompts of one request at most.
const MAX_PROMPTS: usize = 256;

/// Continues prompts.
#[utoipa::path(
    post,
    path = "/v1/completions",
    request_body = CompletionRequest,
    responses(
        (status = 200, description = "The texts, or a stream of them as server-sent events",
         content((CompletionResponse = "application/json"),
                 (StreamEvent = "text/event-stream"))),
        crate::routes::GenerationErrors,
    ),
)]
pub(crate) async fn completions(
    State(app): State<App>,
    Extension(id): Extension<RequestId>,
    StrictJson(request): StrictJson<CompletionRequest>,
) -> Result<Response, ApiError> {
    let engine = app.engine()?;
    let common = request.common();
    check_model(&engine, common.model)?;
    let choices = common.choices()?;
    let streaming = common.streaming()?;
    if request.best_of.is_some_and(|best_of| best_of != choices) {
        return Err(ApiError::unsupported("best_of", "all `n` texts are given"));
    }
    refuse("suffix", request.suffix.as_ref(), &[], "texts are only continued")?;
    if let Some(user) = common.user {
        tracing::debug!(request_id = id.0, user, "completion");
    }
    let answer = Answer::new(&engine, request.logprobs.is_some());
    let allowed = app.options().allowed();
    let prepare = move |engine: &Engine| requests(engine, request, choices, allowed);
    let generations = Generations::start(&app, &engine, &id, choices as usize, prepare).await?;
    match streaming {
        Some(options) => Ok(answer.stream(generations, options)),
        None => answer.whole(generations).await,
    }
}

fn requests(
    engine: &Engine,
    request: CompletionRequest,
    choices: u32,
    allowed: Allowed,
) -> Result<Vec<Request>, ApiError> {
    let vocab_size = engine.requests.model().info().vocab_size;
    let mut options = request.common().options(engine.requests.defaults(), vocab_size, allowed)?;
    options.echo = request.echo.unwrap_or(false);
    options.logprobs = match request.logprobs {
        Some(n) if n > MAX_TOP_LOGPROBS => {
            let message = format!("`logprobs` is {n}, wanted 0 to {MAX_TOP_LOGPROBS}");
            return Err(ApiError::parameter("logprobs", message));
        }
        n => n.map(|n| n as usize),
    };
    let prompts = request.prompt.into_vec();
    if prompts.is_empty() || prompts.len() > MAX_PROMPTS {
        let n = prompts.len();
        let message = format!("`prompt` has {n} prompts, wanted 1 to {MAX_PROMPTS}");
        return Err(ApiError::parameter("prompt", message));
    }
    let mut requests = Vec::new();
    for prompt in &prompts {
        for index in 0..choices {
            let options = with_choice(options.clone(), index);
            requests.push(match prompt {
                OnePrompt::Text(text) => engine.requests.text(text, options)?,
                OnePrompt::Tokens(tokens) => engine.requests.tokens(tokens, options)?,
            });
        }
    }
    Ok(requests)
}

/// What all parts of an answer have in common.
#[derive(Debug, Clone)]
struct Answer {
    head: Head,
    speller: Option<Tokenizer>,
}

/// A stream on its way.
struct Progress {
    answer: Answer,
    meter: Meter,
    /// How much text there was of each, to count where tokens begin.
    texts: Vec<String>,
    has_failed: bool,
}

impl Answer {
    fn new(engine: &Engine, tells_logprobs: bool) -> Self {
        Self { head: head(engine, "cmpl"), speller: speller(engine, tells_logprobs) }
    }

    async fn whole(self, generations: Generations) -> Result<Response, ApiError> {
        let (texts, usage) = generations.collect().await?;
        let choices = texts.into_iter().enumerate().map(|(index, text)| CompletionChoice {
            index,
            logprobs: self.logprobs(&text.details, &text.text),
            text: text.text,
            finish_reason: Some(text.finish_reason),
        });
        let choices = choices.collect();
        Ok(Json(self.frame(choices, UsageField::Told(usage))).into_response())
    }

    fn stream(self, generations: Generations, options: StreamOptions) -> Response {
        let meter = generations.meter();
        let texts = vec![String::new(); generations.len()];
        let progress = Progress { answer: self, meter, texts, has_failed: false };
        let told = generations.stream().map(Some).chain(stream::iter([None]));
        let events = told.scan(progress, move |progress, told| {
            std::future::ready(Some(stream::iter(progress.events(told, options))))
        });
        sse(events.flatten())
    }

    fn frame(&self, choices: Vec<CompletionChoice>, usage: UsageField) -> CompletionResponse {
        CompletionResponse { head: self.head.clone(), object: "text_completion", choices, usage }
    }

    /// `text` is the whole text so far, in which the tokens begin.
    fn logprobs(&self, tokens: &[TokenDetail], text: &str) -> Option<CompletionLogprobs> {
        let speller = self.speller.as_ref()?;
        let mut all = CompletionLogprobs::default();
        for detail in tokens {
            all.tokens.push(printed(speller, detail.token));
            all.token_logprobs.push(detail.logprob.map(finite));
            let top = detail.top.iter();
            let top: BTreeMap<String, f64> =
                top.map(|top| (printed(speller, top.token), finite(top.logprob))).collect();
            all.top_logprobs.push(detail.logprob.map(|_| top));
            let before = text.get(..detail.offset).unwrap_or(text);
            all.text_offset.push(before.chars().count());
        }
        Some(all)
    }
}

impl Progress {
    /// The events of what was told; the last ones at the end.
    fn events(
        &mut self,
        told: Option<(usize, Told)>,
        options: StreamOptions,
    ) -> Vec<Result<axum::response::sse::Event, axum::Error>> {
        if self.has_failed {
            return Vec::new();
        }
        let no_usage = UsageField::in_chunk(options);
        let choice = match told {
            Some((index, Told::Piece(piece))) => {
                self.texts[index].push_str(&piece.text);
                let logprobs = self.answer.logprobs(&piece.tokens, &self.texts[index]);
                CompletionChoice { index, text: piece.text, logprobs, finish_reason: None }
            }
            Some((index, Told::Finished(finished))) => {
                self.meter.add(index, &finished);
                match finish_reason(&finished.finish_reason) {
                    Ok(reason) => CompletionChoice {
                        index,
                        text: String::new(),
                        logprobs: None,
                        finish_reason: Some(reason),
                    },
                    Err(error) => return self.fail(&error),
                }
            }
            Some((_, Told::Failed(error))) => return self.fail(&error),
            Some((_, Told::Embedded { .. })) => return Vec::new(),
            None => {
                let done = Ok(axum::response::sse::Event::default().data("[DONE]"));
                let usage = UsageField::Told(self.meter.usage());
                let last = event(&self.answer.frame(Vec::new(), usage));
                return if options.include_usage { vec![last, done] } else { vec![done] };
            }
        };
        vec![event(&self.answer.frame(vec![choice], no_usage))]
    }

    fn fail(&mut self, error: &ApiError) -> Vec<Result<axum::response::sse::Event, axum::Error>> {
        self.has_failed = true;
        vec![event(&error.body())]
    }
}
