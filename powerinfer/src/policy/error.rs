//! What can be wrong with a policy, its values, or the file it names.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::sampling::SamplingError;

/// A place in the text of a policy, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} column {}", self.line, self.column)
    }
}

/// The reason why a policy is refused.
///
/// Places are missing where a policy was built in code instead of read from text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The text is longer than any policy should be.
    #[error("wanted a policy of at most {limit} bytes, found {bytes}")]
    TooLarge {
        /// Its length, or what was read of it before giving up.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The file is not UTF-8 text.
    #[error("wanted UTF-8 text, found other bytes in line {line}")]
    NotUtf8 {
        /// The first such line.
        line: usize,
    },
    /// The text holds no values.
    #[error("the policy is empty; wanted at least `model_path`")]
    Empty,
    /// Lists and maps are nested deeper than any policy needs.
    #[error("wanted at most {limit} levels of nesting, found more in line {line}")]
    TooDeep {
        /// The limit.
        limit: usize,
        /// Where it is passed.
        line: usize,
    },
    /// Aliases expand to more values than any policy needs.
    #[error("wanted at most {limit} values, found more (do aliases repeat themselves?)")]
    TooManyValues {
        /// The limit.
        limit: usize,
    },
    /// The text is not YAML.
    #[error("not YAML: {message}{}", at(place.as_ref()))]
    Syntax {
        /// What the parser said.
        message: String,
        /// Where, if the parser said so.
        place: Option<Place>,
    },
    /// A section has a key that means nothing.
    #[error(
        "line {line} column {column}: {} has no key `{key}`{}",
        section_name(section),
        did_you_mean(nearest.as_ref())
    )]
    UnknownKey {
        /// The key.
        key: String,
        /// The path of its section; empty at the top.
        section: String,
        /// Line of the key.
        line: usize,
        /// Column of the key.
        column: usize,
        /// The known key that it resembles.
        nearest: Option<String>,
    },
    /// A key is given twice in a section.
    #[error("line {line} column {column}: {} has `{key}` twice", section_name(section))]
    DuplicateKey {
        /// The key.
        key: String,
        /// The path of its section; empty at the top.
        section: String,
        /// Line of the second.
        line: usize,
        /// Column of the second.
        column: usize,
    },
    /// A key that every policy needs is missing.
    #[error("wanted the key `{key}`, found none")]
    MissingKey {
        /// The key.
        key: &'static str,
    },
    /// A value has the wrong type, or is not one of the known names.
    #[error("{message}{}", at(place.as_ref()))]
    WrongType {
        /// The path of the value with what was wanted and found.
        message: String,
        /// Where it is.
        place: Option<Place>,
    },
    /// A value is of the right type but cannot be used.
    #[error("{field}: wanted {wanted}, found {found}{}", at(place.as_ref()))]
    OutOfRange {
        /// The path of the value.
        field: String,
        /// What was wanted.
        wanted: String,
        /// What was found.
        found: String,
        /// Where it is.
        place: Option<Place>,
    },
    /// A sampling option of `generation` cannot be used.
    #[error("generation{}", at(place.as_ref()))]
    Sampling {
        /// Which, and why.
        source: SamplingError,
        /// Where it is.
        place: Option<Place>,
    },
    /// The model is locked into memory that the host does not have.
    #[error(
        "runtime.lock_memory is set, but the model has {model_bytes} bytes and the host {memory_bytes}"
    )]
    MemoryTooSmall {
        /// Size of the model file.
        model_bytes: u64,
        /// Memory of the host.
        memory_bytes: u64,
    },
    /// The model needs something that is not built yet.
    #[error("not supported yet: {what} ({reason})")]
    NotSupportedYet {
        /// What it needs.
        what: &'static str,
        /// Where this is known from.
        reason: String,
    },
    /// The context is longer than the model was trained for and no rope scaling is in the file.
    #[error(
        "runtime.context_size: wanted at most the {trained} tokens that the model was trained with (it has no rope scaling), found {wanted}"
    )]
    ContextTooLong {
        /// The policy's context size.
        wanted: u32,
        /// The model's.
        trained: u32,
    },
    /// The sparsity strategy needs something that the model lacks.
    #[error("runtime.sparsity: `{strategy}` needs {needs}; use `default` or `{instead}`")]
    StrategyNeeds {
        /// The chosen strategy.
        strategy: &'static str,
        /// What the model lacks.
        needs: &'static str,
        /// A strategy that works.
        instead: &'static str,
    },
    /// A path begins with `~`, and the home folder is not known.
    #[error("model_path: wanted the variable HOME for `~`, found none")]
    NoHome,
    /// A checksum is neither a digest nor a placeholder.
    #[error(
        "checksum: wanted \"sha256:\" and 64 hexadecimal digits, or \"sha256:unset\", found {found:?}{}",
        at(place.as_ref())
    )]
    MalformedChecksum {
        /// The text.
        found: String,
        /// Where it is.
        place: Option<Place>,
    },
    /// The file is not the one that the policy means.
    #[error("checksum of {}: wanted {wanted}, found {found}", path.display())]
    ChecksumMismatch {
        /// The file.
        path: PathBuf,
        /// The policy's digest.
        wanted: String,
        /// The file's.
        found: String,
    },
    /// A lock file is no lock file.
    #[error("lock file {}: {message}", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// Model, policy or engine are not those of the lock file.
    #[error(
        "not what {} says: {}; if that is meant, write it again with `powerinfer lock`",
        path.display(),
        list(differences)
    )]
    Drift {
        /// The lock file.
        path: PathBuf,
        /// Every difference.
        differences: Vec<super::Drift>,
    },
    /// The policy cannot be written as YAML.
    #[error("cannot write the policy as YAML: {message}")]
    Write {
        /// What the writer said.
        message: String,
    },
}

fn at(place: Option<&Place>) -> String {
    place.map_or_else(String::new, |place| format!(" ({place})"))
}

fn list(differences: &[super::Drift]) -> String {
    let texts: Vec<String> = differences.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

fn section_name(section: &str) -> String {
    if section.is_empty() { "the policy".to_owned() } else { format!("`{section}`") }
}

fn did_you_mean(nearest: Option<&String>) -> String {
    nearest.map_or_else(String::new, |key| format!("; did you mean `{key}`?"))
}
