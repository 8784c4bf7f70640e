//! Errors of building and using a tokenizer.

use super::pretokenize::PRE_TOKENIZER_NAMES;

/// Why a tokenizer could not be built, or could not encode or decode.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The file names a tokenizer algorithm that this crate does not have.
    #[error("unknown tokenizer model `{found}`: known are `llama` and `gpt2`")]
    UnknownModel {
        /// The value of `tokenizer.ggml.model`.
        found: String,
    },
    /// The file names a way to cut text into words that this crate does not have.
    #[error("unknown pre-tokenizer `{found}`: known are {}", PRE_TOKENIZER_NAMES.join(", "))]
    UnknownPreTokenizer {
        /// The value of `tokenizer.ggml.pre`.
        found: String,
    },
    /// The file has no tokens.
    #[error("the vocabulary is empty: `tokenizer.ggml.tokens` must list the tokens")]
    EmptyVocabulary,
    /// The vocabulary has more bytes or entries than a 32-bit id or offset can name.
    #[error("the vocabulary is too large: {entries} tokens of {bytes} bytes together")]
    VocabularyTooLarge {
        /// Number of tokens.
        entries: usize,
        /// Their length together.
        bytes: usize,
    },
    /// A per-token array has a different length than the token list.
    #[error("`{key}` has {found} entries, want {expected}, one for each token")]
    LengthMismatch {
        /// Key of the array in the file.
        key: &'static str,
        /// Number of tokens.
        expected: usize,
        /// Number of entries found.
        found: usize,
    },
    /// A token has a type number that the format does not define.
    #[error("token {id} has type {found}, want 0 to 6")]
    UnknownTokenType {
        /// The token.
        id: usize,
        /// Its type in the file.
        found: i32,
    },
    /// A token has a score that cannot be ordered.
    #[error("token {id} has a score that is not a number")]
    ScoreNotANumber {
        /// The token.
        id: usize,
    },
    /// A byte token is not spelled as one.
    #[error("token {id} is a byte token but reads `{found}`, want `<0x00>` to `<0xFF>`")]
    MalformedByteToken {
        /// The token.
        id: usize,
        /// Its text.
        found: String,
    },
    /// A merge is not two tokens with a space between.
    #[error("merge {index} reads `{found}`, want two tokens with a space between")]
    MalformedMerge {
        /// Place in the list.
        index: usize,
        /// Its text.
        found: String,
    },
    /// A merge joins, or results in, something that is not a token.
    #[error("merge {index} (`{merge}`) needs the token `{missing}`, which the vocabulary lacks")]
    MergeOutOfVocabulary {
        /// Place in the list.
        index: usize,
        /// Its text.
        merge: String,
        /// The token that is not there.
        missing: String,
    },
    /// A `gpt2` tokenizer has no merges.
    #[error("a `gpt2` tokenizer needs `tokenizer.ggml.merges`, and the file has none")]
    NoMerges,
    /// The text has a byte that the vocabulary cannot spell.
    #[error("the vocabulary has no token for byte {byte:#04x} of {text:?}: take it out")]
    Unencodable {
        /// The byte.
        byte: u8,
        /// The character or word around it.
        text: String,
    },
    /// BOS was asked for, and the vocabulary has none.
    #[error("the vocabulary has no begin-of-text token: encode with `add_bos: false`")]
    NoBos,
    /// A token id lies outside the vocabulary.
    #[error("token id {id} is outside the vocabulary of {vocab_size} tokens")]
    UnknownTokenId {
        /// The id.
        id: u32,
        /// Number of tokens.
        vocab_size: usize,
    },
    /// The underlying library refused; a defect of this crate, not of the input.
    #[error("the tokenizer library refused the {stage}")]
    Library {
        /// What it was given.
        stage: &'static str,
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
