//! What of a model goes to a GPU: planned in exact bytes, without one and without the weights.

use std::ffi::CString;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::Error;
use crate::ffi::{self, CoreError, PlacementHandle, PlacementSettings, RawCounts};
use crate::file::GgufFile;
use crate::model_options::Strategy;
use crate::policy::KvType;
use crate::session::SessionOptions;
use crate::statistics::ActivationStatistics;

/// How often each neuron was active, by layer.
#[derive(Debug, Clone, PartialEq)]
pub struct ActivationCounts {
    values: Vec<f64>,
    layers: usize,
    neurons: usize,
    tokens: f64,
}

impl ActivationCounts {
    /// Takes the counts, or frequencies, of each layer's neurons. `tokens` is how many tokens they
    /// come from; without it, as many as the largest count.
    ///
    /// # Errors
    ///
    /// [`Error::Placement`] if layers have different numbers of neurons. That the numbers are those
    /// of a model, and finite, is checked by [`GgufFile::place`].
    pub fn new(layers: &[impl AsRef<[f64]>], tokens: Option<u64>) -> Result<Self, Error> {
        let neurons = layers.first().map_or(0, |layer| layer.as_ref().len());
        let odd = layers.iter().position(|layer| layer.as_ref().len() != neurons);
        if let Some(odd) = odd {
            return Err(refused(format!(
                "counts: layer 0 has {neurons} neurons, layer {odd} has {}",
                layers[odd].as_ref().len()
            )));
        }
        let values = layers.iter().flat_map(AsRef::as_ref).copied().collect();
        #[expect(clippy::cast_precision_loss, reason = "a divisor, far below 2^53")]
        let tokens = tokens.unwrap_or(0) as f64;
        Ok(Self { values, layers: layers.len(), neurons, tokens })
    }
}

impl From<&ActivationStatistics> for ActivationCounts {
    fn from(statistics: &ActivationStatistics) -> Self {
        let layers = statistics.n_layers();
        #[expect(clippy::cast_precision_loss, reason = "a divisor, far below 2^53")]
        let tokens = statistics.tokens().unwrap_or(0) as f64;
        Self {
            values: (0..layers).flat_map(|layer| statistics.layer(layer)).copied().collect(),
            layers,
            neurons: statistics.hidden_dim(),
            tokens,
        }
    }
}

/// What [`GgufFile::place`] plans for.
///
/// # Examples
///
/// ```
/// use powerinfer::PlacementOptions;
///
/// let options = PlacementOptions::new(8 << 30).context(4096);
/// assert_eq!(options.vram_budget, 8_589_934_592);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PlacementOptions {
    /// Bytes that the GPU may hold, its own needs included.
    pub vram_budget: u64,
    /// Tokens that the KV cache holds, all sequences together; 0 takes the trained length.
    pub context: u32,
    /// Tokens computed together.
    pub batch: u32,
    /// Sequences that may be in the cache at the same time.
    pub sequences: u32,
    /// Element type of the KV cache.
    pub kv_type: KvType,
    /// Neurons placed together; 0 takes the largest power of two that divides their number in a
    /// layer and is at most 256. In a GGUF file all of a layer stay together.
    pub group: u32,
    /// How often neurons are active; without it they are placed in file order, evenly over the
    /// layers.
    pub counts: Option<ActivationCounts>,
    /// Share of the neurons that a token needs, where there are no counts.
    pub active_share: f64,
    /// A file that says which neurons go to the GPU; without it they are chosen.
    pub gpu_index: Option<PathBuf>,
    /// What the model will be loaded with: [`Strategy::Dense`] and [`Strategy::Exact`] read no
    /// predictor, which gets no room then.
    pub strategy: Strategy,
}

impl PlacementOptions {
    /// Plans for a budget in bytes, one sequence of the trained length, prompts in batches of 512.
    pub fn new(vram_budget: u64) -> Self {
        Self {
            vram_budget,
            context: 0,
            batch: 512,
            sequences: 1,
            kv_type: KvType::F16,
            group: 0,
            counts: None,
            active_share: 0.1,
            gpu_index: None,
            strategy: Strategy::Default,
        }
    }

