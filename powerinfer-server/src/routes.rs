//! Which path leads to which handler, and what happens before and after.

use axum::extract::{MatchedPath, Request, State};
use axum::http::header;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;

use crate::api::{chat, completions, embeddings, models, status, tokens};
use crate::error::{ApiError, ErrorBody};
use crate::state::App;
use crate::wire::chat::ChatChunk;
use crate::{auth, page, request_id, trace};

/// What `GET` requests can be refused with.
#[expect(dead_code, reason = "describes answers to OpenAPI")]
#[derive(utoipa::IntoResponses)]
pub(crate) enum PlainErrors {
    #[response(status = 401, description = "No key, or not one of the server's")]
    Unauthorized(#[to_schema] ErrorBody),
    #[response(status = 503, description = "The model is being loaded, or the server stops")]
    Unavailable(#[to_schema] ErrorBody),
}

/// What requests with a body can be refused with.
#[expect(dead_code, reason = "describes answers to OpenAPI")]
#[derive(utoipa::IntoResponses)]
pub(crate) enum GenerationErrors {
    #[response(status = 400, description = "The request is not as wanted")]
    Invalid(#[to_schema] ErrorBody),
    #[response(status = 401, description = "No key, or not one of the server's")]
    Unauthorized(#[to_schema] ErrorBody),
    #[response(status = 404, description = "Another model is served")]
    UnknownModel(#[to_schema] ErrorBody),
    #[response(status = 408, description = "It took too long")]
    Timeout(#[to_schema] ErrorBody),
    #[response(status = 413, description = "The body is too large")]
    TooLarge(#[to_schema] ErrorBody),
    #[response(status = 415, description = "The body is no JSON")]
    MediaType(#[to_schema] ErrorBody),
    #[response(status = 422, description = "A schema or grammar that cannot be followed")]
    Unprocessable(#[to_schema] ErrorBody),
    #[response(status = 429, description = "The queue is full")]
    Busy(#[to_schema] ErrorBody),
    #[response(status = 503, description = "The model is being loaded, or the server stops")]
    Unavailable(#[to_schema] ErrorBody),
}

#[derive(OpenApi)]
#[openapi(
    info(title = "powerinfer", description = "OpenAI-compatible API of a powerinfer server"),
    paths(
        chat::chat,
        completions::completions,
        embeddings::embeddings,
        models::list,
        models::show,
        tokens::tokenize,
        tokens::detokenize,
        status::health,
        status::ready,
        status::version,
        status::stats,
        status::metrics,
    ),
    components(schemas(ErrorBody, ChatChunk))
)]
struct Api;

/// The description of the API, in the form of `OpenAPI` 3.1.
pub fn openapi() -> serde_json::Value {
    serde_json::to_value(Api::openapi()).unwrap_or_default()
}

pub(crate) fn router(app: &App) -> Router {
    let traced = Router::new()
        .route("/v1/chat/completions", post(chat::chat))
        .route("/v1/completions", post(completions::completions))
        .route("/v1/embeddings", post(embeddings::embeddings))
        .route_layer(middleware::from_fn_with_state(app.clone(), trace::request));
    let guarded = Router::new()
        .merge(traced)
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::show))
        .route("/tokenize", post(tokens::tokenize))
        .route("/detokenize", post(tokens::detokenize))
        .route("/version", get(status::version))
        .route("/stats", get(status::stats))
        .route("/metrics", get(status::metrics))
        .route("/openapi.json", get(|| async { Json(openapi()) }))
        .route_layer(middleware::from_fn_with_state(app.clone(), auth::check));
    Router::new()
        .merge(guarded)
        .route("/", get(page::page))
        .route("/health", get(status::health))
        .route("/ready", get(status::ready))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(app.options().cors.layer())
        .layer(middleware::from_fn_with_state(app.clone(), observe))
        .layer(middleware::from_fn(request_id::set))
        .with_state(app.clone())
}

async fn unknown_path(request: Request) -> ApiError {
    ApiError::unknown_path(request.uri().path())
}

async fn wrong_method(request: Request) -> ApiError {
    ApiError::wrong_method(request.method().as_str(), request.uri().path())
}

/// A bug in a handler is an answer, and no end of the server.
#[expect(clippy::needless_pass_by_value, reason = "as the layer wants it")]
fn panicked(payload: Box<dyn std::any::Any + Send>) -> Response {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    tracing::error!("a handler panicked: {}", text.unwrap_or("without words"));
    ApiError::internal("a bug; the server goes on").into_response()
}

/// Counts the request, and says that errors are not to be kept.
async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    // Paths that do not exist share a name, so that clients cannot fill the memory with them.
    let path = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str);
    let path = path.to_owned();
    let mut response = next.run(request).await;
    app.metrics().answered(&path, response.status().as_u16());
    let no_store = axum::http::HeaderValue::from_static("no-store");
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(no_store);
    response
}
