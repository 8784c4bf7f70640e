//! Safe API for sparse large-language-model inference.

mod policy;
mod sampling;

pub use sampling::{
    Mirostat, Sampled, Sampler, SamplerKind, Sampling, SamplingError, TokenLogprob,
};
