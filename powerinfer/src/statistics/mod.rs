//! Activation statistics: how often each neuron is needed. What placement decides by.

mod error;
mod file;
mod folder;
mod torch;

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::policy::Checksum;

pub use error::{FormatError, StatisticsError};
pub use torch::{PickleError, TorchError, read_torch_vector};

/// How often each neuron of each layer was needed: counts of tokens, or any numbers that grow with
/// them. Never negative, never infinite.
///
/// They come from a file of `powerinfer profile`, from a folder `activation` of files
/// `activation_0.pt`, `activation_1.pt`, ... as `PowerInfer` publishes them, or from a running
/// [`Session`](crate::Session) that was opened with
/// [`count_neurons`](crate::SessionOptions::count_neurons).
///
/// # Examples
///
/// ```no_run
/// use powerinfer::ActivationStatistics;
///
/// let statistics = ActivationStatistics::open("activation")?;
/// for layer in 0..statistics.n_layers() {
///     let share = statistics.hottest_share(layer, 0.2);
///     println!("layer {layer}: 20 % of the neurons have {:.0} % of the work", 100.0 * share);
/// }
/// # Ok::<(), powerinfer::StatisticsError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ActivationStatistics {
    hidden_dim: usize,
    counts: Vec<f64>, // (n_layers, hidden_dim)
    tokens: Option<u64>,
    model: Option<String>,
    source: String,
}

impl ActivationStatistics {
    /// Reads a folder of `activation_<layer>.pt`, or a file that [`write`](Self::write) wrote.
    ///
    /// The layers of a folder are ordered by number. The pickles inside the files are interpreted
    /// by an allow-list: nothing in them is executed.
    ///
    /// # Errors
    ///
    /// Every [`StatisticsError`] but [`Write`](StatisticsError::Write) and
    /// [`Fraction`](StatisticsError::Fraction).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StatisticsError> {
        let path = path.as_ref();
        if path.is_dir() { folder::read(path) } else { file::read(path) }
    }

    /// Where the statistics of a model lie if nobody says otherwise: beside the model's file, with
    /// `.activations` behind its name.
    pub fn path_of(model: impl AsRef<Path>) -> PathBuf {
        let mut path = model.as_ref().as_os_str().to_owned();
        path.push(".activations");
        path.into()
    }

    /// Reads what lies beside a model's file: [`path_of`](Self::path_of), else a folder
    /// `activation`; `None` if there is neither.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_beside(model: impl AsRef<Path>) -> Result<Option<Self>, StatisticsError> {
        let model = model.as_ref();
        let places = [Self::path_of(model), model.with_file_name("activation")];
        places.into_iter().find(|place| place.exists()).map(Self::open).transpose()
    }

    /// Writes one file that [`open`](Self::open) reads, in one step: beside its place, then renamed.
    ///
    /// # Errors
    ///
    /// [`StatisticsError::Fraction`] if a count is no whole number below 2^53, which the file
    /// cannot hold; [`StatisticsError::Write`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), StatisticsError> {
        file::write(self, path.as_ref())
    }

    /// Counts (`n_layers`, `hidden_dim`) of so many tokens.
    pub(crate) fn counted(layers: &[&[u64]], tokens: u64, model: &str) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "nobody counts to 2^53")]
        let counts = layers.iter().copied().flatten().map(|&count| count as f64).collect();
        Self {
            hidden_dim: layers.first().map_or(0, |layer| layer.len()),
            counts,
            tokens: Some(tokens),
            model: Some(model.to_owned()),
            source: format!("a session of {model}"),
        }
    }

    /// Number of layers, one at least.
    pub fn n_layers(&self) -> usize {
        self.counts.len() / self.hidden_dim
    }

    /// Feed-forward neurons of a layer, one at least.
    pub fn hidden_dim(&self) -> usize {
        self.hidden_dim
    }

    /// The numbers of one layer, one for each neuron.
    ///
    /// # Panics
    ///
    /// If there is no such layer.
    pub fn layer(&self, layer: usize) -> &[f64] {
        &self.counts[layer * self.hidden_dim..][..self.hidden_dim]
    }

    /// Tokens that were counted, where that is known: folders of `.pt` files do not say.
    pub fn tokens(&self) -> Option<u64> {
        self.tokens
    }

    /// Name of the model that was counted, where that is known.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Where the numbers come from: a path, or a session.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// A digest of shape and numbers: the same for equal numbers, wherever they come from.
    pub fn fingerprint(&self) -> Checksum {
        let mut hasher = Sha256::new();
        for n in [self.n_layers(), self.hidden_dim] {
            hasher.update((n as u64).to_le_bytes());
        }
        for count in &self.counts {
            hasher.update((count + 0.0).to_le_bytes()); // -0 becomes 0
        }
        Checksum::from_digest(hasher.finalize().into())
    }

    /// Share of a layer's sum that its most needed neurons have, where `share` (0 to 1) says how
    /// many these are; 0 if none was ever needed.
    ///
    /// # Panics
    ///
    /// If there is no such layer.
    pub fn hottest_share(&self, layer: usize, share: f64) -> f64 {
        let mut counts = self.layer(layer).to_vec();
        counts.sort_unstable_by(|a, b| b.total_cmp(a));
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and the number of neurons, of which there are fewer than 2^53"
        )]
        let n = (share.clamp(0.0, 1.0) * counts.len() as f64).round() as usize;
        let all: f64 = counts.iter().sum();
        if all > 0.0 { counts[..n].iter().sum::<f64>() / all } else { 0.0 }
    }

    /// Compares the shape with that of a model.
    ///
    /// # Errors
    ///
    /// [`StatisticsError::LayerCount`] or [`StatisticsError::NeuronCount`].
    pub fn check_shape(&self, n_layers: usize, hidden_dim: usize) -> Result<(), StatisticsError> {
        let source = || self.source.clone();
        let found = self.n_layers();
        if found != n_layers {
            return Err(StatisticsError::LayerCount {
                source_name: source(),
                wanted: n_layers,
                found,
            });
        }
        let found = self.hidden_dim;
        if found != hidden_dim {
            let wanted = hidden_dim;
            return Err(StatisticsError::NeuronCount { source_name: source(), wanted, found });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
