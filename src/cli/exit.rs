//! Exit codes, in one table, and which error ends with which of them.

use std::fmt;
use std::process::ExitCode;

use powerinfer::engine::EngineError;
use powerinfer::{
    ChatTemplateError, CoreErrorKind, Error, MetadataError, PolicyError, TokenizerError,
};

use super::output::note;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    Success,
    Failure,
    Usage,
    PolicyInvalid,
    ModelMissing,
    ChecksumMismatch,
    ModelMalformed,
    DoesNotFit,
    NotSupported,
    TimedOut,
    NoGpu,
    DownloadFailed,
    AccessDenied,
    Endpoint,
    NotRunning,
    Drift,
    Interrupted,
}

/// Every way to end: its number, its name in JSON, and what it means.
const TABLE: [(Exit, u8, &str, &str); 17] = [
    (Exit::Success, 0, "ok", "all went well, or the reader of the output went away"),
    (Exit::Failure, 1, "failure", "anything else went wrong"),
    (Exit::Usage, 2, "usage", "the arguments cannot be used, or `serve` its model"),
    (Exit::PolicyInvalid, 3, "policy_invalid", "the policy is missing or says something wrong"),
    (Exit::ModelMissing, 4, "model_missing", "the model file is missing or unreadable"),
    (Exit::ChecksumMismatch, 5, "checksum_mismatch", "the model file is not the policy's"),
    (Exit::ModelMalformed, 6, "model_malformed", "the model file is broken or no model"),
    (Exit::DoesNotFit, 7, "does_not_fit", "the settings do not fit the model or this machine"),
    (Exit::NotSupported, 8, "not_supported", "this version cannot run the model or the settings"),
    (Exit::TimedOut, 9, "timed_out", "the time limit was reached"),
    (Exit::NoGpu, 10, "no_gpu", "a GPU is required and cannot be used, or it failed"),
    (Exit::DownloadFailed, 11, "download_failed", "a model could not be fetched, or not wholly"),
    (Exit::AccessDenied, 12, "access_denied", "the server wants a token, or another one"),
    (Exit::Endpoint, 13, "endpoint", "the endpoint cannot be reached, or it refused the request"),
    (Exit::NotRunning, 14, "not_running", "no server runs where one was looked for"),
    (Exit::Drift, 15, "drift", "model, policy or engine are not those of the lock file"),
    (Exit::Interrupted, 130, "interrupted", "Ctrl-C"),
];

/// The table for `--help`.
pub(super) fn help() -> String {
    let lines = TABLE.map(|(_, code, _, meaning)| format!("  {code:>3}  {meaning}"));
    format!("Exit codes:\n{}", lines.join("\n"))
}

impl Exit {
    /// The number that the system sees.
    pub(super) fn code(self) -> u8 {
        self.row().1
    }

    /// The way to end that the system saw as this number.
    #[cfg(all(unix, feature = "server"))]
    pub(super) fn of_code(code: i32) -> Self {
        TABLE.into_iter().find(|row| i32::from(row.1) == code).map_or(Self::Failure, |row| row.0)
    }

