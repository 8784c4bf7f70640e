//! What can be wrong with activation statistics.

use std::io;
use std::path::PathBuf;

use super::torch::TorchError;

/// Why activation statistics cannot be read, written or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatisticsError {
    /// A file or folder cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A folder without a single file of statistics.
    #[error("{}: wanted activation_0.pt and a file for each further layer, found none", folder.display())]
    NoFiles {
        /// The folder.
        folder: PathBuf,
    },
    /// A name whose number is none.
    #[error("{}: wanted the number of a layer between `activation_` and `.pt`: rename or remove the file", path.display())]
    FileName {
        /// The file.
        path: PathBuf,
    },
    /// Two files for one layer.
    #[error("layer {layer}: wanted one file, found {} and {}: remove one", first.display(), second.display())]
    DuplicateLayer {
        /// The layer.
        layer: usize,
        /// One of the files.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// A layer without a file below one that has it.
    #[error("{}: wanted activation_{layer}.pt, since there is one for layer {highest}; found none", folder.display())]
    MissingLayer {
        /// The folder.
        folder: PathBuf,
        /// The first layer without a file.
        layer: usize,
        /// The last layer with a file.
        highest: usize,
    },
    /// A file that `torch` did not write, or that holds something else than one vector.
    #[error("{}: no vector of numbers in a file of torch", path.display())]
    Torch {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: TorchError,
    },
    /// A file that is none of ours, or a broken one.
    #[error("{}: no activation statistics", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: FormatError,
    },
    /// Not as many layers as the model has.
    #[error(
        "{source_name}: wanted statistics of {wanted} layers, found {found}: are they of this model?"
    )]
    LayerCount {
        /// Where the statistics come from.
        source_name: String,
        /// Layers of the model.
        wanted: usize,
        /// Layers of the statistics.
        found: usize,
    },
    /// Not as many neurons in a layer as the model, or the first layer, has.
    #[error(
        "{source_name}: wanted numbers of {wanted} neurons, found {found}: are they of this model?"
    )]
    NeuronCount {
        /// Where the statistics come from.
        source_name: String,
        /// Neurons of the model or the first layer.
        wanted: usize,
        /// Neurons of the statistics.
        found: usize,
    },
    /// A number that counts nothing.
    #[error("{}: neuron {neuron}: wanted a finite number of 0 or more, found {found}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The neuron, counted from 0.
        neuron: usize,
        /// The number: negative, infinite or none.
        found: f64,
    },
    /// A number that a file of ours cannot hold.
    #[error(
        "layer {layer}, neuron {neuron}: wanted a whole number below 2^53 to write, found {found}"
    )]
    Fraction {
        /// The layer.
        layer: usize,
        /// The neuron.
        neuron: usize,
        /// The number.
        found: f64,
    },
}

/// Why a file is not one that [`write`](super::ActivationStatistics::write) wrote.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The first line is another one.
    #[error(
        "wanted a file of `powerinfer profile`, or a folder with activation_0.pt and so on; found something else"
    )]
    Foreign,
    /// The first line is not what this version writes.
    #[error("the first line is damaged")]
    Header(#[source] serde_json::Error),
    /// Written by another version.
    #[error("wanted version {wanted} of the format, found {found}: count again with this program")]
    Version {
        /// The version of this program.
        wanted: u64,
        /// The version of the file.
        found: u64,
    },
    /// A model without layers or neurons.
    #[error(
        "wanted a layer and a neuron at least, found {n_layers} layers of {hidden_dim} neurons"
    )]
    Empty {
        /// Layers.
        n_layers: u64,
        /// Neurons of each.
        hidden_dim: u64,
    },
    /// The file has not as many bytes as its numbers need.
    #[error("wanted {wanted} numbers after the first line, found {found}: the file is cut short")]
    Truncated {
        /// Numbers of the first line's shape.
        wanted: u64,
        /// Numbers that are there.
        found: u64,
    },
    /// More bytes than numbers.
    #[error("wanted {wanted} numbers after the first line, found more behind them")]
    Trailing {
        /// Numbers of the first line's shape.
        wanted: u64,
    },
    /// A number that is none of ours.
    #[error("number {index}: wanted a whole number below 2^53 in the shortest form")]
    Number {
        /// Which one, counted from 0.
        index: u64,
    },
    /// The numbers are not those that were written.
    #[error("wanted numbers of the fingerprint {wanted}, found {found}: the file is damaged")]
    Fingerprint {
        /// That of the first line.
        wanted: String,
        /// That of the numbers.
        found: String,
    },
}
