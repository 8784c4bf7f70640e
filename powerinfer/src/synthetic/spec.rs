//! What a synthetic model is to look like, its presets, and which specifications are refused.

use std::fmt::Display;
use std::str::FromStr;

use super::activity::Activity;
use super::design;
use super::error::SyntheticError;
use super::random::{BLOCK, TOSSES};
use super::vocabulary;
use super::weight_type::WeightType;

/// Model family of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// RMS norm, rotary positions, gate with ReLU.
    Llama,
    /// As `Llama`, with ReLU on gate and up.
    Bamboo,
    /// Layer norm, attention and feed-forward in parallel, no gate.
    Falcon,
    /// Layer norm, learned positions, biases, no gate, output tied to the embedding.
    Opt,
}

impl Architecture {
    /// Name in the metadata.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Bamboo => "bamboo",
            Self::Falcon => "falcon",
            Self::Opt => "opt",
        }
    }

    /// Whether neurons have a gate row beside the up row.
    pub const fn is_gated(self) -> bool {
        matches!(self, Self::Llama | Self::Bamboo)
    }
}

/// Loader that the file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// Magic `PWRI`: transposed down projections, predictors if a rank is set.
    Sparse,
    /// Magic `GGUF`: the same weights with plain down projections and no predictors.
    Dense,
}

/// Sizes of a model. The head width is `dim / n_heads`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Layers.
    pub n_layers: u32,
    /// Width of the residual stream.
    pub dim: u32,
    /// Feed-forward neurons of a layer.
    pub hidden_dim: u32,
    /// Query heads.
    pub n_heads: u32,
    /// Key and value heads.
    pub n_kv_heads: u32,
    /// Tokens in the vocabulary.
    pub vocab_size: u32,
    /// Context length that the file claims to be trained for.
    pub context_length: u32,
}

/// Named shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// 2 layers of 256 and 1280 neurons, for tests.
    Tiny,
    /// 1.1 billion parameters: 22 layers of 2048, 5632 neurons, 4 key/value heads.
    B1,
    /// Llama 7B: 32 layers of 4096, 11008 neurons.
    B7,
    /// Llama 13B: 40 layers of 5120, 13824 neurons.
    B13,
    /// Bamboo 7B: 32 layers of 4096, 14336 neurons, 8 key/value heads, ReLU on gate and up.
    Bamboo7B,
}

impl Preset {
    /// All presets.
    pub const ALL: [Self; 5] = [Self::Tiny, Self::B1, Self::B7, Self::B13, Self::Bamboo7B];

    /// Name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tiny => "tiny",
            Self::B1 => "1b",
            Self::B7 => "7b",
            Self::B13 => "13b",
            Self::Bamboo7B => "bamboo-7b",
        }
    }

    /// Sizes of the preset and its predictor rank.
    const fn sizes(self) -> (Shape, u32) {
        let (n_layers, dim, hidden_dim, n_heads, n_kv_heads, vocab_size, rank) = match self {
            Self::Tiny => (2, 256, 1280, 8, 4, 512, 128),
            Self::B1 => (22, 2048, 5632, 32, 4, 32000, 512),
            Self::B7 => (32, 4096, 11008, 32, 32, 32000, 1024),
            Self::B13 => (40, 5120, 13824, 40, 40, 32000, 1024),
            Self::Bamboo7B => (32, 4096, 14336, 32, 8, 32000, 1024),
        };
        let context_length = 2048;
        let shape =
            Shape { n_layers, dim, hidden_dim, n_heads, n_kv_heads, vocab_size, context_length };
        (shape, rank)
    }
}

impl FromStr for Preset {
    type Err = SyntheticError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|preset| preset.name() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            SyntheticError::UnknownName { what: "model shape", name: name.to_owned(), known }
        })
    }
}

