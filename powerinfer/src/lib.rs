//! Safe API for sparse large-language-model inference.

mod policy;
mod sampling;

pub use policy::{
    Audit, CacheMode, Checksum, ChecksumOutcome, Engine, Fact, Generation, GpuMode, HostInfo,
    KvType, Metadata, ModelFacts, Place, Policy, PolicyError, PolicyNote, Runtime, Sparsity,
    SparsityFacts, SparsityStrategy, Timeout, verify_checksum,
};
pub use sampling::{
    Mirostat, Sampled, Sampler, SamplerKind, Sampling, SamplingError, TokenLogprob,
};
