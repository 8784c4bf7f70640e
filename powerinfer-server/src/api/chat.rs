//! `POST /v1/chat/completions`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use futures_util::StreamExt as _;
use futures_util::stream;
use powerinfer::{ChatMessage, GenerateOptions, Request, TokenDetail, Tokenizer};
use serde_json::json;

use super::generations::{Generations, Meter, finish_reason};
use super::{check_model, event, fingerprint, finite, printed, sse, unix_seconds};
use crate::engine::{Engine, Told};
use crate::error::ApiError;
use crate::extract::StrictJson;
use crate::request_id::{RequestId, random_hex};
use crate::state::App;
use crate::wire::chat::{
    ChatChoice, ChatChunk, ChatChunkChoice, ChatLogprob, ChatLogprobs, ChatRequest, ChatResponse,
    Content, ContentPart, Delta, Message, Reply, Role, TopLogprob,
};
use crate::wire::generation::{MAX_TOP_LOGPROBS, refuse};
use crate::wire::{StreamOptions, Usage, UsageField};

/// Answers a conversation.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    request_body = ChatRequest,
    responses(
        (status = 200, description = "The replies, or a stream of `ChatChunk` as server-sent events",
         content((ChatResponse = "application/json"), (ChatChunk = "text/event-stream"))),
        crate::routes::GenerationErrors,
    ),
)]
pub(crate) async fn chat(
    State(app): State<App>,
    Extension(id): Extension<RequestId>,
    StrictJson(request): StrictJson<ChatRequest>,
) -> Result<Response, ApiError> {
    let engine = app.engine()?;
    let common = request.common();
    check_model(&engine, common.model)?;
    check_unsupported(&request)?;
    let choices = common.choices()?;
    let streaming = common.streaming()?;
    if let Some(user) = common.user {
        tracing::debug!(request_id = id.0, user, "chat");
    }
    let tells_logprobs = request.logprobs.unwrap_or(false);
    let answer = Answer::new(&engine, tells_logprobs);
    let shifts = app.options().context_shift;
    let prepare = move |engine: &Engine| requests(engine, &request, choices, shifts);
    let generations = Generations::start(&app, &engine, &id, choices as usize, prepare).await?;
    match streaming {
        Some(options) => Ok(answer.stream(generations, choices as usize, options)),
        None => answer.whole(generations).await,
    }
}

fn check_unsupported(request: &ChatRequest) -> Result<(), ApiError> {
    let r = request;
    refuse("store", r.store.as_ref(), &[json!(false)], "nothing is stored")?;
    let tiers = [json!("auto"), json!("default")];
    refuse("service_tier", r.service_tier.as_ref(), &tiers, "there is one")?;
    refuse("modalities", r.modalities.as_ref(), &[json!(["text"])], "there is only text")?;
    let text = [json!({"type": "text"})];
    refuse("response_format", r.response_format.as_ref(), &text, "there is only text")?;
    refuse("tools", r.tools.as_ref(), &[json!([])], "the model calls no functions")?;
    refuse("tool_choice", r.tool_choice.as_ref(), &[json!("none")], "there are no functions")?;
    let parallel = r.parallel_tool_calls.as_ref();
    refuse("parallel_tool_calls", parallel, &[json!(true)], "there are no functions")
}

fn requests(
    engine: &Engine,
    request: &ChatRequest,
    choices: u32,
    shifts: bool,
) -> Result<Vec<Request>, ApiError> {
    let model = engine.requests.model();
    let template = match &engine.template {
        Some(template) => template,
        None => model.chat_template()?,
    };
    if request.messages.is_empty() {
        return Err(ApiError::parameter("messages", "`messages` is empty: say something"));
    }
    let messages = request.messages.iter().enumerate();
    let messages = messages.map(|(index, message)| read_message(index, message));
    let messages = messages.collect::<Result<Vec<_>, _>>()?;
    let chat = powerinfer::ChatRequest {
        messages: &messages,
        add_generation_prompt: true,
        variables: request.chat_template_kwargs.as_ref(),
        ..powerinfer::ChatRequest::default()
    };
    let options = options(engine, request)?.context_shift(shifts);
    (0..choices)
        .map(|index| {
            let options = with_choice(options.clone(), index);
            Ok(engine.requests.chat(template, &chat, options)?)
        })
        .collect()
}