/// A synthetic model: everything that decides its bytes.
///
/// # Examples
///
/// ```
/// use powerinfer::synthetic::{Preset, SyntheticSpec};
///
/// let spec = SyntheticSpec { active_share: 0.2, seed: 7, ..SyntheticSpec::preset(Preset::Tiny) };
/// spec.validate()?;
/// # Ok::<(), powerinfer::synthetic::SyntheticError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SyntheticSpec {
    /// Sizes.
    pub shape: Shape,
    /// Family.
    pub architecture: Architecture,
    /// Loader that the file is for.
    pub container: Container,
    /// Type of the weight matrices.
    pub dtype: WeightType,
    /// Type of the output matrix; `None`: what a quantiser of this format chooses, `q6_k` for
    /// quantised models, `q8_0` where `q6_k` does not fit, for falcon and for `q8_0` models.
    pub output_dtype: Option<WeightType>,
    /// Share of the neurons that fire for a token, on average.
    pub active_share: f64,
    /// Exponent of the power law over the neurons: 0 makes all equally active, 1.44 gives
    /// the hottest fifth about 80 % of the firings at an active share of 0.1.
    pub skew: f64,
    /// Hidden units of the predictors; `None` leaves them out of the file.
    pub predictor_rank: Option<u32>,
    /// Same specification, same seed: same bytes.
    pub seed: u64,
}

impl SyntheticSpec {
    /// A sparse `q4_0` model of a named shape with a tenth of the neurons active.
    pub const fn preset(preset: Preset) -> Self {
        let (shape, rank) = preset.sizes();
        let is_bamboo = matches!(preset, Preset::Bamboo7B);
        Self {
            shape,
            architecture: if is_bamboo { Architecture::Bamboo } else { Architecture::Llama },
            container: Container::Sparse,
            dtype: WeightType::Q4_0,
            output_dtype: None,
            active_share: 0.1,
            skew: 1.44,
            predictor_rank: Some(rank),
            seed: 1,
        }
    }

    /// Type of the output matrix in the file.
    pub fn resolved_output_dtype(&self) -> WeightType {
        match (self.output_dtype, self.dtype) {
            (Some(dtype), _) => dtype,
            (None, dtype) if dtype.is_float() => dtype,
            (None, WeightType::Q8_0) => WeightType::Q8_0,
            (None, _)
                if self.architecture == Architecture::Falcon
                    || !WeightType::Q6K.fits(self.shape.dim) =>
            {
                WeightType::Q8_0
            }
            (None, _) => WeightType::Q6K,
        }
    }

    /// Type of the predictor matrices in the file: only `q4_0` models have them in 4 bits.
    pub const fn predictor_dtype(&self) -> WeightType {
        match self.dtype {
            WeightType::F32 | WeightType::F16 | WeightType::Bf16 | WeightType::Q4_0 => self.dtype,
            WeightType::Q5_0
            | WeightType::Q8_0
            | WeightType::Q4K
            | WeightType::Q5K
            | WeightType::Q6K => WeightType::Q5_0,
        }
    }

    /// Checks that a file can be made from this specification.
    ///
    /// # Errors
    ///
    /// [`SyntheticError::InvalidSpec`] names the first field that cannot be, and what it has to be.
    pub fn validate(&self) -> Result<(), SyntheticError> {
        self.validate_shape()?;
        self.validate_heads()?;
        self.validate_types()?;
        self.validate_activity()
    }

    fn validate_shape(&self) -> Result<(), SyntheticError> {
        let block = u32::try_from(BLOCK).expect("a small constant");
        let shape = &self.shape;
        range("n_layers", shape.n_layers, 1, 1024)?;
        range("dim", shape.dim, 2 * block, 1 << 16)?;
        multiple("dim", shape.dim, block)?;
        range("hidden_dim", shape.hidden_dim, block, 1 << 20)?;
        multiple("hidden_dim", shape.hidden_dim, block)?;
        range("vocab_size", shape.vocab_size, vocabulary::MIN_SIZE, vocabulary::MAX_SIZE)?;
        let longest =
            if self.architecture == Architecture::Opt { design::OPT_POSITIONS } else { 1 << 24 };
        range("context_length", shape.context_length, 1, longest)
    }

