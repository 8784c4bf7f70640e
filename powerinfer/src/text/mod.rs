//! Text: everything between what people write and the token ids that the core computes with.

mod bpe;
mod byte_level;
mod chat;
mod decoder;
mod error;
mod generation_tag;
mod pretokenize;
mod python_json;
mod spec;
mod special;
mod special_ids;
mod spm;
mod stop;
mod strftime;
mod tokenizer;
mod tools;
mod vocab;

pub use chat::{ChatMessage, ChatRequest, ChatTemplate, ChatTemplateError};
pub use decoder::TextDecoder;
pub use error::TokenizerError;
pub use spec::TokenizerSpec;
pub use stop::{EmptyStopString, StopMatcher, StopStep};
pub use tokenizer::{EncodeOptions, Tokenizer};
#[cfg(feature = "grammar")]
pub use tools::ToolChoice;
pub use tools::{ToolCall, ToolCallParser, ToolError, ToolFormat, ToolStep, Tools};
