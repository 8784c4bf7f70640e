//! The section `runtime`: what of the machine may be used, and how.

use serde::{Deserialize, Serialize};

use super::{Sparsity, Timeout};

/// Whether a GPU is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum GpuMode {
    /// Without one, nothing runs.
    Required,
    /// Used if there is one that can be; a warning says why if not, and the processor does all.
    #[default]
    Preferred,
    /// Never used.
    Off,
}

impl GpuMode {
    /// What is meant where nothing is said: preferred by builds for GPUs, off by others.
    pub fn of_build() -> Self {
        if cfg!(feature = "cuda") { Self::Preferred } else { Self::Off }
    }

    /// The name used in policies.
    pub fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Preferred => "preferred",
            Self::Off => "off",
        }
    }
}

/// The type of the keys and values in the attention cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum KvType {
    /// Half precision.
    #[default]
    F16,
    /// Single precision.
    F32,
}

impl KvType {
    /// The number that files use for the type.
    pub(crate) fn dtype_id(self) -> u32 {
        match self {
            Self::F16 => 1,
            Self::F32 => 0,
        }
    }
}

/// Whether weights are copied from the mapped file into memory with large pages.
///
/// The copy is as large as the weights, and the mapped pages are given back. Rows that are read
/// here and there then cost less to find, which sparse strategies gain most from. Every model has a
/// copy of its own: share the model rather than load its file again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Repack {
    /// Where it pays and memory allows: more than 64 MiB of weights, a system with large pages, and
    /// 1.25 times the weights available. The loaded model says what was done, and why.
    #[default]
    Auto,
    /// Always; a load without the memory for it fails. Containers from memory stay where they are.
    Always,
    /// Everything stays mapped.
    Never,
}

/// Whether neurons stay on the side, GPU or processor, where they were placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PlacementMode {
    /// They stay.
    #[default]
    Static,
    /// After every 256 tokens those that fired most lately get the places on the GPU of those that
    /// did not. Results change by the rounding of sums. Without a GPU there is nothing to move.
    Adaptive,
}

impl PlacementMode {
    /// Tokens after which neurons move; 0 if they stay.
    pub(crate) fn adapt_every(self) -> u32 {
        match self {
            Self::Static => 0,
            Self::Adaptive => 256,
        }
    }
}

/// What of the machine may be used, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Runtime {
    /// Threads that compute; none takes one for each physical core that may be used.
    pub threads: Option<u32>,
    /// Whether a GPU is used.
    pub gpu: GpuMode,
    /// Layers whose attention runs on the GPU at most; with fewer than all, nothing else does. None
    /// lets the budget decide.
    pub gpu_layers: Option<u32>,
    /// GPU memory that may be used, in GiB; none takes what is free, without 0.25 GiB.
    pub vram_budget_gb: Option<f64>,
    /// Whether neurons stay where they were placed.
    pub placement: PlacementMode,
    /// Sequences that are generated in parallel.
    pub batch_size: u32,
    /// Tokens of a prompt that are processed at a time.
    pub prefill_batch: u32,
    /// Tokens that a sequence may hold; none takes the model's.
    pub context_size: Option<u32>,
    /// Ends a generation with an error after this time.
    pub timeout: Option<Timeout>,
    /// Which neurons are read.
    pub sparsity: Sparsity,
    /// Type of the attention cache.
    pub kv_type: KvType,
    /// Bits of activations that meet quantised weights: 16, or 8 for faster prompts and batches.
    pub activation_bits: u32,
    /// Whether the weights are locked into memory.
    pub lock_memory: bool,
    /// Whether the weights are copied into memory with large pages.
    pub repack: Repack,
}

impl Runtime {
    /// The GPU memory that may be used, in bytes.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "below a byte nothing counts; a policy is checked to be in range"
    )]
    pub(crate) fn vram_budget_bytes(&self) -> Option<u64> {
        self.vram_budget_gb.map(|gib| (gib * f64::from(1 << 30)) as u64)
    }
}

impl Default for Runtime {
    fn default() -> Self {
        Self {
            threads: None,
            gpu: GpuMode::default(),
            gpu_layers: None,
            vram_budget_gb: None,
            placement: PlacementMode::default(),
            batch_size: 1,
            prefill_batch: 512,
            context_size: None,
            timeout: None,
            sparsity: Sparsity::default(),
            kv_type: KvType::default(),
            activation_bits: 16,
            lock_memory: false,
            repack: Repack::default(),
        }
    }
}
