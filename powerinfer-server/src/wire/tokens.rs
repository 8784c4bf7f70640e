//! Text to tokens and back.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Asks for the tokens of a text.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenizeRequest {
    /// The text.
    pub(crate) content: String,
    /// Begins with the begin-of-text token, where the model wants it.
    pub(crate) add_special: Option<bool>,
    /// Reads control tokens such as `<|im_end|>` as tokens; by default true.
    pub(crate) parse_special: Option<bool>,
    /// Tells what each token prints.
    pub(crate) with_pieces: Option<bool>,
}

/// The tokens of a text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenizeResponse {
    /// Their ids, or ids with what they print.
    pub(crate) tokens: Vec<TokenOrPiece>,
}

/// A token.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum TokenOrPiece {
    /// Its id.
    Id(u32),
    /// Its id and what it prints.
    Piece {
        /// Its id.
        id: u32,
        /// What it prints, U+FFFD for parts of characters.
        piece: String,
    },
}

/// Asks for the text of tokens.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DetokenizeRequest {
    /// Their ids.
    pub(crate) tokens: Vec<u32>,
}

/// The text of tokens.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DetokenizeResponse {
    /// The text.
    pub(crate) content: String,
}