/// The options of the choice with this number.
pub(super) fn with_choice(mut options: GenerateOptions, index: u32) -> GenerateOptions {
    if let Some(seed) = options.sampling.as_mut().and_then(|sampling| sampling.seed.as_mut()) {
        *seed = seed.wrapping_add(index.into());
    }
    options
}

fn options(engine: &Engine, request: &ChatRequest) -> Result<GenerateOptions, ApiError> {
    let vocab_size = engine.requests.model().info().vocab_size;
    let mut options = request.common().options(engine.requests.defaults(), vocab_size)?;
    options.max_tokens = match (request.max_tokens, request.max_completion_tokens) {
        (Some(old), Some(new)) if old != new => {
            let message = format!(
                "`max_completion_tokens` is {new} and its older name `max_tokens` {old}: \
                 leave one of them out"
            );
            return Err(ApiError::parameter("max_tokens", message));
        }
        (old, new) => new.or(old),
    };
    options.logprobs = match (request.logprobs.unwrap_or(false), request.top_logprobs) {
        (false, None | Some(0)) => None,
        (false, Some(_)) => {
            let message = "`top_logprobs` needs `logprobs: true`";
            return Err(ApiError::parameter("top_logprobs", message));
        }
        (true, Some(n)) if n > MAX_TOP_LOGPROBS => {
            let message = format!("`top_logprobs` is {n}, wanted 0 to {MAX_TOP_LOGPROBS}");
            return Err(ApiError::parameter("top_logprobs", message));
        }
        (true, n) => Some(n.unwrap_or(0) as usize),
    };
    Ok(options)
}

