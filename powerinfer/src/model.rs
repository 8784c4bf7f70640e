//! A loaded model: weights, and the text side that its file describes.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use once_cell::sync::OnceCell;

use crate::batch::Token;
use crate::device;
use crate::error::Error;
use crate::ffi::{CoreError, CoreErrorKind, LoadHooks, LogLevel, ModelHandle, Tuning};
use crate::file::GgufFile;
use crate::gpu::GpuState;
use crate::model_options::{ModelOptions, Strategy};
use crate::model_text;
use crate::placement::Placement;
use crate::report::Identity;
use crate::session::{Session, SessionOptions};
use crate::text::{ChatTemplate, Tokenizer};
use crate::tuning::Tuner;

/// Immutable weights, ready to run. Cheap to clone, and shared between threads freely.
///
/// A [`Session`] runs a model; any number of them may share one, unless a GPU has a part of it:
/// then there is one at a time. A file whose tokenizer cannot be
/// built still loads: the error comes when text is asked for.
///
/// # Examples
///
/// ```no_run
/// use powerinfer::{GenerateOptions, Model, SessionOptions};
///
/// let model = Model::load("model.gguf")?;
/// let mut session = model.session(SessionOptions::default().context(4096))?;
/// for piece in session.generate("Once upon a time", GenerateOptions::default())? {
///     print!("{}", piece?);
/// }
/// # Ok::<(), powerinfer::Error>(())
/// ```
#[derive(Clone)]
pub struct Model {
    inner: Arc<Inner>,
}

struct Inner {
    handle: ModelHandle,
    file: GgufFile,
    info: ModelInfo,
    load_time: Duration,
    identity: Arc<Identity>,
    tuner: Tuner,
    text: OnceCell<TextSide>,
    chat_template: OnceCell<ChatTemplate>,
}

/// The tokenizer and what is derived from it once.
struct TextSide {
    tokenizer: Tokenizer,
    newline: Option<Token>,
    #[cfg(feature = "grammar")]
    grammars: OnceCell<crate::grammar::GrammarCompiler>,
}

/// The shape of a model and how it runs; the fields of `pi_model_info`.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct ModelInfo {
    /// `general.name` of the file, or the file's name.
    pub name: String,
    /// Family: `llama`, `bamboo`, `falcon`, `opt`.
    pub architecture: String,
    /// Activation of the feed-forward layers: `relu`, `drelu`, `fatrelu`, `silu`.
    pub activation: String,
    /// How feed-forward layers are computed; never [`Strategy::Default`].
    pub strategy: Strategy,
    /// Number of layers.
    pub n_layers: u32,
    /// Width of the residual stream.
    pub dim: u32,
    /// Feed-forward neurons of a layer.
    pub hidden_dim: u32,
    /// Query heads.
    pub n_heads: u32,
    /// Key and value heads.
    pub n_kv_heads: u32,
    /// Width of a head.
    pub head_dim: u32,
    /// Number of tokens.
    pub vocab_size: u32,
    /// Tokens of context that the model was trained with.
    pub context_length: u32,
    /// The file is `PowerInfer`'s sparse kind.
    pub is_sparse: bool,
    /// The file has activation predictors.
    pub has_predictor: bool,
    /// The feed-forward layers have a gate.
    pub is_gated: bool,
    /// What a predictor's score must reach.
    pub sparse_threshold: f32,
    /// Threshold of the activation; 0 for a plain `ReLU`.
    pub fatrelu_threshold: f32,
    /// Bytes of the tensors in use.
    pub weight_bytes: u64,
    /// Of these: gate, up and down.
    pub ffn_bytes: u64,
    /// Of these: predictors.
    pub predictor_bytes: u64,
    /// Bytes that were copied from the file into memory with large pages; 0: they stay mapped.
    pub repacked_bytes: u64,
    /// Seconds that the copy took, a part of [`Model::load_time`].
    pub repack_seconds: f64,
    /// Why nothing was copied; empty if it was.
    pub repack_reason: String,
    /// Whether a GPU has a part of the model, and why if not.
    pub gpu: GpuState,
    /// Bytes of weights on the GPU.
    pub device_bytes: u64,
}

