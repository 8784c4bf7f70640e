//! `GET /v1/models`.

use axum::Json;
use axum::extract::{Path, State};

use super::check_model;
use crate::engine::Engine;
use crate::error::ApiError;
use crate::state::App;
use crate::wire::model::{ModelCard, ModelList, ModelMeta};

/// Lists the models that are served.
#[utoipa::path(
    get,
    path = "/v1/models",
    responses(
        (status = 200, description = "The models", body = ModelList),
        crate::routes::PlainErrors,
    ),
)]
pub(crate) async fn list(State(app): State<App>) -> Result<Json<ModelList>, ApiError> {
    let engine = app.loaded()?;
    Ok(Json(ModelList { object: "list", data: vec![card(&app, &engine)] }))
}

/// Describes a model.
#[utoipa::path(
    get,
    path = "/v1/models/{id}",
    params(("id" = String, Path, description = "Name of the model")),
    responses(
        (status = 200, description = "The model", body = ModelCard),
        (status = 404, description = "Another model is served", body = crate::error::ErrorBody),
        crate::routes::PlainErrors,
    ),
)]
pub(crate) async fn show(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<ModelCard>, ApiError> {
    let engine = app.loaded()?;
    check_model(&engine, Some(&id))?;
    Ok(Json(card(&app, &engine)))
}

fn card(app: &App, engine: &Engine) -> ModelCard {
    let model = engine.requests.model();
    let info = model.info();
    ModelCard {
        id: engine.id.clone(),
        object: "model",
        created: engine.created,
        owned_by: "powerinfer",
        meta: ModelMeta {
            n_ctx: engine.requests.capacity(),
            context_shift: app.options().context_shift,
            n_ctx_train: info.context_length,
            n_vocab: info.vocab_size,
            n_embd: info.dim,
            n_layer: info.n_layers,
            architecture: info.architecture.clone(),
            strategy: info.strategy.to_string(),
            chat: engine.template.is_some(),
            gpu: serde_json::to_value(&info.gpu).unwrap_or_default(),
            facts: engine.facts.clone(),
        },
    }
}