    /// Plans for a budget in bytes and a session with such options.
    pub fn for_session(vram_budget: u64, session: &SessionOptions) -> Self {
        Self::new(vram_budget)
            .context(session.context)
            .batch(session.batch)
            .sequences(session.sequences)
            .kv_type(session.kv_type)
    }

    /// Sets the tokens that the KV cache holds.
    #[must_use]
    pub fn context(mut self, tokens: u32) -> Self {
        self.context = tokens;
        self
    }

    /// Sets how many tokens are computed together.
    #[must_use]
    pub fn batch(mut self, tokens: u32) -> Self {
        self.batch = tokens;
        self
    }

    /// Sets how many sequences may be in the cache.
    #[must_use]
    pub fn sequences(mut self, sequences: u32) -> Self {
        self.sequences = sequences;
        self
    }

    /// Sets the element type of the KV cache.
    #[must_use]
    pub fn kv_type(mut self, kv_type: KvType) -> Self {
        self.kv_type = kv_type;
        self
    }

    /// Sets how many neurons are placed together.
    #[must_use]
    pub fn group(mut self, neurons: u32) -> Self {
        self.group = neurons;
        self
    }

    /// Places neurons by how often they were active.
    #[must_use]
    pub fn counts(mut self, counts: ActivationCounts) -> Self {
        self.counts = Some(counts);
        self
    }

    /// Sets what share of the neurons a token needs, where there are no counts.
    #[must_use]
    pub fn active_share(mut self, share: f64) -> Self {
        self.active_share = share;
        self
    }

    /// Places the neurons that a GPU-index file names.
    #[must_use]
    pub fn gpu_index(mut self, path: impl Into<PathBuf>) -> Self {
        self.gpu_index = Some(path.into());
        self
    }

    /// Plans for a model that is loaded with this strategy.
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }
}

/// What became of a GPU index: of [`PlacementOptions::gpu_index`], or of the one that a load found
/// beside the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GpuIndexState {
    /// None was given, or found.
    None,
    /// Its neurons are placed; it was made for this model, and these counts if there are any.
    Used,
    /// Its neurons are placed; it does not say what it was made for.
    Foreign,
    /// It was made for another model or other counts: neurons were chosen, and a load writes them
    /// there.
    Stale,
    /// It was found beside the model and does not suit budget or model: neurons were chosen. One
    /// that was named is an error then, and one that is broken always.
    Unusable,
}

/// A class of what can be placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Part {
    /// Attention with its norms.
    Attention,
    /// Keys and values; a layer's lie where its attention is.
    KvCache,
    /// Predictors.
    Predictor,
    /// Norms of the feed-forward, and the bias of the down projection.
    FfnNorm,
    /// The output with its norm; of one that is the embedding, a copy.
    Output,
    /// Rows of gate, up and down.
    Neurons,
    /// The embedding, always on the host.
    Embedding,
}

