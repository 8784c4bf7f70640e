//! Safe API for sparse large-language-model inference.

mod policy;
mod sampling;
mod text;

pub use sampling::{
    Mirostat, Sampled, Sampler, SamplerKind, Sampling, SamplingError, TokenLogprob,
};
pub use text::{
    ChatMessage, ChatRequest, ChatTemplate, ChatTemplateError, EmptyStopString, EncodeOptions,
    StopMatcher, StopStep, TextDecoder, Tokenizer, TokenizerError, TokenizerSpec,
};
