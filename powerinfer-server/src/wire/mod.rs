//! What goes over the wire: the types of requests and answers.

pub(crate) mod chat;
pub(crate) mod completion;
pub(crate) mod embedding;
pub(crate) mod format;
pub(crate) mod generation;
pub(crate) mod model;
pub(crate) mod status;
pub(crate) mod tokens;
pub(crate) mod tool;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A server-sent event.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes events to OpenAPI")]
pub(crate) struct StreamEvent {
    /// JSON of a part of the answer: a `ChatChunk` or `CompletionResponse`; of an `ErrorBody` if there is
    /// no more of it; and at the end of a whole answer `[DONE]`.
    data: String,
}

/// One string or several.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(untagged, expecting = "wanted a text or a list of texts")]
pub(crate) enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl OneOrMany {
    pub(crate) fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
        }
    }
}

/// What all parts of an answer begin with.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Head {
    /// Names this answer.
    pub(crate) id: String,
    /// When it was begun, in seconds of Unix.
    pub(crate) created: u64,
    /// The model that answers.
    pub(crate) model: String,
    /// Version of engine and model: the same texts come only from the same.
    pub(crate) system_fingerprint: String,
}

/// How many tokens a request had to do with.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
pub(crate) struct Usage {
    /// Tokens of the prompt.
    pub(crate) prompt_tokens: u64,
    /// Tokens generated.
    pub(crate) completion_tokens: u64,
    /// Their sum.
    pub(crate) total_tokens: u64,
    /// More about the prompt.
    pub(crate) prompt_tokens_details: PromptTokensDetails,
}

/// The usage in a part of an answer.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
pub(crate) enum UsageField {
    /// Nobody asked for it: the field is not there.
    Absent,
    /// It comes in the last part: null.
    Later,
    /// Here it is.
    Told(Usage),
}

impl UsageField {
    /// What stands in the parts of a stream before the last.
    pub(crate) fn in_chunk(options: StreamOptions) -> Self {
        if options.include_usage { Self::Later } else { Self::Absent }
    }

    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

/// More about the tokens of a prompt.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
pub(crate) struct PromptTokensDetails {
    /// Of them: in the cache already.
    pub(crate) cached_tokens: u64,
}

/// Options of a stream.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StreamOptions {
    /// Sends a last chunk with the usage and without choices.
    #[serde(default)]
    pub(crate) include_usage: bool,
}