impl Model {
    /// Loads a model file with default options.
    ///
    /// # Errors
    ///
    /// See [`load_with`](Self::load_with).
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::load_with(path, &ModelOptions::default())
    }

    /// Loads a model file.
    ///
    /// # Errors
    ///
    /// What [`GgufFile::open`] returns; [`Error::Load`] if the model is unsupported or its tensors
    /// are wrong, or memory cannot be locked; [`Error::Cancelled`] if the progress callback says so.
    /// With a GPU: what [`GpuOptions::preview`](crate::GpuOptions::preview) returns, and
    /// [`Error::Load`] if a required one fails.
    pub fn load_with(path: impl AsRef<Path>, options: &ModelOptions) -> Result<Self, Error> {
        let start = Instant::now();
        Self::new(GgufFile::open(path)?, options, start, Identity::default())
    }

    /// Loads a model from the bytes of a file, which are copied.
    ///
    /// # Errors
    ///
    /// What [`GgufFile::from_bytes`] returns, and as for [`load_with`](Self::load_with).
    pub fn from_bytes(bytes: &[u8], options: &ModelOptions) -> Result<Self, Error> {
        let start = Instant::now();
        Self::new(GgufFile::from_bytes(bytes)?, options, start, Identity::default())
    }

    /// Loads the model of an open file.
    ///
    /// # Errors
    ///
    /// As for [`load_with`](Self::load_with), but for opening.
    pub fn from_file(file: GgufFile, options: &ModelOptions) -> Result<Self, Error> {
        Self::new(file, options, Instant::now(), Identity::default())
    }

    /// Loads the model of a file that was asked for at `start`; names it in `identity`.
    pub(crate) fn new(
        file: GgufFile,
        options: &ModelOptions,
        start: Instant,
        mut identity: Identity,
    ) -> Result<Self, Error> {
        let name = model_text::name(&file);
        let span = tracing::info_span!("load", model = name);
        let _entered = span.enter();
        let load = |placement: Option<&Placement>| {
            let mut progress = |done, total| options.report(done, total);
            let hooks = LoadHooks { log: &mut forward_log, progress: &mut progress };
            let placement = placement.map(Placement::handle);
            let handle = ModelHandle::load(file.handle(), options.settings(), placement, hooks);
            handle.map_err(|source| match source.kind {
                CoreErrorKind::Cancelled => Error::Cancelled,
                _ => Error::Load { model: name.clone(), source },
            })
        };
        let (handle, gpu) = options.gpu.load(&file, options.strategy, device::first, load)?;
        let info = ModelInfo::new(name, gpu, &handle);
        identity.model.clone_from(&info.name);
        let load_time = start.elapsed();
        tracing::debug!(
            seconds = load_time.as_secs_f64(),
            architecture = info.architecture,
            strategy = info.strategy.name(),
            weight_bytes = info.weight_bytes,
            gpu = %info.gpu,
            "model loaded"
        );
        let inner = Inner {
            handle,
            file,
            info,
            load_time,
            identity: Arc::new(identity),
            tuner: Tuner::of_user(),
            text: OnceCell::new(),
            chat_template: OnceCell::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Opens a session that runs this model.
    ///
    /// # Errors
    ///
    /// [`Error::Session`] if a size is out of range or there is no memory for it; if a GPU has a part
    /// of the model, also for a second session and for one larger than was planned.
    pub fn session(&self, options: SessionOptions) -> Result<Session, Error> {
        Session::new(self.clone(), options)
    }

    /// Describes the model.
    pub fn info(&self) -> &ModelInfo {
        &self.inner.info
    }

    /// The file that the model was loaded from.
    pub fn file(&self) -> &GgufFile {
        &self.inner.file
    }

    /// How long opening and loading took.
    pub fn load_time(&self) -> Duration {
        self.inner.load_time
    }

    /// The tokenizer that the file describes, built on first use.
    ///
    /// # Errors
    ///
    /// [`Error::Metadata`] or [`Error::Tokenizer`] if the file's description cannot be used.
    pub fn tokenizer(&self) -> Result<&Tokenizer, Error> {
        Ok(&self.text_side()?.tokenizer)
    }

    /// The chat template that the file brings, built on first use.
    ///
    /// # Errors
    ///
    /// [`Error::ChatTemplate`] if there is none or it cannot be used, [`Error::Metadata`] if it is no
    /// text, and what [`tokenizer`](Self::tokenizer) returns.
    pub fn chat_template(&self) -> Result<&ChatTemplate, Error> {
        self.inner.chat_template.get_or_try_init(|| {
            let in_file = model_text::chat_template(&self.inner.file)?;
            Ok(ChatTemplate::for_model(None, in_file, self.tokenizer()?)?)
        })
    }

    /// The token that is a line break, which penalties may spare.
    pub(crate) fn newline(&self) -> Result<Option<Token>, Error> {
        Ok(self.text_side()?.newline)
    }

    /// What compiles grammars for the tokenizer, built on first use.
    #[cfg(feature = "grammar")]
    pub(crate) fn grammars(&self) -> Result<&crate::grammar::GrammarCompiler, Error> {
        let TextSide { tokenizer, grammars, .. } = self.text_side()?;
        Ok(grammars.get_or_try_init(|| crate::grammar::GrammarCompiler::new(tokenizer))?)
    }

    pub(crate) fn identity(&self) -> &Arc<Identity> {
        &self.inner.identity
    }

    /// What a session with so many threads decides by; `None` unless there is something to decide.
    pub(crate) fn tuning(&self, threads: u32) -> Result<Option<Tuning>, CoreError> {
        if self.info().strategy != Strategy::Auto {
            return Ok(None);
        }
        self.inner.tuner.tuning(self.handle(), threads).map(Some)
    }

    pub(crate) fn handle(&self) -> &ModelHandle {
        &self.inner.handle
    }

    fn text_side(&self) -> Result<&TextSide, Error> {
        self.inner.text.get_or_try_init(|| {
            let spec = model_text::tokenizer_spec(&self.inner.file)?;
            let tokenizer = Tokenizer::new(&spec)?;
            let newline = model_text::newline(&tokenizer);
            Ok(TextSide {
                tokenizer,
                newline,
                #[cfg(feature = "grammar")]
                grammars: OnceCell::new(),
            })
        })
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model").field("info", &self.inner.info).finish_non_exhaustive()
    }
}

impl ModelInfo {
    fn new(name: String, gpu: GpuState, handle: &ModelHandle) -> Self {
        let raw = handle.info();
        let (architecture, activation) = handle.names();
        Self {
            name,
            architecture,
            activation,
            strategy: Strategy::from_resolved(raw.strategy),
            n_layers: raw.n_layers,
            dim: raw.dim,
            hidden_dim: raw.hidden_dim,
            n_heads: raw.n_heads,
            n_kv_heads: raw.n_kv_heads,
            head_dim: raw.head_dim,
            vocab_size: raw.vocab_size,
            context_length: raw.context_length,
            is_sparse: raw.is_sparse != 0,
            has_predictor: raw.has_predictor != 0,
            is_gated: raw.is_gated != 0,
            sparse_threshold: raw.sparse_threshold,
            fatrelu_threshold: raw.fatrelu_threshold,
            weight_bytes: raw.weight_bytes,
            ffn_bytes: raw.ffn_bytes,
            predictor_bytes: raw.predictor_bytes,
            repacked_bytes: raw.repacked_bytes,
            repack_seconds: Duration::from_nanos(raw.repack_ns).as_secs_f64(),
            repack_reason: handle.repack_reason(),
            gpu,
            device_bytes: raw.device_bytes,
        }
    }
}

/// Sends what the core says during a load to `tracing`.
fn forward_log(level: LogLevel, message: &str) {
    match level {
        LogLevel::Error => tracing::error!(target: "powerinfer::core", "{message}"),
        LogLevel::Warn => tracing::warn!(target: "powerinfer::core", "{message}"),
        LogLevel::Info => tracing::info!(target: "powerinfer::core", "{message}"),
        LogLevel::Debug => tracing::debug!(target: "powerinfer::core", "{message}"),
    }
}
