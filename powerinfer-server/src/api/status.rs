//! What the server says of itself: `/health`, `/ready`, `/version`, `/stats`, `/metrics`.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};

use crate::error::ApiError;
use crate::state::App;
use crate::wire::status::{Health, Statistics, Version};

const OK: Health = Health { status: "ok" };

/// Tells whether the model is loaded and sound.
#[utoipa::path(
    get,
    path = "/health",
    responses(
        (status = 200, description = "It is", body = Health),
        (status = 503, description = "It is being loaded, or was lost", body = crate::error::ErrorBody),
    ),
)]
pub(crate) async fn health(State(app): State<App>) -> Result<Json<Health>, ApiError> {
    app.loaded().map(|_| Json(OK))
}

/// Tells whether new requests are taken: not while the server stops.
#[utoipa::path(
    get,
    path = "/ready",
    responses(
        (status = 200, description = "They are", body = Health),
        (status = 503, description = "They are not", body = crate::error::ErrorBody),
    ),
)]
pub(crate) async fn ready(State(app): State<App>) -> Result<Json<Health>, ApiError> {
    app.engine().map(|_| Json(OK))
}

/// Tells what runs.
#[utoipa::path(
    get,
    path = "/version",
    responses(
        (status = 200, description = "Version and commit", body = Version),
        (status = 401, description = "No key, or not one of the server's", body = crate::error::ErrorBody),
    ),
)]
pub(crate) async fn version(State(app): State<App>) -> Json<Version> {
    let build = app.options().build;
    let origin = app.options().origin.clone();
    let settings = app.options().settings();
    Json(Version {
        engine: "powerinfer",
        number: env!("CARGO_PKG_VERSION"),
        commit: build.commit,
        features: build.features,
        cpu: powerinfer::cpu_name(),
        pid: std::process::id(),
        model: app.loaded().ok().map(|engine| engine.id.clone()),
        checksum: origin.checksum,
        policy_hash: origin.policy_hash,
        settings_hash: settings.hash(),
        settings,
    })
}

/// Tells what the engine does, layer by layer.
#[utoipa::path(
    get,
    path = "/stats",
    responses(
        (status = 200, description = "Load and activity", body = Statistics),
        crate::routes::PlainErrors,
    ),
)]
pub(crate) async fn stats(State(app): State<App>) -> Result<Json<Statistics>, ApiError> {
    let engine = app.loaded()?;
    Ok(Json(Statistics {
        uptime_seconds: app.uptime().as_secs_f64(),
        waiting: engine.waiting(),
        engine: engine.snapshots.last(),
    }))
}

/// Tells all metrics in the form of Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    responses(
        (status = 200, description = "The metrics", body = String,
         content_type = "application/openmetrics-text"),
        (status = 401, description = "No key, or not one of the server's", body = crate::error::ErrorBody),
    ),
)]
pub(crate) async fn metrics(State(app): State<App>) -> Result<Response, ApiError> {
    let text = app.metrics().render(app.loaded().ok().as_deref());
    let text = text.map_err(|error| ApiError::internal(error.to_string()))?;
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, media_type)], text).into_response())
}
