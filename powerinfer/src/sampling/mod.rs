//! From logits to the next token: options, filters, penalties, Mirostat and the chain that runs them.

mod candidates;
mod chain;
mod error;
mod filters;
mod kind;
mod logprobs;
mod mirostat;
mod options;
mod penalties;
mod random;
#[cfg(test)]
mod twins;
mod validate;

pub use chain::{Sampled, Sampler};
pub use error::SamplingError;
pub use kind::{Mirostat, SamplerKind};
pub use logprobs::TokenLogprob;
pub use options::Sampling;
