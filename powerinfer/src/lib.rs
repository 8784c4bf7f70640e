//! Safe API for sparse large-language-model inference.

mod text;

pub use text::{EncodeOptions, TextDecoder, Tokenizer, TokenizerError, TokenizerSpec};
