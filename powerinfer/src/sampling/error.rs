//! What can be wrong with sampling options or with the logits to sample from.

use super::SamplerKind;

/// The reason why sampling options are refused or a token could not be drawn.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SamplingError {
    /// An option has a value outside of its range; not-a-number is outside of every range.
    #[error("{field}: wanted {wanted}, found {found}")]
    OutOfRange {
        /// The option, as it is spelled in a policy.
        field: &'static str,
        /// The range in words.
        wanted: &'static str,
        /// The value that was given.
        found: f32,
    },
    /// An option names a token that the vocabulary does not have.
    #[error("{field}: wanted a token below the vocabulary size {vocab_size}, found {token}")]
    UnknownToken {
        /// The option or call that named the token.
        field: &'static str,
        /// The token that was given.
        token: u32,
        /// Number of tokens of the vocabulary.
        vocab_size: usize,
    },
    /// The order names a sampler twice.
    #[error("order: wanted each sampler at most once, found {sampler} twice")]
    DuplicateSampler {
        /// The repeated sampler.
        sampler: SamplerKind,
    },
    /// A name in the order is not the name of a sampler.
    #[error("order: wanted one of {known}, found {found:?}", known = SamplerKind::NAMES.join(", "))]
    UnknownSampler {
        /// The name that was given.
        found: String,
    },
    /// The vocabulary has no token, or more than token ids can count.
    #[error("vocabulary: wanted 1 to 4294967296 tokens, found {found}")]
    VocabularySize {
        /// The size that was given.
        found: usize,
    },
    /// The logits are not one per token of the vocabulary.
    #[error("logits: wanted one per token of the vocabulary ({wanted}), found {found}")]
    LogitCount {
        /// The vocabulary size of the sampler.
        wanted: usize,
        /// The number of logits given.
        found: usize,
    },
    /// A logit is not-a-number or positive infinity, so no distribution exists.
    #[error("logit of token {token}: wanted a finite number or negative infinity, found {found}")]
    LogitNotFinite {
        /// The first such token.
        token: u32,
        /// Its logit, after bias and penalties.
        found: f32,
    },
    /// Every logit is negative infinity: there is nothing to choose from.
    #[error("logits: wanted at least one above negative infinity, found none among {count}")]
    NoCandidate {
        /// The number of logits.
        count: usize,
    },
    /// The operating system gave no random seed; set one in the options.
    #[error("the operating system gave no random seed ({reason}); set `seed`")]
    NoEntropy {
        /// What the operating system said.
        reason: String,
    },
}
