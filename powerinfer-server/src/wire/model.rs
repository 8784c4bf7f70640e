//! Models.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// The models that are served.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelList {
    /// `list`.
    pub(crate) object: &'static str,
    /// One.
    pub(crate) data: Vec<ModelCard>,
}

/// A model.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelCard {
    /// Its name in requests.
    pub(crate) id: String,
    /// `model`.
    pub(crate) object: &'static str,
    /// When it was loaded, in seconds of Unix.
    pub(crate) created: u64,
    /// `powerinfer`.
    pub(crate) owned_by: &'static str,
    /// More about it.
    pub(crate) meta: ModelMeta,
}

/// More about a model.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelMeta {
    /// Tokens that a text can have, prompt and completion together.
    pub(crate) n_ctx: usize,
    /// Whether a full context forgets its older half, so that texts go on.
    pub(crate) context_shift: bool,
    /// Tokens that it was trained with.
    pub(crate) n_ctx_train: u32,
    /// Number of its tokens.
    pub(crate) n_vocab: u32,
    /// Its width, and that of its embeddings.
    pub(crate) n_embd: u32,
    /// Number of its layers.
    pub(crate) n_layer: u32,
    /// Its family.
    pub(crate) architecture: String,
    /// How its feed-forward layers are computed.
    pub(crate) strategy: String,
    /// Whether it can chat: it has a chat template.
    pub(crate) chat: bool,
    /// What a GPU has of it, as it is, not as it was wished.
    #[schema(value_type = Object)]
    pub(crate) gpu: Value,
    /// What its policy says of it.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub(crate) facts: Map<String, Value>,
}
