//! `POST /v1/chat/completions`.

mod answer;
mod message;
mod tools;

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use powerinfer::{GenerateOptions, Request};
use serde_json::json;

use super::check_model;
use super::generations::Generations;
use crate::engine::Engine;
use crate::error::ApiError;
use crate::extract::StrictJson;
use crate::request_id::RequestId;
use crate::state::App;
use crate::wire::StreamEvent;
use crate::wire::chat::{ChatRequest, ChatResponse};
use crate::wire::generation::{Allowed, MAX_TOP_LOGPROBS, refuse};
use answer::Answer;
use tools::Toolbox;

/// Answers a conversation.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    request_body = ChatRequest,
    responses(
        (status = 200, description = "The replies, or a stream of `ChatChunk` as server-sent events",
         content((ChatResponse = "application/json"), (StreamEvent = "text/event-stream"))),
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
    let tools = Toolbox::read(&engine, &request)?.map(Arc::new);
    let answer = Answer::new(&engine, request.logprobs.unwrap_or(false), tools.clone());
    let allowed = app.options().allowed();
    let prepare =
        move |engine: &Engine| requests(engine, &request, tools.as_deref(), choices, allowed);
    let generations = Generations::start(&app, &engine, &id, choices as usize, prepare).await?;
    match streaming {
        Some(options) => Ok(answer.stream(generations, options)),
        None => answer.whole(generations).await,
    }
}

fn check_unsupported(request: &ChatRequest) -> Result<(), ApiError> {
    let r = request;
    refuse("store", r.store.as_ref(), &[json!(false)], "nothing is stored")?;
    let tiers = [json!("auto"), json!("default")];
    refuse("service_tier", r.service_tier.as_ref(), &tiers, "there is one")?;
    refuse("modalities", r.modalities.as_ref(), &[json!(["text"])], "there is only text")?;
    let reason = "a reply that calls by itself may call several functions";
    refuse("parallel_tool_calls", r.parallel_tool_calls.as_ref(), &[json!(true)], reason)
}

fn requests(
    engine: &Engine,
    request: &ChatRequest,
    tools: Option<&Toolbox>,
    choices: u32,
    allowed: Allowed,
) -> Result<Vec<Request>, ApiError> {
    let template = engine.chat_template()?;
    let messages = message::read_all(template, &request.messages)?;
    let chat = powerinfer::ChatRequest {
        messages: &messages,
        add_generation_prompt: true,
        variables: request.chat_template_kwargs.as_ref(),
        tools: tools.map(Toolbox::definitions),
        ..powerinfer::ChatRequest::default()
    };
    let mut options = options(engine, request, allowed)?;
    if let Some(tools) = tools {
        options = tools.apply(options, engine)?;
    }
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

fn options(
    engine: &Engine,
    request: &ChatRequest,
    allowed: Allowed,
) -> Result<GenerateOptions, ApiError> {
    let vocab_size = engine.requests.model().info().vocab_size;
    let mut options = request.common().options(engine.requests.defaults(), vocab_size, allowed)?;
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