    fn validate_heads(&self) -> Result<(), SyntheticError> {
        let Shape { dim, n_heads, n_kv_heads, .. } = self.shape;
        range("n_heads", n_heads, 1, dim)?;
        // Rotary positions turn pairs of elements.
        if !dim.is_multiple_of(2 * n_heads) {
            return Err(invalid("n_heads", n_heads, format!("a divisor of dim / 2 = {}", dim / 2)));
        }
        range("n_kv_heads", n_kv_heads, 1, n_heads)?;
        if !n_heads.is_multiple_of(n_kv_heads) {
            return Err(invalid(
                "n_kv_heads",
                n_kv_heads,
                format!("a divisor of n_heads = {n_heads}"),
            ));
        }
        if self.architecture == Architecture::Opt && n_kv_heads != n_heads {
            let wanted = format!("n_heads = {n_heads}: opt has no grouped heads");
            return Err(invalid("n_kv_heads", n_kv_heads, wanted));
        }
        Ok(())
    }

    fn validate_types(&self) -> Result<(), SyntheticError> {
        if !self.dtype.fits(self.shape.dim) {
            let wanted = format!("a type of blocks that divide dim = {}", self.shape.dim);
            return Err(invalid("dtype", self.dtype, wanted));
        }
        if self.container == Container::Dense && !self.dtype.fits(self.shape.hidden_dim) {
            let wanted = format!(
                "a multiple of {} for dense {}",
                self.dtype.dtype().block_elements(),
                self.dtype
            );
            return Err(invalid("hidden_dim", self.shape.hidden_dim, wanted));
        }
        if self.architecture == Architecture::Opt && self.output_dtype.is_some() {
            let found = self.resolved_output_dtype();
            return Err(invalid(
                "output_dtype",
                found,
                "none: opt has no output matrix".to_owned(),
            ));
        }
        if !self.resolved_output_dtype().fits(self.shape.dim) {
            let wanted = format!("a type of blocks that divide dim = {}", self.shape.dim);
            return Err(invalid("output_dtype", self.resolved_output_dtype(), wanted));
        }
        Ok(())
    }

    fn validate_activity(&self) -> Result<(), SyntheticError> {
        let shares = Activity::min_share()
            ..=Activity::max_share(design::second_condition(self.architecture));
        if !shares.contains(&self.active_share) {
            let wanted = format!("{} to {:.3}", shares.start(), shares.end());
            return Err(invalid("active_share", self.active_share, wanted));
        }
        if !(0.0..=4.0).contains(&self.skew) {
            return Err(invalid("skew", self.skew, "0 to 4".to_owned()));
        }
        if let Some(rank) = self.predictor_rank {
            let block = u32::try_from(BLOCK).expect("a small constant");
            // A neuron combines one projection per toss; two hidden units make a projection.
            let tosses = u32::try_from(TOSSES).expect("a small constant");
            range("predictor_rank", rank, (2 * tosses + block).next_multiple_of(block), 1 << 14)?;
            multiple("predictor_rank", rank, block)?;
        }
        Ok(())
    }
}

fn invalid(field: &'static str, found: impl Display, wanted: String) -> SyntheticError {
    SyntheticError::InvalidSpec { field, found: found.to_string(), wanted }
}

fn range(field: &'static str, found: u32, low: u32, high: u32) -> Result<(), SyntheticError> {
    if (low..=high).contains(&found) {
        Ok(())
    } else {
        Err(invalid(field, found, format!("{low} to {high}")))
    }
}

fn multiple(field: &'static str, found: u32, of: u32) -> Result<(), SyntheticError> {
    if found.is_multiple_of(of) {
        Ok(())
    } else {
        Err(invalid(field, found, format!("a multiple of {of}")))
    }
}
