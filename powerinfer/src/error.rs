//! The one error type of the crate.

use std::path::PathBuf;
use std::time::Duration;

use crate::engine::EngineError;
use crate::ffi::{AbiMismatch, CoreError, CoreErrorKind};
use crate::gpu::NoGpu;
use crate::metadata::MetadataError;
use crate::policy::PolicyError;
use crate::sampling::SamplingError;
use crate::statistics::StatisticsError;
use crate::text::{ChatTemplateError, EmptyStopString, TokenizerError};

/// Everything that can go wrong, by what a caller can do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A model file cannot be opened: it is missing, unreadable, truncated or no model.
    #[error("cannot open {}", path.display())]
    OpenFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it; its kind tells a missing file from a broken one.
        source: CoreError,
    },
    /// Bytes given as a model file are none.
    #[error("cannot read a model from memory")]
    OpenBytes(#[source] CoreError),
    /// The file is sound, but its model cannot be loaded as asked.
    #[error("cannot load the model {model}")]
    Load {
        /// Name of the model.
        model: String,
        /// What stands in the way.
        source: CoreError,
    },
    /// A context of the asked sizes cannot be made.
    #[error("cannot open a session")]
    Session(#[source] CoreError),
    /// A model cannot be placed on a GPU as asked, or a GPU index cannot be read or written.
    #[error("cannot plan the placement")]
    Placement(#[source] CoreError),
    /// There is no GPU that can be used, or it failed.
    #[error("the GPU cannot be used")]
    Device(#[source] CoreError),
    /// A GPU is required and not used.
    #[error("a GPU is required; with `gpu: preferred` the processor would do all instead")]
    GpuRequired(#[source] NoGpu),
    /// Activation statistics cannot be read.
    #[error("the activation statistics cannot be used")]
    Statistics(#[from] StatisticsError),
    /// The metadata of the file is not what its reader needs.
    #[error("the metadata of the file cannot be used")]
    Metadata(#[from] MetadataError),
    /// The file's tokenizer cannot be built or used. Token-level calls still work.
    #[error("the tokenizer cannot be used")]
    Tokenizer(#[from] TokenizerError),
    /// The file has no chat template, or it cannot be built or used.
    #[error("the chat template cannot be used")]
    ChatTemplate(#[from] ChatTemplateError),
    /// Sampling options are out of range or contradict each other.
    #[error("the sampling options cannot be used")]
    Sampling(#[from] SamplingError),
    /// The policy cannot be used here, or the file is not the one that it means.
    #[error("the policy cannot be used")]
    Policy(#[from] PolicyError),
    /// An engine that was chosen by name cannot be used as asked.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A stop string is empty, so that it would stop everything.
    #[error("the stop strings cannot be used")]
    StopString(#[from] EmptyStopString),
    /// A grammar cannot be used, or no token can continue a text as its grammar wants it.
    #[cfg(feature = "grammar")]
    #[error("the grammar cannot be used")]
    Grammar(#[from] crate::grammar::GrammarError),
    /// The text has no tokens, so that there is nothing to continue.
    #[error("the prompt has no tokens: give some text, or ask for a begin-of-text token")]
    EmptyPrompt,
    /// A batch without tokens.
    #[error("the batch has no tokens")]
    EmptyBatch,
    /// More tokens than the KV cache can hold; nothing was computed.
    #[error("{tokens} tokens do not fit into a context that has room for {capacity}")]
    ContextFull {
        /// Tokens that had to be placed.
        tokens: usize,
        /// Tokens that there is room for. The cache is dealt out in pages, so that several
        /// sequences may find too few of them where this looks like enough.
        capacity: usize,
        /// What the core said, unless it was plain before it was asked.
        source: Option<CoreError>,
    },
    /// A token lies outside the model's vocabulary.
    #[error("token {token} is outside the vocabulary of {vocab_size} tokens")]
    UnknownToken {
        /// The token.
        token: u32,
        /// Number of tokens of the model.
        vocab_size: u32,
    },
    /// A sequence id is not below the number of sequences of the session.
    #[error("sequence {sequence} does not exist: the session has {sequences}")]
    UnknownSequence {
        /// The id.
        sequence: u32,
        /// Number of sequences of the session.
        sequences: u32,
    },
    /// A token of a batch does not continue its sequence.
    #[error("batch token {index} of sequence {sequence} has position {found}, want {wanted}")]
    WrongPosition {
        /// Place in the batch.
        index: usize,
        /// Its sequence.
        sequence: u32,
        /// The position that continues the sequence.
        wanted: u32,
        /// The position given.
        found: u32,
    },
    /// The target of a fork already has tokens.
    #[error("sequence {sequence} has {tokens} tokens: a fork needs an empty one")]
    SequenceNotEmpty {
        /// The target.
        sequence: u32,
        /// Its length.
        tokens: u32,
    },
    /// The work was cancelled through a [`CancelHandle`](crate::CancelHandle).
    #[error("cancelled")]
    Cancelled,
    /// The work took longer than the session allows.
    #[error("timed out after {} seconds", limit.as_secs_f64())]
    Timeout {
        /// The limit.
        limit: Duration,
    },
    /// A bug: making the text panicked. The session goes on.
    #[error("the generation panicked: this is a bug, please report it")]
    Panicked,
    /// The thread that watches the time limit could not be started.
    #[error("cannot watch the time limit")]
    Watchdog(#[source] std::io::Error),
    /// The native library was built from another header than these bindings.
    #[error("the native library has ABI version {found}, want {expected}: rebuild powerinfer-sys")]
    AbiMismatch {
        /// Version of the bindings.
        expected: u32,
        /// Version of the library.
        found: u32,
    },
    /// Any other refusal of the core.
    #[error("the core refused")]
    Core(#[source] CoreError),
}

impl Error {
    /// The core's own classification, where the failure comes from there.
    pub fn core_kind(&self) -> Option<CoreErrorKind> {
        match self {
            Self::OpenFile { source, .. }
            | Self::Load { source, .. }
            | Self::OpenBytes(source)
            | Self::Session(source)
            | Self::Placement(source)
            | Self::Device(source)
            | Self::Core(source) => Some(source.kind),
            Self::GpuRequired(reason) => reason.core_kind(),
            Self::Cancelled => Some(CoreErrorKind::Cancelled),
            Self::ContextFull { .. } => Some(CoreErrorKind::ContextFull),
            _ => None,
        }
    }
}

impl From<CoreError> for Error {
    fn from(error: CoreError) -> Self {
        match error.kind {
            CoreErrorKind::Cancelled => Self::Cancelled,
            CoreErrorKind::Device => Self::Device(error),
            _ => Self::Core(error),
        }
    }
}

impl From<AbiMismatch> for Error {
    fn from(AbiMismatch { expected, found }: AbiMismatch) -> Self {
        Self::AbiMismatch { expected, found }
    }
}
