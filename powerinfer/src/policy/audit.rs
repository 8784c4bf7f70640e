//! The sections `audit` and `metadata`: where a model comes from and what it is for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where the model comes from and how to recognise it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// The version that its makers gave it.
    pub model_version: Option<String>,
    /// Where it can be fetched from: `hf://owner/name[@revision][/file]`, or `https://...`.
    pub source_repo: Option<String>,
    /// `sha256:` and 64 hexadecimal digits of the model file, or `sha256:unset`.
    pub checksum: Option<String>,
    /// The day on which the policy was written.
    pub created_at: Option<String>,
    /// The lock file that model, policy and engine are compared with; relative to the policy's
    /// folder. `powerinfer lock` writes one.
    pub lock: Option<String>,
    /// What to do where they differ from the lock file.
    pub on_drift: OnDrift,
    /// What is known about the zeros of the model.
    pub sparsity: Option<SparsityFacts>,
}

/// What to do where model, policy or engine are not those of a lock file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum OnDrift {
    /// End with an error that tells every difference.
    #[default]
    Refuse,
    /// Write every difference to the log and go on.
    Warn,
}

/// What is known about the zeros of a model's activations.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct SparsityFacts {
    /// The activation function, such as `reglu` or `drelu`.
    pub activation: Option<String>,
    /// The share of activations that are zero, 0 to 1.
    pub zero_share: Option<f64>,
    /// Who measured it.
    pub source: Option<String>,
    /// Experts per layer; more than one is a mixture of experts.
    pub experts: Option<u32>,
}

/// What the model is for, in words and numbers that nothing depends on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Metadata {
    /// What it is.
    pub description: Option<String>,
    /// What it is good for.
    pub use_cases: Vec<String>,
    /// What was measured, by name.
    pub performance: BTreeMap<String, Fact>,
}

/// A number or a text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "wanted a number or a text")]
pub enum Fact {
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
}
