//! Safe API for sparse large-language-model inference.
//!
//! From a file to text:
//!
//! ```no_run
//! use powerinfer::{Model, Sampling, SessionOptions};
//!
//! fn main() -> Result<(), powerinfer::Error> {
//!     let model = Model::load("model.powerinfer.gguf")?;
//!     let mut session = model.session(SessionOptions::default().context(2048))?;
//!     for piece in session.generate("Once upon a time", Sampling::default())?.take(64) {
//!         print!("{}", piece?);
//!     }
//!     Ok(())
//! }
//! ```
//!
//! A [`Model`] is immutable and shared; a [`Session`] runs it and is borrowed by one
//! [`Generation`] at a time; a [`CancelHandle`] stops a session from another thread. Below the text
//! level, [`Session::decode`] takes tokens and gives logits. Programs whose users choose what runs a
//! model find it by name in [`engine`].
//!
//! Sparse models compute only the neurons that a token needs: [`Metrics`] say which share that was,
//! and how many bytes had to move. Every generation ends with one `tracing` event of the target
//! `powerinfer::generation`; messages of the native core have the target `powerinfer::core`.
#![deny(unsafe_code)]

mod batch;
mod cache_folder;
mod device;
mod dtype;
pub mod engine;
mod error;
#[expect(unsafe_code, reason = "the one place that calls the C ABI")]
mod ffi;
mod file;
mod gpu;
#[cfg(feature = "grammar")]
mod grammar;
#[cfg(feature = "hub")]
pub mod hub;
mod metadata;
mod metrics;
mod model;
mod model_options;
mod model_text;
mod monitor;
mod open;
mod placement;
mod policy;
mod report;
mod sampling;
mod session;
mod statistics;
pub mod synthetic;
mod text;
#[cfg(any(feature = "hub", feature = "openai"))]
mod tls;
mod trace;
mod tuning;

pub use batch::{Batch, BatchToken, Output, Token};
pub use device::{DeviceInfo, devices};
pub use dtype::{DType, cpu_name, measure_read_bandwidth};
pub use error::Error;
pub use ffi::{CoreError, CoreErrorKind};
pub use file::{FileInfo, GgufFile, TensorInfo};
pub use gpu::{GpuIndex, GpuOptions, GpuState, GpuUse, NoGpu};
#[cfg(feature = "grammar")]
pub use grammar::{Grammar, GrammarError};
pub use metadata::{Metadata, MetadataEntry, MetadataError, MetadataType, MetadataValue};
pub use metrics::Metrics;
pub use model::{Model, ModelInfo};
pub use model_options::{LoadProgress, ModelOptions, Strategy, UnknownStrategy};
pub use monitor::{GpuMonitor, GpuReading};
pub use placement::{
    ActivationCounts, GpuIndexState, LayerPlacement, Part, PartPlacement, Placement, PlacementInfo,
    PlacementOptions, default_vram_budget,
};
pub use policy::{
    Audit, CacheMode, Checksum, ChecksumOutcome, Drift, Engine, Fact,
    Generation as GenerationSection, GpuMode, HostInfo, KvType, Lock, Metadata as MetadataSection,
    ModelFacts, OnDrift, Place, PlacementMode, Policy, PolicyError, PolicyNote, Repack, Runtime,
    Sparsity, SparsityFacts, Timeout, verify_checksum,
};
pub use report::{chain as error_chain, set_commit};
pub use sampling::{
    Mirostat, Sampled, Sampler, SamplerKind, Sampling, SamplingError, TokenLogprob,
};
pub use session::{
    CancelHandle, Completion, EmbedOptions, Event, FinishReason, Finished, GenerateOptions,
    Generation, LayerStats, Load, Piece, Pooling, Request, RequestHandle, RequestId, Requests,
    Scheduler, Session, SessionOptions, Stats, TokenDetail,
};
pub use statistics::{
    ActivationStatistics, FormatError, PickleError, StatisticsError, TorchError, read_torch_vector,
};
#[cfg(feature = "grammar")]
pub use text::ToolChoice;
pub use text::{
    ChatMessage, ChatRequest, ChatTemplate, ChatTemplateError, EmptyStopString, EncodeOptions,
    StopMatcher, StopStep, TextDecoder, Tokenizer, TokenizerError, TokenizerSpec, ToolCall,
    ToolCallParser, ToolError, ToolFormat, ToolStep, Tools,
};

/// The thread rules of the C header, checked by the compiler.
const _: () = {
    const fn send_sync<T: Send + Sync + 'static>() {}
    const fn send<T: Send + 'static>() {}
    send_sync::<Model>();
    send_sync::<GgufFile>();
    send_sync::<Placement>();
    send_sync::<CancelHandle>();
    send_sync::<Error>();
    send::<Session>();
};
