//! Safe API for sparse large-language-model inference.

mod text;

pub use text::{
    ChatMessage, ChatRequest, ChatTemplate, ChatTemplateError, EmptyStopString, EncodeOptions,
    StopMatcher, StopStep, TextDecoder, Tokenizer, TokenizerError, TokenizerSpec,
};