    /// The name in JSON.
    pub(super) fn name(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> (Self, u8, &'static str, &'static str) {
        TABLE.into_iter().find(|row| row.0 == self).expect("every variant is in the table")
    }

    /// How the program ends with this error.
    pub(super) fn of(error: &anyhow::Error) -> Self {
        error
            .chain()
            .find_map(|cause| {
                if let Some(coded) = cause.downcast_ref::<Coded>() {
                    Some(coded.exit)
                } else if let Some(error) = cause.downcast_ref::<Error>() {
                    Some(of_library(error))
                } else if let Some(error) = cause.downcast_ref::<TokenizerError>() {
                    Some(of_tokenizer(error))
                } else if let Some(exit) = of_hub(cause) {
                    Some(exit)
                } else if cause.is::<MetadataError>() {
                    Some(Self::ModelMalformed)
                } else {
                    cause.downcast_ref::<PolicyError>().map(of_policy)
                }
            })
            .unwrap_or(Self::Failure)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

fn of_library(error: &Error) -> Exit {
    use CoreErrorKind as Kind;
    match error {
        Error::Policy(error) => of_policy(error),
        Error::OpenFile { source, .. }
        | Error::OpenBytes(source)
        | Error::Load { source, .. }
        | Error::Placement(source) => match source.kind {
            Kind::Io => Exit::ModelMissing,
            Kind::Format => Exit::ModelMalformed,
            Kind::Unsupported => Exit::NotSupported,
            Kind::InvalidArgument | Kind::OutOfMemory => Exit::DoesNotFit,
            Kind::Device => Exit::NoGpu,
            _ => Exit::Failure,
        },
        Error::GpuRequired(_) | Error::Device(_) => Exit::NoGpu,
        Error::Session(source) if source.kind == Kind::Device => Exit::NoGpu,
        Error::Session(_)
        | Error::ContextFull { .. }
        | Error::ChatTemplate(ChatTemplateError::Missing) => Exit::DoesNotFit,
        Error::Metadata(_) | Error::ChatTemplate(_) => Exit::ModelMalformed,
        Error::Tokenizer(error) => of_tokenizer(error),
        Error::Sampling(_)
        | Error::StopString(_)
        | Error::Grammar(_)
        | Error::EmptyPrompt
        | Error::UnknownToken { .. } => Exit::Usage,
        Error::Engine(error) => of_engine(error),
        Error::Timeout { .. } => Exit::TimedOut,
        Error::Cancelled => Exit::Interrupted,
        _ => Exit::Failure,
    }
}

#[cfg(feature = "hub")]
fn of_hub(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    use powerinfer::hub::HubError as Hub;
    Some(match cause.downcast_ref::<Hub>()? {
        Hub::Name { .. }
        | Hub::Source { .. }
        | Hub::UnknownName { .. }
        | Hub::NameTaken { .. }
        | Hub::NoFolder
        | Hub::Variable { .. }
        | Hub::Choose { .. } => Exit::Usage,
        Hub::NotPulled { .. } | Hub::Incomplete { .. } | Hub::NoModelFile { .. } => {
            Exit::ModelMissing
        }
        Hub::ChecksumMismatch { .. } => Exit::ChecksumMismatch,
        Hub::WrongContent { .. } => Exit::ModelMalformed,
        Hub::NoSpace { .. } | Hub::DiskFull { .. } => Exit::DoesNotFit,
        Hub::Gated { .. } | Hub::Unauthorised { .. } | Hub::Forbidden { .. } => Exit::AccessDenied,
        Hub::Policy { source, .. } => of_policy(source),
        Hub::Cancelled => Exit::Interrupted,
        Hub::Busy { .. } | Hub::Io { .. } => Exit::Failure,
        _ => Exit::DownloadFailed,
    })
}

#[cfg(not(feature = "hub"))]
fn of_hub(_: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    None
}

fn of_engine(error: &EngineError) -> Exit {
    match error {
        EngineError::NotBuilt { .. } => Exit::NotSupported,
        EngineError::Connection { .. }
        | EngineError::Refused { .. }
        | EngineError::Answer { .. } => Exit::Endpoint,
        _ => Exit::Usage,
    }
}

fn of_policy(error: &PolicyError) -> Exit {
    match error {
        PolicyError::ChecksumMismatch { .. } => Exit::ChecksumMismatch,
        PolicyError::Drift { .. } => Exit::Drift,
        PolicyError::NotSupportedYet { .. } => Exit::NotSupported,
        PolicyError::MemoryTooSmall { .. }
        | PolicyError::ContextTooLong { .. }
        | PolicyError::StrategyNeeds { .. } => Exit::DoesNotFit,
        _ => Exit::PolicyInvalid,
    }
}

fn of_tokenizer(error: &TokenizerError) -> Exit {
    match error {
        TokenizerError::UnknownModel { .. } | TokenizerError::UnknownPreTokenizer { .. } => {
            Exit::NotSupported
        }
        TokenizerError::Unencodable { .. } => Exit::Failure,
        TokenizerError::UnknownTokenId { .. } | TokenizerError::NoBos => Exit::Usage,
        _ => Exit::ModelMalformed,
    }
}

/// An error that ends with a certain code, whatever it is.
#[derive(Debug)]
struct Coded {
    exit: Exit,
    error: anyhow::Error,
}

impl fmt::Display for Coded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Coded {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

/// Makes an error end with a certain code.
pub(super) fn coded(exit: Exit, error: impl Into<anyhow::Error>) -> anyhow::Error {
    Coded { exit, error: error.into() }.into()
}

/// An error in what the user typed.
pub(super) fn usage(
    message: impl fmt::Display + fmt::Debug + Send + Sync + 'static,
) -> anyhow::Error {
    coded(Exit::Usage, anyhow::Error::msg(message))
}

/// Prints an error and its causes to stderr.
pub(super) fn report(error: &anyhow::Error) {
    note(&format!("error: {error}"));
    for cause in error.chain().skip(1) {
        note(&format!("  caused by: {cause}"));
    }
}

/// An error for programs that read JSON.
pub(super) fn to_json(error: &anyhow::Error) -> serde_json::Value {
    let exit = Exit::of(error);
    let causes: Vec<String> = error.chain().skip(1).map(ToString::to_string).collect();
    serde_json::json!({
        "code": exit.name(),
        "exit_code": exit.code(),
        "message": error.to_string(),
        "causes": causes,
    })
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn codes_and_names_are_distinct_and_in_the_help() {
        let help = help();
        for (i, (exit, code, name, meaning)) in TABLE.into_iter().enumerate() {
            assert_eq!((exit.code(), exit.name()), (code, name));
            assert!(help.contains(meaning), "{name}");
            assert!(TABLE[..i].iter().all(|row| row.1 != code && row.2 != name), "{name}");
        }
    }

    #[test]
    fn a_code_survives_context_and_keeps_the_causes() {
        let cause = anyhow::anyhow!("the cause").context("what failed");
        let error = Err::<(), _>(coded(Exit::DoesNotFit, cause)).context("above").unwrap_err();
        assert_eq!(Exit::of(&error), Exit::DoesNotFit);
        let texts: Vec<String> = error.chain().map(ToString::to_string).collect();
        assert_eq!(texts, ["above", "what failed", "the cause"]);
    }
}
