//! What a model file says about its tokenizer, as plain data.

use super::error::TokenizerError;

/// The tokenizer section of a model file, as read and not yet checked.
///
/// [`Tokenizer::new`](super::Tokenizer::new) checks it. An absent array is an empty one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenizerSpec {
    /// `tokenizer.ggml.model`: `llama` (`SentencePiece` scores) or `gpt2` (byte-level BPE).
    pub model: String,
    /// `tokenizer.ggml.pre`: how `gpt2` text is cut into words; without it, `default`.
    pub pre: Option<String>,
    /// `tokenizer.ggml.tokens`: one entry per token id. Bytes, because files hold entries that
    /// are not valid UTF-8 and a lossy copy could not be decoded back.
    pub tokens: Vec<Vec<u8>>,
    /// `tokenizer.ggml.scores`: one per token or empty (all zero). Read by `llama` only.
    pub scores: Vec<f32>,
    /// `tokenizer.ggml.token_type`: one per token or empty (all normal).
    pub token_types: Vec<i32>,
    /// `tokenizer.ggml.merges`: `left right`, most important first. Read by `gpt2` only.
    pub merges: Vec<String>,
    /// `tokenizer.ggml.bos_token_id`: begins a text.
    pub bos_id: Option<u32>,
    /// `tokenizer.ggml.eos_token_id`: ends a text.
    pub eos_id: Option<u32>,
    /// `tokenizer.ggml.unknown_token_id`: stands for text that the vocabulary cannot spell.
    pub unk_id: Option<u32>,
    /// `tokenizer.ggml.seperator_token_id` (spelled so in files): separates two texts.
    pub sep_id: Option<u32>,
    /// `tokenizer.ggml.padding_token_id`: fills up a batch.
    pub pad_id: Option<u32>,
    /// `tokenizer.ggml.eot_token_id`: ends a turn of a conversation.
    pub eot_id: Option<u32>,
    /// `tokenizer.ggml.add_bos_token`: whether prompts begin with BOS.
    pub add_bos: Option<bool>,
    /// `tokenizer.ggml.add_eos_token`: whether complete texts end with EOS.
    pub add_eos: Option<bool>,
    /// `tokenizer.ggml.add_space_prefix`: whether text gets one space in front.
    pub add_space_prefix: Option<bool>,
}

/// The algorithm that turns text into tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenizerModel {
    /// `SentencePiece`: merge the best-scored neighbours.
    Spm,
    /// GPT-2: cut into words, then merge bytes by rank.
    Bpe,
}

impl TokenizerModel {
    pub(super) fn from_name(name: &str) -> Result<Self, TokenizerError> {
        match name {
            "llama" => Ok(Self::Spm),
            "gpt2" => Ok(Self::Bpe),
            _ => Err(TokenizerError::UnknownModel { found: name.to_owned() }),
        }
    }
}

/// What a vocabulary entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A piece of text.
    Normal,
    /// Stands for text that cannot be spelled.
    Unknown,
    /// Steers the model and prints nothing.
    Control,
    /// Added text that is never cut.
    UserDefined,
    /// A hole in the vocabulary.
    Unused,
    /// One byte, written `<0xHH>`.
    Byte,
}

impl TokenKind {
    /// Maps a type number of the file; 0 ("undefined") counts as text.
    pub(super) fn from_file(id: usize, found: i32) -> Result<Self, TokenizerError> {
        Ok(match found {
            0 | 1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => return Err(TokenizerError::UnknownTokenType { id, found }),
        })
    }
}
