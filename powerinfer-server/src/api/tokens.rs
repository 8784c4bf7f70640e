//! `POST /tokenize` and `/detokenize`.

use axum::Json;
use axum::extract::State;
use powerinfer::EncodeOptions;

use super::printed;
use crate::error::ApiError;
use crate::extract::StrictJson;
use crate::state::App;
use crate::wire::tokens::{
    DetokenizeRequest, DetokenizeResponse, TokenOrPiece, TokenizeRequest, TokenizeResponse,
};

/// Turns text into tokens.
#[utoipa::path(
    post,
    path = "/tokenize",
    request_body = TokenizeRequest,
    responses(
        (status = 200, description = "The tokens", body = TokenizeResponse),
        crate::routes::GenerationErrors,
    ),
)]
pub(crate) async fn tokenize(
    State(app): State<App>,
    StrictJson(request): StrictJson<TokenizeRequest>,
) -> Result<Json<TokenizeResponse>, ApiError> {
    let engine = app.engine()?;
    let encode = move || -> Result<_, ApiError> {
        let tokenizer = engine.requests.model().tokenizer()?;
        let wants_bos = request.add_special.unwrap_or(false) && tokenizer.wants_bos();
        let options = EncodeOptions::default()
            .add_bos(wants_bos)
            .parse_special(request.parse_special.unwrap_or(true));
        let ids = tokenizer.encode(&request.content, options);
        let ids = ids.map_err(powerinfer::Error::from)?.into_iter();
        Ok(if request.with_pieces.unwrap_or(false) {
            ids.map(|id| TokenOrPiece::Piece { id, piece: printed(tokenizer, id) }).collect()
        } else {
            ids.map(TokenOrPiece::Id).collect()
        })
    };
    let tokens = tokio::task::spawn_blocking(encode).await;
    let tokens = tokens.map_err(|error| ApiError::internal(error.to_string()))??;
    Ok(Json(TokenizeResponse { tokens }))
}

/// Turns tokens into text.
#[utoipa::path(
    post,
    path = "/detokenize",
    request_body = DetokenizeRequest,
    responses(
        (status = 200, description = "The text", body = DetokenizeResponse),
        crate::routes::GenerationErrors,
    ),
)]
pub(crate) async fn detokenize(
    State(app): State<App>,
    StrictJson(request): StrictJson<DetokenizeRequest>,
) -> Result<Json<DetokenizeResponse>, ApiError> {
    let engine = app.engine()?;
    let tokenizer = engine.requests.model().tokenizer()?;
    let content = tokenizer.decode(&request.tokens).map_err(powerinfer::Error::from)?;
    Ok(Json(DetokenizeResponse { content }))
}
