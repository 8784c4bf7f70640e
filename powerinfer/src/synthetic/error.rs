//! What can go wrong while a synthetic model is written.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::dtype::DType;

/// Reason why a synthetic model could not be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SyntheticError {
    /// A field of the specification has a value that no file can be made from.
    #[error("synthetic model: {field} is {found}, want {wanted}")]
    InvalidSpec {
        /// Name of the field of [`SyntheticSpec`](super::SyntheticSpec).
        field: &'static str,
        /// Its value.
        found: String,
        /// What it has to be.
        wanted: String,
    },
    /// No preset or weight type has this name.
    #[error("unknown {what} {name:?}, want one of: {known}")]
    UnknownName {
        /// What was to be named.
        what: &'static str,
        /// What was asked for.
        name: String,
        /// All names, separated by commas.
        known: String,
    },
    /// The container rules refuse what the writer was given.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// The core refused to quantise a row.
    #[error("cannot quantise a row of {tensor}")]
    Quantize {
        /// Name of the tensor.
        tensor: String,
        /// What the core said.
        source: crate::Error,
    },
    /// The system refused to create, write or rename a file.
    #[error("cannot write {}; check the folder, its permissions and the free space", path.display())]
    Io {
        /// The file that was asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system names no folder for cached files.
    #[error("no place to keep the synthetic model: set XDG_CACHE_HOME or HOME")]
    NoCacheFolder,
    /// The disk of the cached files is too full.
    #[error("the synthetic model takes {:.2} GB, and {} has {:.2} GB free, want {:.2} GB: free \
        some, or set XDG_CACHE_HOME to another disk", gigabytes(*bytes), folder.display(),
        gigabytes(*available), gigabytes(*wanted))]
    DiskFull {
        /// Where the file was to be.
        folder: PathBuf,
        /// About the size of the file.
        bytes: u64,
        /// What is free on the disk.
        available: u64,
        /// What has to be free: the file and a reserve.
        wanted: u64,
    },
    /// The file does not fit into the memory of this process.
    #[error("a model of {bytes} bytes does not fit into memory; write it to a file")]
    TooLargeForMemory {
        /// Size of the whole file.
        bytes: u64,
    },
}

/// A broken rule of the GGUF container, found before anything is written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ContainerError {
    /// Two metadata values have the same key.
    #[error("metadata key {0:?} was given twice")]
    DuplicateKey(String),
    /// Two tensors have the same name.
    #[error("tensor {0:?} was given twice")]
    DuplicateTensor(String),
    /// A tensor name is empty or longer than readers accept.
    #[error("tensor name {name:?} has {} bytes, want 1 to {max}", name.len())]
    TensorName {
        /// The name.
        name: String,
        /// Longest accepted name in bytes.
        max: usize,
    },
    /// A tensor has no dimension, too many, or an empty one.
    #[error("tensor {name:?} has the shape {ne:?}, want 1 to 4 dimensions of at least 1")]
    TensorShape {
        /// Name of the tensor.
        name: String,
        /// Its shape, row length first.
        ne: Vec<u64>,
    },
    /// The row length is not a whole number of blocks.
    #[error("tensor {name:?}: rows of {row} elements cannot be {dtype}, want a multiple of {}",
        dtype.block_elements())]
    RowLength {
        /// Name of the tensor.
        name: String,
        /// Elements of a row.
        row: u64,
        /// Its element type.
        dtype: DType,
    },
    /// Sizes exceed what 64 bits can address.
    #[error("tensor {0:?} ends beyond what 64-bit offsets can address")]
    TooLarge(String),
}

#[expect(clippy::cast_precision_loss, reason = "sizes are shown with three digits")]
fn gigabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}
