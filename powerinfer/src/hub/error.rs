//! What can go wrong between a model's name and its file.

use std::io;
use std::path::PathBuf;

use crate::policy::{Checksum, PolicyError};

/// The reason why a model was not found, fetched or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// A text is no name of a model.
    #[error(
        "{found:?} is no name of a model: wanted letters, digits, `.`, `_` and `-`, at most 96 of \
         them, a letter or a digit first"
    )]
    Name {
        /// The text.
        found: String,
    },
    /// A text is no source of a model.
    #[error("{found:?}: wanted a name, hf://ORG/REPO[@REVISION][/FILE] or https://..., {reason}")]
    Source {
        /// The text.
        found: String,
        /// Why it is none.
        reason: &'static str,
    },
    /// The catalogue has no model of this name.
    #[error(
        "no known model is called {name:?}{}; the known ones are {known}, and others are named as \
         hf://ORG/REPO or https://...",
        did_you_mean(nearest.as_ref())
    )]
    UnknownName {
        /// The name.
        name: String,
        /// The known name that it resembles.
        nearest: Option<String>,
        /// All known names.
        known: String,
    },
    /// The model is known, but not where its files are.
    #[error(
        "{name}: no repository is known that has this model's files; name one as hf://ORG/REPO"
    )]
    NoRepository {
        /// The model.
        name: String,
    },
    /// No model of this name was pulled.
    #[error(
        "no model {name:?} was pulled{}; `powerinfer list` shows what there is",
        did_you_mean(nearest.as_ref())
    )]
    NotPulled {
        /// The name.
        name: String,
        /// A pulled model whose name resembles it.
        nearest: Option<String>,
    },
    /// A model was pulled, but cannot be run.
    #[error("{name} is not whole: {problem}; pull it again")]
    Incomplete {
        /// The model.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Another model has the name.
    #[error(
        "the name {name} is that of {found}, wanted {wanted}: give it another name (--name), or \
         remove that one first (powerinfer rm {name})"
    )]
    NameTaken {
        /// The name.
        name: String,
        /// The source of the model that has it.
        found: String,
        /// The source that was asked for.
        wanted: String,
    },
    /// Another process has the model in its hands.
    #[error("{name} is being pulled or removed by another process; wait for it")]
    Busy {
        /// The model.
        name: String,
    },
    /// Neither `POWERINFER_MODELS` nor a home folder says where models are.
    #[error("wanted a folder for models: set POWERINFER_MODELS or HOME")]
    NoFolder,
    /// Something must be fetched, which offline mode forbids.
    #[error(
        "{what} would have to be fetched, but this is offline mode (--offline, HF_HUB_OFFLINE)"
    )]
    Offline {
        /// What would be fetched.
        what: String,
    },
    /// A variable of the environment cannot be used.
    #[error("{variable}: wanted {wanted}, found {found:?}")]
    Variable {
        /// Its name.
        variable: &'static str,
        /// What is accepted.
        wanted: &'static str,
        /// Its value; never that of a token.
        found: String,
    },
    /// The server has no such thing, or hides it.
    #[error("{url}: {what}; see whether the name is right, and set HF_TOKEN if it is private")]
    NotFound {
        /// What was asked for.
        url: String,
        /// What the server has not.
        what: String,
    },
    /// The repository is open to people only who accepted its terms.
    #[error(
        "{repository} is gated: ask for access on that page with your account, then set HF_TOKEN \
         to a token of the account ({})",
        token_state(*has_token)
    )]
    Gated {
        /// Page of the repository.
        repository: String,
        /// Whether a token was sent.
        has_token: bool,
    },
    /// The server wants to know who asks.
    #[error(
        "{url}: the server wants a login (status 401): set HF_TOKEN to a token that is valid ({})",
        token_state(*has_token)
    )]
    Unauthorised {
        /// What was asked for.
        url: String,
        /// Whether a token was sent.
        has_token: bool,
    },
    /// The server knows who asks and says no.
    #[error(
        "{url}: the server refuses (status 403): set HF_TOKEN to a token that may read it ({})",
        token_state(*has_token)
    )]
    Forbidden {
        /// What was asked for.
        url: String,
        /// Whether a token was sent.
        has_token: bool,
    },
    /// The server answered with a status that means neither yes nor a known no.
    #[error("{url}: wanted a file, found status {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// The status.
        status: u16,
    },
    /// A redirect leads nowhere, around in circles, or from https to http.
    #[error("{url}: the redirect to {to:?} cannot be followed: {reason}")]
    Redirect {
        /// Where it came from.
        url: String,
        /// Where it leads.
        to: String,
        /// Why not.
        reason: &'static str,
    },
    /// The server cannot be talked to.
    #[error("cannot talk to the server of {url}: {reason}")]
    Connection {
        /// What was asked for.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// Every try failed; what was fetched is kept.
    #[error(
        "{url}: gave up after {tries} tries without progress at byte {done}: {reason}; the same \
         command goes on from there"
    )]
    GaveUp {
        /// What was asked for.
        url: String,
        /// Tries since there was progress.
        tries: u32,
        /// Bytes that there are.
        done: u64,
        /// What the last try failed with.
        reason: String,
    },
    /// A list of files is not what such a list looks like.
    #[error("{url}: wanted a list of files, found {reason}")]
    Listing {
        /// Where it came from.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// A repository has no model file.
    #[error("{repository}: wanted a file that ends with .gguf, found {found}")]
    NoModelFile {
        /// The repository.
        repository: String,
        /// What it has.
        found: String,
    },
    /// A repository has several model files and none was chosen.
    #[error("{repository} has several models; choose one by its file:\n{files}")]
    Choose {
        /// The repository.
        repository: String,
        /// A line for each file: what to ask for, and its size.
        files: String,
    },
    /// What the server sent is not a file of the wanted kind.
    #[error("{url}: wanted {wanted}, found {found}; nothing of it was kept")]
    WrongContent {
        /// What was asked for.
        url: String,
        /// The kind of file.
        wanted: &'static str,
        /// How it begins.
        found: String,
    },
    /// Neither the size nor the digest of a file is known, so a broken download would not be seen.
    #[error("{url}: the server does not tell the file's size: give its digest (--sha256)")]
    Unverifiable {
        /// What was asked for.
        url: String,
    },
    /// The file changed while it was fetched.
    #[error(
        "{url}: the file changed while it was fetched (wanted {wanted}, found {found}); try again"
    )]
    Changed {
        /// What was asked for.
        url: String,
        /// What it was.
        wanted: String,
        /// What it is.
        found: String,
    },
    /// A file is longer or shorter than it should be.
    #[error("{url}: wanted {wanted} bytes, found {found}; nothing of it was kept")]
    SizeMismatch {
        /// What was asked for.
        url: String,
        /// Bytes that it should have.
        wanted: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// A file is not the one that it should be.
    #[error("{url}: wanted {wanted}, found {found}; the file was not kept, try again")]
    ChecksumMismatch {
        /// What was asked for.
        url: String,
        /// The digest that it should have.
        wanted: Checksum,
        /// The digest of what came.
        found: Checksum,
    },
    /// The files would not fit on the disk.
    #[error(
        "{}: wanted room for {needed} bytes, found {available}: free some, or set POWERINFER_MODELS \
         to a folder on another disk",
        folder.display()
    )]
    NoSpace {
        /// The folder of models.
        folder: PathBuf,
        /// Bytes that are still to come, and what a disk keeps free.
        needed: u64,
        /// Bytes that are free.
        available: u64,
    },
    /// The disk, or a limit for files, was reached while writing; what was fetched is kept.
    #[error(
        "cannot write more than {written} bytes to {}: free some space or raise the limit; the same \
         command then goes on from there",
        path.display()
    )]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// Bytes that it has.
        written: u64,
        /// What the system said.
        source: io::Error,
    },
    /// A file or folder cannot be read or written.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The policy of a model cannot be read or written.
    #[error("the policy of {name}")]
    Policy {
        /// The model.
        name: String,
        /// What is wrong with it.
        source: PolicyError,
    },
    /// The caller wanted no more; what was fetched is kept.
    #[error("stopped; the same command goes on from there")]
    Cancelled,
}

impl HubError {
    pub(super) fn io(path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    pub(super) fn policy(name: &str) -> impl FnOnce(PolicyError) -> Self {
        let name = name.to_owned();
        move |source| Self::Policy { name, source }
    }
}

fn did_you_mean(nearest: Option<&String>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

fn token_state(has_token: bool) -> &'static str {
    if has_token { "one was sent" } else { "none was sent" }
}
