//! Bodies of requests: JSON of a limited size, within a limited time, without unknown fields.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::header;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::error::ApiError;
use crate::state::App;

/// The JSON body of a request.
#[derive(Debug)]
pub(crate) struct StrictJson<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for StrictJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        // A page of another origin could send other types without being asked for permission.
        let media_type = request.headers().get(header::CONTENT_TYPE);
        let media_type = media_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/json") {
            return Err(ApiError::media_type());
        }
        let options = app.options();
        let read = read(request.into_body(), options.body_limit);
        let bytes = tokio::time::timeout(options.receive_timeout, read).await.map_err(|_| {
            let seconds = options.receive_timeout.as_secs_f64();
            ApiError::timeout(format!("the body did not arrive within {seconds} seconds"))
        })??;
        parse(&bytes).map(Self)
    }
}

async fn read(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::too_large(limit)),
        Err(error) => Err(ApiError::invalid(format!("the body cannot be read: {error}"))),
    }
}

/// Reads JSON; an error names the field that is meant.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let message = error.inner().to_string();
        // Unknown fields end their path. Missing and doubled ones are in what it leads to: without
        // any path, in the body itself.
        let path = match error.path().to_string() {
            path if path != "." => Some(path),
            _ => field(&message),
        };
        match path.filter(|_| error.inner().is_data()) {
            Some(path) => ApiError::parameter(path.clone(), format!("`{path}`: {message}")),
            None => ApiError::invalid(format!("the body is not as wanted: {message}")),
        }
    })?;
    json.end()
        .map_err(|error| ApiError::invalid(format!("the body goes on after its end: {error}")))?;
    Ok(value)
}

/// The field that serde's message names as missing or doubled.
fn field(message: &str) -> Option<String> {
    let starts = ["missing field `", "duplicate field `"];
    let rest = starts.iter().find_map(|start| message.strip_prefix(start))?;
    rest.split_once('`').map(|(field, _)| field.to_owned())
}
