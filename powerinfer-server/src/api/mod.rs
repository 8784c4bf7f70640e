//! The handlers.

pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod embeddings;
mod generations;
pub(crate) mod models;
pub(crate) mod status;
pub(crate) mod tokens;

use std::time::Duration;

use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::Stream;
use powerinfer::Tokenizer;
use serde::Serialize;

use crate::engine::{Engine, unix_seconds};
use crate::error::ApiError;
use crate::request_id::random_hex;
use crate::trace;
use crate::wire::Head;

/// How often a stream says that it is alive while there is nothing to say.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Refuses a request for another model than the one that is served.
fn check_model(engine: &Engine, wanted: Option<&str>) -> Result<(), ApiError> {
    match wanted {
        Some(wanted) if wanted != engine.id => Err(ApiError::unknown_model(wanted, &engine.id)),
        _ => Ok(()),
    }
}

/// Begins an answer, whose name starts with `kind`.
fn head(engine: &Engine, kind: &str) -> Head {
    Head {
        id: format!("{kind}-{}", random_hex()),
        created: unix_seconds(),
        model: engine.id.clone(),
        system_fingerprint: format!("powerinfer-{}-{}", env!("CARGO_PKG_VERSION"), engine.id),
    }
}

/// Answers with server-sent events.
fn sse(
    events: impl Stream<Item = Result<axum::response::sse::Event, axum::Error>> + Send + 'static,
) -> Response {
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE).text("keep-alive");
    let mut response = Sse::new(trace::whole(events)).keep_alive(keep_alive).into_response();
    let headers = response.headers_mut();
    // Proxies that collect the stream would take the point out of it.
    headers.insert("x-accel-buffering", axum::http::HeaderValue::from_static("no"));
    response
}

fn event(data: &impl Serialize) -> Result<axum::response::sse::Event, axum::Error> {
    axum::response::sse::Event::default().json_data(data)
}

/// Spells tokens, where their log-probabilities are told.
fn speller(engine: &Engine, tells_logprobs: bool) -> Option<Tokenizer> {
    let tokenizer = engine.requests.model().tokenizer().ok();
    tokenizer.filter(|_| tells_logprobs).cloned()
}

/// What a token prints; U+FFFD for parts of characters.
fn printed(tokenizer: &Tokenizer, token: u32) -> String {
    String::from_utf8_lossy(tokenizer.token_bytes(token).unwrap_or_default()).into_owned()
}

/// A log-probability in JSON, which knows no infinity.
fn finite(logprob: f64) -> f64 {
    logprob.max(-9999.0)
}
