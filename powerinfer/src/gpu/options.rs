//! What may be said about the GPU of a load.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::ffi::CoreError;
use crate::file::GgufFile;
use crate::policy::{GpuMode, Policy};
use crate::session::SessionOptions;

/// Which neurons go to the GPU, beside what statistics say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum GpuIndex {
    /// Those that the file beside the model names, [`path_of`](Self::path_of), if there is one; else
    /// they are chosen. As for [`File`](Self::File), but one that does not suit the budget is only a
    /// warning.
    #[default]
    Beside,
    /// Those that this file names. If it says that it was made for another model or other
    /// statistics, they are chosen and a load writes them there, and a warning says so. One that says
    /// nothing of the kind is used as it is, and one that is broken refused.
    File(PathBuf),
    /// They are chosen, and written to this file, or beside the model.
    Reset(Option<PathBuf>),
    /// None: feed-forward layers stay with the processor, and no index is read or written.
    Disabled,
}

impl GpuIndex {
    /// Where the GPU index of a model lies: beside its file, with `.generated.gpuidx` behind its
    /// name.
    pub fn path_of(model: impl AsRef<Path>) -> PathBuf {
        let mut path = model.as_ref().as_os_str().to_owned();
        path.push(".generated.gpuidx");
        path.into()
    }
}

/// What a load may choose about the GPU.
///
/// The memory of the GPU is planned for one session, so that its options are needed here, and the
/// model can have one session at a time.
///
/// # Examples
///
/// ```
/// use powerinfer::{GpuMode, GpuOptions, ModelOptions, SessionOptions};
///
/// let session = SessionOptions::default().context(2048);
/// let gpu = GpuOptions::new(GpuMode::Preferred).session(&session).vram_budget(8 << 30);
/// let options = ModelOptions::default().gpu(gpu);
/// assert_eq!(options.gpu.mode, GpuMode::Preferred);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GpuOptions {
    /// Whether a GPU is used. With [`GpuMode::Off`] everything else but `session` has to stay as it
    /// is.
    pub mode: GpuMode,
    /// Bytes that the GPU may hold, its own needs included; `None` takes what is free, without a
    /// reserve: [`default_vram_budget`](crate::default_vram_budget).
    pub vram_budget: Option<u64>,
    /// Layers whose attention goes to the GPU at most; with fewer than all, nothing else does.
    pub layers: Option<u32>,
    /// A file or folder of [`ActivationStatistics`](crate::ActivationStatistics); `None` takes what
    /// lies beside the model, if anything.
    pub statistics: Option<PathBuf>,
    /// Which neurons go to the GPU.
    pub index: GpuIndex,
    /// The session that the model will have; larger ones are refused.
    pub session: SessionOptions,
}

impl Default for GpuOptions {
    fn default() -> Self {
        Self::new(GpuMode::Off)
    }
}

impl GpuOptions {
    /// Plans with all free memory of the GPU for a session with default options.
    pub fn new(mode: GpuMode) -> Self {
        Self {
            mode,
            vram_budget: None,
            layers: None,
            statistics: None,
            index: GpuIndex::default(),
            session: SessionOptions::default(),
        }
    }

    /// Sets how many bytes the GPU may hold.
    #[must_use]
    pub fn vram_budget(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.vram_budget = bytes.into();
        self
    }

    /// Sets how many layers have their attention on the GPU at most.
    #[must_use]
    pub fn layers(mut self, layers: impl Into<Option<u32>>) -> Self {
        self.layers = layers.into();
        self
    }

    /// Chooses neurons by the statistics in a file or folder.
    #[must_use]
    pub fn statistics(mut self, path: impl Into<Option<PathBuf>>) -> Self {
        self.statistics = path.into();
        self
    }

    /// Sets which neurons go to the GPU.
    #[must_use]
    pub fn index(mut self, index: GpuIndex) -> Self {
        self.index = index;
        self
    }

    /// Sets the options of the session that memory is planned for.
    #[must_use]
    pub fn session(mut self, session: &SessionOptions) -> Self {
        self.session = *session;
        self
    }

    /// Takes over what a policy says about the GPU and about sessions of the model of `file`, and
    /// keeps what policies do not have: statistics and index.
    ///
    /// # Errors
    ///
    /// [`Error::Metadata`] if the file's metadata has wrong types.
    pub fn with_policy(self, policy: &Policy, file: &GgufFile) -> Result<Self, Error> {
        let runtime = &policy.runtime;
        Ok(Self {
            mode: runtime.gpu,
            vram_budget: runtime.vram_budget_bytes(),
            layers: runtime.gpu_layers,
            session: SessionOptions::for_file(policy, file)?,
            ..self
        })
    }

    /// Refuses what would have no effect.
    pub(super) fn check(&self) -> Result<(), Error> {
        let is_off = self.mode == GpuMode::Off;
        if is_off && *self != Self::default().session(&self.session) {
            return Err(refused("the GPU is off, and options are given for it: leave one out"));
        }
        if self.index == GpuIndex::Disabled && self.statistics.is_some() {
            return Err(refused(
                "activation statistics choose neurons for the GPU, and none go there without an \
                 index: leave one out",
            ));
        }
        Ok(())
    }
}

pub(super) fn refused(message: impl Into<String>) -> Error {
    Error::Placement(CoreError::invalid_argument(message))
}