impl Part {
    /// All of them, in the order in which they are placed.
    pub const ALL: [Self; 7] = [
        Self::Attention,
        Self::KvCache,
        Self::Predictor,
        Self::FfnNorm,
        Self::Output,
        Self::Neurons,
        Self::Embedding,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Attention => "attention",
            Self::KvCache => "KV cache",
            Self::Predictor => "predictor",
            Self::FfnNorm => "feed-forward norm",
            Self::Output => "output",
            Self::Neurons => "neurons",
            Self::Embedding => "embedding",
        }
    }

    fn to_raw(self) -> u32 {
        match self {
            Self::Attention => powerinfer_sys::PI_PART_ATTENTION,
            Self::KvCache => powerinfer_sys::PI_PART_KV_CACHE,
            Self::Predictor => powerinfer_sys::PI_PART_PREDICTOR,
            Self::FfnNorm => powerinfer_sys::PI_PART_FFN_NORM,
            Self::Output => powerinfer_sys::PI_PART_OUTPUT,
            Self::Neurons => powerinfer_sys::PI_PART_NEURONS,
            Self::Embedding => powerinfer_sys::PI_PART_EMBEDDING,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A plan as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PlacementInfo {
    /// Layers of the model.
    pub n_layers: u32,
    /// Neurons of a layer.
    pub hidden_dim: u32,
    /// Neurons that were placed together.
    pub group: u32,
    /// Neurons were chosen, and expectations made, by counts.
    pub has_counts: bool,
    /// What became of the GPU index.
    pub gpu_index: GpuIndexState,
    /// What the plan is for; never [`Strategy::Default`].
    pub strategy: Strategy,
    /// Bytes that the plan may have.
    pub vram_budget: u64,
    /// What the GPU needs itself: context, workspaces and scratch.
    pub reserve: u64,
    /// Bytes that the plan has, with the reserve; 0 if nothing fits beside it.
    pub device_bytes: u64,
    /// What everything else leaves for neurons.
    pub neuron_budget: u64,
    /// Neurons on the GPU, all layers together.
    pub n_neurons: u64,
    /// Share of the activations that neurons on the GPU have; without counts their share of the
    /// neurons, as if all fired equally often.
    pub activation_share: f64,
}

/// Where one class is, and where a token is expected to read it.
///
/// Dense parts are read whole, neurons as often as they fire, and the KV cache counts as if it were
/// full.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PartPlacement {
    /// The class.
    pub part: Part,
    /// Its bytes.
    pub bytes: u64,
    /// Of these, on the GPU.
    pub device_bytes: u64,
    /// Bytes that the GPU reads for a token.
    pub device_read: f64,
    /// Bytes that the processor reads for a token.
    pub host_read: f64,
}

/// What of one layer is on the GPU.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LayerPlacement {
    /// Bytes of attention and norms.
    pub attention: u64,
    /// Bytes of keys and values.
    pub kv_cache: u64,
    /// Bytes of the predictor.
    pub predictor: u64,
    /// Bytes of the feed-forward's norm.
    pub ffn_norm: u64,
    /// Bytes of neurons.
    pub neurons: u64,
    /// How many neurons that are.
    pub n_neurons: u32,
    /// As [`PlacementInfo::activation_share`], of this layer.
    pub activation_share: f64,
}

/// What of a model goes to a GPU.
///
/// Planned in this order, until the first that does not fit: of each layer attention, norms and KV
/// cache together; predictors, if the strategy reads them; the output; groups of neurons, those with
/// most activations first. A larger budget only adds to a plan, and no plan exceeds its budget.
#[derive(Debug)]
pub struct Placement {
    handle: PlacementHandle,
    info: PlacementInfo,
    gpu_index: Option<PathBuf>,
}

impl GgufFile {
    /// Plans what of the file's model goes to a GPU. Needs neither a GPU nor the weights.
    ///
    /// # Errors
    ///
    /// [`Error::Placement`] if the file has no model that can run, or none with this strategy, if
    /// options do not fit the model,
    /// or if the GPU index cannot be used or does not fit the budget. One that was made for
    /// something else is no error: see [`PlacementInfo::gpu_index`].
    pub fn place(&self, options: &PlacementOptions) -> Result<Placement, Error> {
        let gpu_index = options.gpu_index.as_deref().map(c_path).transpose()?;
        let counts = options.counts.as_ref().map(|counts| RawCounts {
            values: &counts.values,
            n_layers: count(counts.layers),
            n_neurons: count(counts.neurons),
            tokens: counts.tokens,
        });
        let settings = PlacementSettings {
            n_ctx: options.context,
            n_sequences: options.sequences,
            n_batch: options.batch,
            kv_dtype: options.kv_type.dtype_id(),
            group: options.group,
            vram_budget: options.vram_budget,
            counts,
            active_share: options.active_share,
            gpu_index: gpu_index.as_deref(),
            strategy: options.strategy.to_raw(),
        };
        let handle = PlacementHandle::plan(self.handle(), &settings).map_err(Error::Placement)?;
        let info = PlacementInfo::of(&handle);
        Ok(Placement { handle, info, gpu_index: options.gpu_index.clone() })
    }
}

impl Placement {
    /// The plan as a whole.
    pub fn info(&self) -> &PlacementInfo {
        &self.info
    }

    /// The GPU-index file that was given, or found beside the model.
    pub fn gpu_index(&self) -> Option<&Path> {
        self.gpu_index.as_deref()
    }

    /// The GPU-index file, where it was made for something else.
    pub(crate) fn stale_index(&self) -> Option<&Path> {
        self.gpu_index().filter(|_| self.info.gpu_index == GpuIndexState::Stale)
    }

