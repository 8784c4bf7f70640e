//! Text: everything between what people write and the token ids that the core computes with.

mod bpe;
mod byte_level;
mod decoder;
mod error;
mod pretokenize;
mod spec;
mod special;
mod special_ids;
mod spm;
mod tokenizer;
mod vocab;

pub use decoder::TextDecoder;
pub use error::TokenizerError;
pub use spec::TokenizerSpec;
pub use tokenizer::{EncodeOptions, Tokenizer};
