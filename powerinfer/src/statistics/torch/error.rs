//! What can be wrong with a file of `torch.save` and with the pickle inside.

use std::io;

use zip::result::ZipError;

use super::MAX_ELEMENTS;
use super::pickle::PROTOCOL;

/// Why a file holds no vector that can be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TorchError {
    /// The file cannot be read.
    #[error("cannot read the file")]
    Read(#[from] io::Error),
    /// Written by `torch` before 1.6, or with `_use_new_zipfile_serialization=False`.
    #[error(
        "wanted the zip format of torch 1.6 and later, found the legacy format (magic 0x1950a86a20f9469cfc6c): resave it with torch.save(torch.load(path), path)"
    )]
    Legacy,
    /// No zip archive.
    #[error("wanted a zip archive of torch.save, found a file that begins with {found:02x?}")]
    NotZip {
        /// Its first bytes.
        found: Vec<u8>,
    },
    /// A broken archive.
    #[error("the zip archive is damaged: {message}")]
    Archive {
        /// What is wrong.
        message: String,
    },
    /// An archive without a part that it needs.
    #[error("wanted an entry `{name}` in the archive, found none")]
    MissingEntry {
        /// The part.
        name: String,
    },
    /// An archive with several pickles.
    #[error("wanted one entry `data.pkl` in the archive, found {found}")]
    SeveralPickles {
        /// How many.
        found: usize,
    },
    /// A part that is too long, or too short for what it should hold.
    #[error("entry `{name}`: wanted {wanted} bytes, found {found}")]
    EntrySize {
        /// The part.
        name: String,
        /// What was wanted: a number, or a limit.
        wanted: String,
        /// Its length.
        found: u64,
    },
    /// Neither of the two byte orders.
    #[error("entry `byteorder`: wanted little or big, found {found:?}")]
    ByteOrder {
        /// What it says.
        found: String,
    },
    /// The pickle describes no vector, or nothing that is allowed.
    #[error("the pickle in the archive is refused")]
    Pickle(#[from] PickleError),
    /// More elements than any model has neurons.
    #[error("wanted a vector of at most {MAX_ELEMENTS} elements in storage, found {found}")]
    TooLarge {
        /// Elements of the storage.
        found: u64,
    },
    /// A vector without elements.
    #[error("wanted a vector with one element at least, found an empty one")]
    Empty,
    /// Offset, length and stride lead out of the storage.
    #[error(
        "wanted a vector inside of its storage of {elements} elements, found {size} of them from {offset} on in steps of {stride}"
    )]
    OutOfStorage {
        /// Elements of the storage.
        elements: u64,
        /// The first.
        offset: u64,
        /// How many.
        size: u64,
        /// From one to the next.
        stride: u64,
    },
}

/// Why a pickle is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PickleError {
    /// The first instruction is not that of protocol 2.
    #[error("wanted protocol {PROTOCOL}, found {found}: save with the default pickle_protocol")]
    Protocol {
        /// The protocol, or what stands in its place.
        found: String,
    },
    /// An instruction that no vector needs.
    #[error("instruction 0x{opcode:02x} at byte {at}: a vector needs none of this kind")]
    Opcode {
        /// Its first byte.
        opcode: u8,
        /// Where it is.
        at: usize,
    },
    /// A function or class that is not allowed. It was not looked up.
    #[error("`{name}` at byte {at}: only the parts of a vector of known type are allowed")]
    Global {
        /// Module and name.
        name: String,
        /// Where it is.
        at: usize,
    },
    /// An allowed function with other arguments than those of a vector.
    #[error("`{function}` has arguments that describe no vector")]
    Call {
        /// The function.
        function: &'static str,
    },
    /// The pickle ends inside of an instruction, or without the last.
    #[error("cut short at byte {at}")]
    Truncated {
        /// Where it ends.
        at: usize,
    },
    /// More bytes after the last instruction.
    #[error("wanted the end at byte {at}, found more")]
    Trailing {
        /// Where it should end.
        at: usize,
    },
    /// An instruction for something that is not there.
    #[error("byte {at}: wanted {wanted}, found none")]
    Missing {
        /// What the instruction is for.
        wanted: &'static str,
        /// Where it is.
        at: usize,
    },
    /// A value of another kind.
    #[error("wanted {wanted}, found {found}")]
    Wanted {
        /// What was wanted.
        wanted: &'static str,
        /// What was found.
        found: &'static str,
    },
    /// A number below 0.
    #[error("{what}: wanted 0 or more, found {found}")]
    Negative {
        /// Of what.
        what: &'static str,
        /// The number.
        found: i64,
    },
    /// A number of more than 64 bits.
    #[error("byte {at}: wanted a number of at most 8 bytes, found {found}")]
    LongNumber {
        /// Its bytes.
        found: usize,
        /// Where it is.
        at: usize,
    },
    /// A text that is none.
    #[error("byte {at}: wanted UTF-8 text, found other bytes")]
    Text {
        /// Where it is.
        at: usize,
    },
    /// No vector, but a matrix or a single number.
    #[error("wanted a tensor of 1 dimension, found {found}")]
    Dimensions {
        /// Number of dimensions.
        found: usize,
    },
    /// Tuples inside of tuples inside of tuples.
    #[error("wanted tuples of at most {limit} levels, found more")]
    TooDeep {
        /// The limit.
        limit: u32,
    },
}

impl From<ZipError> for TorchError {
    fn from(error: ZipError) -> Self {
        Self::Archive { message: error.to_string() }
    }
}