fn read_message(index: usize, message: &Message) -> Result<ChatMessage, ApiError> {
    let refused = |field: &str, reason: &str| {
        let name = format!("messages[{index}].{field}");
        ApiError::parameter(name.clone(), format!("`{name}` is not supported: {reason}"))
    };
    if message.refusal.is_some() {
        return Err(refused("refusal", "put it into `content`"));
    }
    if message.name.is_some() {
        return Err(refused("name", "the conversation has no names"));
    }
    if message.tool_calls.as_ref().is_some_and(|calls| !calls.is_null()) {
        return Err(refused("tool_calls", "the model calls no functions"));
    }
    if message.tool_call_id.is_some() {
        return Err(refused("tool_call_id", "the model calls no functions"));
    }
    let content = match &message.content {
        Some(Content::Text(text)) => text.clone(),
        Some(Content::Parts(parts)) => {
            parts.iter().map(|ContentPart::Text { text }| text.as_str()).collect()
        }
        None => {
            let name = format!("messages[{index}].content");
            return Err(ApiError::parameter(name.clone(), format!("`{name}` is missing")));
        }
    };
    let role = match message.role {
        Role::System | Role::Developer => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    Ok(ChatMessage::new(role, content))
}

/// What all parts of an answer have in common.
#[derive(Debug, Clone)]
struct Answer {
    id: String,
    created: u64,
    model: String,
    fingerprint: String,
    /// To spell the tokens whose log-probabilities are told.
    tokenizer: Option<Tokenizer>,
}

impl Answer {
    fn new(engine: &Arc<Engine>, tells_logprobs: bool) -> Self {
        let tokenizer = engine.requests.model().tokenizer().ok().cloned();
        Self {
            id: format!("chatcmpl-{}", random_hex()),
            created: unix_seconds(),
            model: engine.id.clone(),
            fingerprint: fingerprint(engine),
            tokenizer: tokenizer.filter(|_| tells_logprobs),
        }
    }

    async fn whole(self, generations: Generations) -> Result<Response, ApiError> {
        let (texts, usage) = generations.collect().await?;
        let choices = texts.into_iter().enumerate().map(|(index, text)| ChatChoice {
            index,
            logprobs: self.logprobs(&text.details),
            message: Reply { role: "assistant", content: Some(text.text), refusal: None },
            finish_reason: text.finish_reason,
        });
        Ok(Json(ChatResponse {
            choices: choices.collect(),
            object: "chat.completion",
            usage,
            id: self.id,
            created: self.created,
            model: self.model,
            system_fingerprint: self.fingerprint,
        })
        .into_response())
    }

    fn stream(self, generations: Generations, n: usize, options: StreamOptions) -> Response {
        let meter = generations.meter();
        let roles: Vec<_> = (0..n)
            .map(|index| {
                let delta = Delta { role: Some("assistant"), content: Some(String::new()) };
                self.chunk(options, index, delta, &[], None)
            })
            .map(|chunk| event(&chunk))
            .collect();
        let told = generations.stream().map(Some).chain(stream::iter([None]));
        let state = (self, meter, false);
        let rest = told.scan(state, move |(answer, meter, has_failed), told| {
            let events = answer.events(told, options, meter, has_failed);
            std::future::ready(Some(stream::iter(events)))
        });
        sse(stream::iter(roles).chain(rest.flatten()))
    }

    /// The events of what was told; the last ones at the end.
    fn events(
        &self,
        told: Option<(usize, Told)>,
        options: StreamOptions,
        meter: &mut Meter,
        has_failed: &mut bool,
    ) -> Vec<Result<axum::response::sse::Event, axum::Error>> {
        if *has_failed {
            return Vec::new();
        }
        match told {
            Some((index, Told::Piece(piece))) => {
                let delta = Delta { role: None, content: Some(piece.text) };
                vec![event(&self.chunk(options, index, delta, &piece.tokens, None))]
            }
            Some((index, Told::Finished(finished))) => {
                meter.add(index, &finished);
                match finish_reason(&finished.finish_reason) {
                    Ok(reason) => {
                        let chunk = self.chunk(options, index, Delta::default(), &[], Some(reason));
                        vec![event(&chunk)]
                    }
                    Err(error) => {
                        *has_failed = true;
                        vec![event(&error.body())]
                    }
                }
            }
            Some((_, Told::Failed(error))) => {
                *has_failed = true;
                vec![event(&error.body())]
            }
            Some((_, Told::Embedded { .. })) => Vec::new(),
            None => {
                let mut events = Vec::new();
                if options.include_usage {
                    events.push(event(&self.usage_chunk(meter.usage())));
                }
                events.push(Ok(axum::response::sse::Event::default().data("[DONE]")));
                events
            }
        }
    }

    fn chunk(
        &self,
        options: StreamOptions,
        index: usize,
        delta: Delta,
        tokens: &[TokenDetail],
        finish_reason: Option<&'static str>,
    ) -> ChatChunk {
        let logprobs = if tokens.is_empty() { None } else { self.logprobs(tokens) };
        let choice = ChatChunkChoice { index, delta, logprobs, finish_reason };
        self.frame(vec![choice], UsageField::in_chunk(options))
    }

    fn usage_chunk(&self, usage: Usage) -> ChatChunk {
        self.frame(Vec::new(), UsageField::Told(usage))
    }

    fn frame(&self, choices: Vec<ChatChunkChoice>, usage: UsageField) -> ChatChunk {
        ChatChunk {
            id: self.id.clone(),
            object: "chat.completion.chunk",
            created: self.created,
            model: self.model.clone(),
            system_fingerprint: self.fingerprint.clone(),
            choices,
            usage,
        }
    }

    fn logprobs(&self, tokens: &[TokenDetail]) -> Option<ChatLogprobs> {
        let tokenizer = self.tokenizer.as_ref()?;
        let spell = |token: u32, logprob: f64| TopLogprob {
            token: printed(tokenizer, token),
            logprob: finite(logprob),
            bytes: tokenizer.token_bytes(token).unwrap_or_default().to_vec(),
        };
        let content = tokens.iter().map(|detail| ChatLogprob {
            token: spell(detail.token, detail.logprob.unwrap_or(0.0)),
            top_logprobs: detail.top.iter().map(|top| spell(top.token, top.logprob)).collect(),
        });
        Some(ChatLogprobs { content: content.collect(), refusal: None })
    }
}
