//! Errors in OpenAI's form.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// The body of every error.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct ErrorDetail {
    /// What was wanted, what was found, what to do.
    message: String,
    /// The class of the error.
    r#type: &'static str,
    /// The parameter that is meant.
    param: Option<String>,
    /// A word for programs.
    code: Option<&'static str>,
}

/// A refusal with its status.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: Option<&'static str>,
    param: Option<String>,
    message: String,
    retry_after: Option<Duration>,
}

/// No answer: the client went away before there was one. Nobody sees it but log and metrics.
const CLIENT_CLOSED: u16 = 499;

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { status, code: Some(code), param: None, message, retry_after: None }
    }

    /// Its word for programs, and its sentence.
    pub(crate) fn in_words(&self) -> (&'static str, &str) {
        (self.code.unwrap_or("error"), &self.message)
    }

    /// 400 for a parameter.
    pub(crate) fn parameter(name: impl Into<String>, message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::BAD_REQUEST, "invalid_parameter", message);
        Self { param: Some(name.into()), ..error }
    }

    /// 400 for a parameter that exists in OpenAI's API, but not here.
    pub(crate) fn unsupported(name: &'static str, reason: &str) -> Self {
        let message = format!("`{name}` is not supported: {reason}");
        let error = Self::new(StatusCode::BAD_REQUEST, "unsupported_parameter", message);
        Self { param: Some(name.to_owned()), ..error }
    }

    /// 400 for a request as a whole.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    /// 401.
    pub(crate) fn unauthorized(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
    }

    /// The same for this parameter.
    pub(crate) fn of(self, parameter: &str) -> Self {
        Self { param: Some(parameter.to_owned()), ..self }
    }

    /// 404 for a model.
    pub(crate) fn unknown_model(wanted: &str, served: &str) -> Self {
        let message = format!("the model `{wanted}` is not served here; `{served}` is");
        let error = Self::new(StatusCode::NOT_FOUND, "model_not_found", message);
        Self { param: Some("model".to_owned()), ..error }
    }

    /// 404 for a path.
    pub(crate) fn unknown_path(path: &str) -> Self {
        let message = format!("there is nothing at `{path}`: see /openapi.json");
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 405.
    pub(crate) fn wrong_method(method: &str, path: &str) -> Self {
        let message = format!("`{path}` does not know {method}: see /openapi.json");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    /// 408.
    pub(crate) fn timeout(message: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "timeout", message)
    }

    /// 413.
    pub(crate) fn too_large(limit: usize) -> Self {
        let message = format!("the body has more than {limit} bytes, the limit of this server");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
    }

    /// 415.
    pub(crate) fn media_type() -> Self {
        let message = "wanted a body of the type application/json: set Content-Type";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
    }

    /// 429.
    pub(crate) fn busy(waiting: usize, limit: usize) -> Self {
        let message = format!(
            "the queue has no room: {waiting} of at most {limit} requests are waiting, try again later"
        );
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "queue_full", message);
        Self { retry_after: Some(Duration::from_secs(1)), ..error }
    }

    /// 503.
    pub(crate) fn unavailable(code: &'static str, message: &str) -> Self {
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message);
        Self { retry_after: Some(Duration::from_secs(1)), ..error }
    }

    /// 500.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
    }

    pub(crate) fn body(&self) -> ErrorBody {
        ErrorBody {
            error: ErrorDetail {
                message: self.message.clone(),
                r#type: class(self.status),
                param: self.param.clone(),
                code: self.code,
            },
        }
    }
}

/// The class that OpenAI's clients know for a status.
fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        404 => "not_found_error",
        408 => "timeout_error",
        429 => "rate_limit_error",
        503 => "service_unavailable_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}

impl From<&powerinfer::Error> for ApiError {
    fn from(error: &powerinfer::Error) -> Self {
        use powerinfer::TokenizerError as Tokenizer;
        use powerinfer::{ChatTemplateError as Template, Error, GrammarError as Grammar};
        let message = powerinfer::error_chain(error);
        let bad = |code| Self::new(StatusCode::BAD_REQUEST, code, message.as_str());
        match error {
            Error::ContextFull { .. } => bad("context_length_exceeded"),
            Error::Sampling(_) | Error::StopString(_) => bad("invalid_parameter"),
            Error::EmptyPrompt | Error::UnknownToken { .. } => bad("invalid_prompt"),
            Error::ChatTemplate(Template::Missing) => bad("no_chat_template"),
            Error::ChatTemplate(Template::TooLong { .. } | Template::Raised { .. }) => {
                bad("chat_template_refused")
            }
            Error::ChatTemplate(Template::Render { .. } | Template::ReservedVariable { .. }) => {
                bad("chat_template_failed")
            }
            Error::Tokenizer(Tokenizer::Unencodable { .. } | Tokenizer::UnknownTokenId { .. }) => {
                bad("invalid_prompt")
            }
            Error::Grammar(Grammar::Compile { .. } | Grammar::Stuck { .. }) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "grammar_refused", message)
            }
            Error::Grammar(Grammar::Tokenizer { .. } | Grammar::Thread(_)) => {
                Self::internal(message)
            }
            Error::Grammar(_) => bad("invalid_grammar"),
            Error::Timeout { .. } => Self::timeout(message),
            Error::Cancelled => {
                let status = StatusCode::from_u16(CLIENT_CLOSED);
                Self::new(status.unwrap_or(StatusCode::BAD_REQUEST), "cancelled", message)
            }
            _ => Self::internal(message),
        }
    }
}

impl From<powerinfer::Error> for ApiError {
    fn from(error: powerinfer::Error) -> Self {
        Self::from(&error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        if let Some(after) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs()));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
        }
        // 503 says that it is too early or too late; losing an engine was logged when it happened.
        if self.status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(status = self.status.as_u16(), "{}", self.message);
        } else {
            tracing::debug!(status = self.status.as_u16(), "{}", self.message);
        }
        response
    }
}
