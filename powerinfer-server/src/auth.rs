//! Keys of the API.

use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::error::ApiError;
use crate::state::App;

/// Lets requests through that name a key, if keys are asked for.
pub(crate) async fn check(State(app): State<App>, request: Request, next: Next) -> Response {
    let keys = &app.options().keys;
    if keys.is_empty() {
        return next.run(request).await;
    }
    let given = request.headers().get(header::AUTHORIZATION).map(|value| value.to_str());
    let key = given.map(|value| value.ok().and_then(bearer));
    match key {
        Some(Some(key)) if keys.has(key) => next.run(request).await,
        Some(_) => {
            ApiError::unauthorized("the API key is not one of this server's").into_response()
        }
        None => {
            let message = "wanted an API key: send the header `Authorization: Bearer KEY`";
            ApiError::unauthorized(message).into_response()
        }
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}
