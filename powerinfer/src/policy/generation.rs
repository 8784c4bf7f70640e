//! The section `generation`: how much to write, where to stop, and how to sample.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::sampling::{Mirostat, SamplerKind, Sampling};

/// What to generate and when to stop. In YAML the sampling options lie flat beside the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(from = "Keys", into = "Keys")]
pub struct Generation {
    /// Ends a reply after this many tokens.
    pub max_tokens: u32,
    /// Ends a reply at any of these texts.
    pub stop: Vec<String>,
    /// How tokens are chosen.
    pub sampling: Sampling,
}

impl Default for Generation {
    fn default() -> Self {
        Self { max_tokens: 512, stop: Vec::new(), sampling: Sampling::default() }
    }
}

macro_rules! flat_sampling {
    ($($(#[$doc:meta])* $field:ident: $type:ty),* $(,)?) => {
        /// The keys as they are written.
        #[derive(Clone, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[cfg_attr(feature = "schema", schemars(rename = "Generation"))]
        #[serde(deny_unknown_fields, default)]
        struct Keys {
            /// Ends a reply after this many tokens.
            max_tokens: u32,
            /// Ends a reply at any of these texts.
            stop: Vec<String>,
            $($(#[$doc])* $field: $type,)*
        }

        impl From<Generation> for Keys {
            fn from(Generation { max_tokens, stop, sampling }: Generation) -> Self {
                let Sampling { $($field),* } = sampling;
                Self { max_tokens, stop, $($field),* }
            }
        }

        impl From<Keys> for Generation {
            fn from(Keys { max_tokens, stop, $($field),* }: Keys) -> Self {
                Self { max_tokens, stop, sampling: Sampling { $($field),* } }
            }
        }
    };
}

flat_sampling! {
    /// Keeps this many candidates; 0 keeps all.
    top_k: u32,
    /// Keeps the smallest set of candidates with this share of the probability; 1 keeps all.
    top_p: f32,
    /// Keeps candidates at least this many times as likely as the best; 0 keeps all.
    min_p: f32,
    /// Tail-free sampling: cumulative curvature to keep; 1 keeps all.
    tfs_z: f32,
    /// Typical sampling: probability of the most typical candidates to keep; 1 keeps all.
    typical_p: f32,
    /// Divides the logits: below 1 sharper, above 1 flatter, 0 always takes the best.
    temperature: f32,
    /// The penalties look at this many last tokens; 0 turns them off.
    repeat_last_n: u32,
    /// Divides positive and multiplies negative logits of seen tokens; 1 is off.
    repeat_penalty: f32,
    /// Is subtracted from a seen token's logit once per occurrence.
    frequency_penalty: f32,
    /// Is subtracted from a seen token's logit once.
    presence_penalty: f32,
    /// Whether the penalties apply to the newline token too.
    penalize_newline: bool,
    /// Replaces the filters by a controller of surprise.
    mirostat: Mirostat,
    /// Mirostat's target surprise, in bits per token.
    mirostat_tau: f32,
    /// Mirostat's learning rate.
    mirostat_eta: f32,
    /// Is added to the logits of these tokens.
    logit_bias: BTreeMap<u32, f32>,
    /// Seed of the draws; none takes one from the operating system.
    seed: Option<u64>,
    /// The samplers in the order in which they run.
    order: Vec<SamplerKind>,
}

impl Default for Keys {
    fn default() -> Self {
        Generation::default().into()
    }
}
