//! A piece of text with what is known of its tokens.

use crate::batch::Token;
use crate::sampling::TokenLogprob;

/// A token of a text, with how likely the model found it: natural logarithms of probabilities,
/// before bias, penalties, temperature, filters and grammar.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct TokenDetail {
    /// The token.
    pub token: Token,
    /// Where its text begins, in bytes of the text (with the prompt, if that is echoed).
    pub offset: usize,
    /// Its log-probability; none for the first token of an echoed prompt.
    pub logprob: Option<f64>,
    /// The most likely tokens in its place, best first: as many as were asked for.
    pub top: Vec<TokenLogprob>,
}

/// Text that became certain, and the tokens that begin in it.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Piece {
    /// Whole characters; empty if tokens have no text.
    pub text: String,
    /// Its tokens; empty unless [`logprobs`](crate::GenerateOptions::logprobs) were asked for.
    pub tokens: Vec<TokenDetail>,
}
