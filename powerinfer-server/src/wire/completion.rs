//! Plain completions: prompts in, their continuations out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::generation::generation_request;
use super::{Head, Usage, UsageField};

generation_request! {
    /// Asks for the continuation of prompts.
    CompletionRequest {
        /// Text, tokens, or several of either.
        prompt: Prompt,
        /// Begins the text with the prompt.
        echo: Option<bool>,
        /// Tells how likely each token was, and this many of the most likely ones.
        #[schema(minimum = 0, maximum = 20)]
        logprobs: Option<u32>,
        /// Only as many as `n`.
        #[schema(minimum = 1)]
        best_of: Option<u32>,
        /// Only null.
        #[schema(value_type = Option<String>)]
        suffix: Option<Value>,
    }
}

/// Text, tokens, or several of either.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(untagged, expecting = "wanted a text, token ids, or a list of either")]
pub(crate) enum Prompt {
    /// Text.
    Text(String),
    /// Several texts.
    Texts(Vec<String>),
    /// Tokens.
    Tokens(Vec<u32>),
    /// Several lists of tokens.
    TokenLists(Vec<Vec<u32>>),
}

/// One prompt.
#[derive(Debug)]
pub(crate) enum OnePrompt {
    Text(String),
    Tokens(Vec<u32>),
}

impl Prompt {
    pub(crate) fn into_vec(self) -> Vec<OnePrompt> {
        match self {
            Self::Text(text) => vec![OnePrompt::Text(text)],
            Self::Texts(texts) => texts.into_iter().map(OnePrompt::Text).collect(),
            Self::Tokens(tokens) => vec![OnePrompt::Tokens(tokens)],
            Self::TokenLists(lists) => lists.into_iter().map(OnePrompt::Tokens).collect(),
        }
    }
}

/// Continuations of prompts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CompletionResponse {
    /// What it begins with.
    #[serde(flatten)]
    pub(crate) head: Head,
    /// `text_completion`.
    pub(crate) object: &'static str,
    /// `n` texts of the first prompt, then of the next; in a stream what is new of them.
    pub(crate) choices: Vec<CompletionChoice>,
    /// What they took; in a stream only in the last chunk, and only if it was asked for.
    #[serde(skip_serializing_if = "UsageField::is_absent")]
    #[schema(value_type = Option<Usage>)]
    pub(crate) usage: UsageField,
}

/// A continuation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CompletionChoice {
    /// Its number.
    pub(crate) index: usize,
    /// The text.
    pub(crate) text: String,
    /// How likely its tokens were.
    pub(crate) logprobs: Option<CompletionLogprobs>,
    /// `stop` if the text is complete, `length` if it was cut; null while it goes on.
    pub(crate) finish_reason: Option<&'static str>,
}

/// How likely tokens were; all lists have an entry for each token.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct CompletionLogprobs {
    /// What they print.
    pub(crate) tokens: Vec<String>,
    /// Natural logarithms of their probabilities; null for the first token of a prompt.
    pub(crate) token_logprobs: Vec<Option<f64>>,
    /// The most likely tokens in their places; null for the first token of a prompt.
    pub(crate) top_logprobs: Vec<Option<BTreeMap<String, f64>>>,
    /// Where they begin in the text, in characters.
    pub(crate) text_offset: Vec<usize>,
}