    /// Says what budget was given, where a part of it was planned with.
    pub(crate) fn with_budget(mut self, vram_budget: u64) -> Self {
        self.info.vram_budget = vram_budget;
        self
    }

    /// Says that an index was found and not used.
    pub(crate) fn without_index(mut self, path: PathBuf) -> Self {
        self.info.gpu_index = GpuIndexState::Unusable;
        self.gpu_index = Some(path);
        self
    }

    /// Where each class is, in the order of [`Part::ALL`].
    pub fn parts(&self) -> impl Iterator<Item = PartPlacement> + '_ {
        Part::ALL.into_iter().map(|part| {
            let raw = self.handle.part(part.to_raw());
            PartPlacement {
                part,
                bytes: raw.n_bytes,
                device_bytes: raw.device_bytes,
                device_read: raw.device_read,
                host_read: raw.host_read,
            }
        })
    }

    /// What of each layer is on the GPU.
    pub fn layers(&self) -> impl ExactSizeIterator<Item = LayerPlacement> + '_ {
        let n_layers = usize::try_from(self.info.n_layers).unwrap_or(usize::MAX);
        (0..n_layers).map(|layer| {
            let raw = self.handle.layer(count(layer));
            let bytes = |part: Part| raw.device_bytes[part.to_raw() as usize];
            LayerPlacement {
                attention: bytes(Part::Attention),
                kv_cache: bytes(Part::KvCache),
                predictor: bytes(Part::Predictor),
                ffn_norm: bytes(Part::FfnNorm),
                neurons: bytes(Part::Neurons),
                n_neurons: raw.n_neurons,
                activation_share: raw.activation_share,
            }
        })
    }

    /// Neurons of a layer on the GPU, ascending.
    ///
    /// # Errors
    ///
    /// [`Error::Placement`] if the model has no such layer.
    pub fn neurons(&self, layer: u32) -> Result<&[i32], Error> {
        self.handle.neurons(layer).map_err(Error::Placement)
    }

    pub(crate) fn handle(&self) -> &PlacementHandle {
        &self.handle
    }

    /// Writes the neurons as a GPU-index file, `*.generated.gpuidx`, with fingerprints of the model
    /// and the counts that other readers ignore. The file appears only when it is whole.
    ///
    /// # Errors
    ///
    /// [`Error::Placement`] if the file cannot be written.
    pub fn save_gpu_index(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = c_path(path.as_ref())?;
        self.handle.save_gpu_index(&path).map_err(Error::Placement)
    }
}

impl PlacementInfo {
    fn of(handle: &PlacementHandle) -> Self {
        let raw = handle.info();
        Self {
            n_layers: raw.n_layers,
            hidden_dim: raw.hidden_dim,
            group: raw.group,
            has_counts: raw.has_counts != 0,
            gpu_index: match raw.gpu_index {
                powerinfer_sys::PI_GPU_INDEX_USED => GpuIndexState::Used,
                powerinfer_sys::PI_GPU_INDEX_FOREIGN => GpuIndexState::Foreign,
                powerinfer_sys::PI_GPU_INDEX_STALE => GpuIndexState::Stale,
                _ => GpuIndexState::None,
            },
            strategy: Strategy::from_resolved(raw.strategy),
            vram_budget: raw.vram_budget,
            reserve: raw.reserve,
            device_bytes: raw.device_bytes,
            neuron_budget: raw.neuron_budget,
            n_neurons: raw.n_neurons,
            activation_share: raw.activation_share,
        }
    }
}

/// The budget in bytes for a GPU with so much free memory: all but 256 MiB, which its display and
/// its driver may come to need.
pub fn default_vram_budget(free_bytes: u64) -> u64 {
    ffi::default_vram_budget(free_bytes)
}

fn refused(message: impl Into<String>) -> Error {
    Error::Placement(CoreError::invalid_argument(message))
}

fn c_path(path: &Path) -> Result<CString, Error> {
    CString::new(path.as_os_str().as_encoded_bytes())
        .map_err(|_| refused("a path cannot contain a zero byte"))
}

/// A number for the core, which refuses those that are too large anyway.
fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
