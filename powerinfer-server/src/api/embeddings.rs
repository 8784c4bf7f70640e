//! `POST /v1/embeddings`.

use axum::extract::State;
use axum::{Extension, Json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use powerinfer::{EmbedOptions, Request};
use serde_json::json;

use super::check_model;
use super::generations::prepared;
use crate::engine::{Engine, Told};
use crate::error::ApiError;
use crate::extract::StrictJson;
use crate::request_id::RequestId;
use crate::state::App;
use crate::wire::completion::OnePrompt;
use crate::wire::embedding::{
    Embedding, EmbeddingRequest, EmbeddingResponse, EmbeddingUsage, EncodingFormat, Vector,
};
use crate::wire::generation::refuse;

/// Texts of one request at most.
const MAX_TEXTS: usize = 2048;

/// Makes vectors of texts.
#[utoipa::path(
    post,
    path = "/v1/embeddings",
    request_body = EmbeddingRequest,
    responses(
        (status = 200, description = "The vectors", body = EmbeddingResponse),
        crate::routes::GenerationErrors,
    ),
)]
pub(crate) async fn embeddings(
    State(app): State<App>,
    Extension(RequestId(id)): Extension<RequestId>,
    StrictJson(request): StrictJson<EmbeddingRequest>,
) -> Result<Json<EmbeddingResponse>, ApiError> {
    let engine = app.engine()?;
    check_model(&engine, request.model.as_deref())?;
    let dim = engine.requests.model().info().dim;
    refuse("dimensions", request.dimensions.as_ref(), &[json!(dim)], "vectors are not cut")?;
    let format = request.encoding_format.unwrap_or_default();
    if let Some(user) = &request.user {
        tracing::debug!(request_id = id, user, "embeddings");
    }
    let requests = prepared(&app, &engine, &id, move |engine| requests(engine, request)).await?;
    let mut usage = EmbeddingUsage::default();
    let mut data = Vec::with_capacity(requests.len());
    // As many at a time as the queue takes; one request is not refused for its own length.
    let at_a_time = (app.options().queue / 2).max(1);
    let mut requests = requests.into_iter().peekable();
    while requests.peek().is_some() {
        for mut reply in engine.submit(requests.by_ref().take(at_a_time).collect())? {
            let (vector, tokens) = match reply.next().await {
                Some(Told::Embedded { vector, tokens }) => (vector, tokens),
                Some(Told::Failed(error)) => return Err(error),
                _ => return Err(crate::engine::lost()),
            };
            usage.prompt_tokens += tokens as u64;
            let vector = write(vector, format);
            data.push(Embedding { object: "embedding", index: data.len(), vector });
        }
    }
    usage.total_tokens = usage.prompt_tokens;
    Ok(Json(EmbeddingResponse { object: "list", data, model: engine.id.clone(), usage }))
}

fn requests(engine: &Engine, request: EmbeddingRequest) -> Result<Vec<Request>, ApiError> {
    let inputs = request.input.into_vec();
    if inputs.is_empty() || inputs.len() > MAX_TEXTS {
        let n = inputs.len();
        let message = format!("`input` has {n} texts, wanted 1 to {MAX_TEXTS}");
        return Err(ApiError::parameter("input", message));
    }
    let options = EmbedOptions::default();
    let embed = |input| match input {
        OnePrompt::Text(text) => engine.requests.embedding(&text, options),
        OnePrompt::Tokens(tokens) => engine.requests.token_embedding(&tokens, options),
    };
    Ok(inputs.into_iter().map(embed).collect::<Result<Vec<_>, _>>()?)
}

fn write(vector: Vec<f32>, format: EncodingFormat) -> Vector {
    match format {
        EncodingFormat::Float => Vector::Float(vector),
        EncodingFormat::Base64 => {
            let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
            Vector::Base64(STANDARD.encode(bytes))
        }
    }
}
