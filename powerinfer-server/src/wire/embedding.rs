//! Embeddings: texts in, vectors out.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::completion::Prompt;

/// Asks for the embeddings of texts.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmbeddingRequest {
    /// Text, tokens, or several of either.
    pub(crate) input: Prompt,
    /// The model; without it, the one that is served.
    pub(crate) model: Option<String>,
    /// How the vectors are written.
    pub(crate) encoding_format: Option<EncodingFormat>,
    /// Only the width of the model.
    #[schema(value_type = Option<u32>, minimum = 1)]
    pub(crate) dimensions: Option<Value>,
    /// Who asks.
    pub(crate) user: Option<String>,
}

/// How vectors are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EncodingFormat {
    /// Numbers.
    #[default]
    Float,
    /// Their four bytes each, little-endian, in base64.
    Base64,
}

/// The embeddings of texts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EmbeddingResponse {
    /// `list`.
    pub(crate) object: &'static str,
    /// One for each text, in their order.
    pub(crate) data: Vec<Embedding>,
    /// The model that made them.
    pub(crate) model: String,
    /// What they took.
    pub(crate) usage: EmbeddingUsage,
}

/// An embedding.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Embedding {
    /// `embedding`.
    pub(crate) object: &'static str,
    /// Number of its text.
    pub(crate) index: usize,
    /// The vector.
    #[serde(rename = "embedding")]
    pub(crate) vector: Vector,
}

/// A vector of length 1.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Vector {
    /// Numbers.
    Float(Vec<f32>),
    /// Base64.
    Base64(String),
}

/// How many tokens were embedded.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
pub(crate) struct EmbeddingUsage {
    /// Tokens of the texts.
    pub(crate) prompt_tokens: u64,
    /// The same.
    pub(crate) total_tokens: u64,
}
