//! The one structured log event of a generation.

use std::sync::OnceLock;

use crate::error::Error;
use crate::metrics::Metrics;
use crate::session::FinishReason;
use crate::trace;

/// Version of this crate, which builds its engine from source.
pub(crate) const ENGINE_VERSION: &str = env!("CARGO_PKG_VERSION");

static COMMIT: OnceLock<&'static str> = OnceLock::new();

/// Names the commit that the program was built from, for the events of generations. The first call
/// counts; without one, the events have no commit.
pub fn set_commit(commit: &'static str) {
    COMMIT.get_or_init(|| commit);
}

/// What a session runs, as far as its policy or file says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Identity {
    pub(crate) model: String,
    pub(crate) model_version: Option<String>,
    pub(crate) checksum: Option<String>,
    pub(crate) policy_hash: Option<String>,
}

/// The commit that the program was built from, if it has said so.
pub(crate) fn commit() -> Option<&'static str> {
    COMMIT.get().copied()
}

/// How a text ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outcome<'a> {
    /// For its reason.
    Finished(&'a FinishReason),
    /// Who asked for it let go of it.
    Dropped,
    /// It could not be made.
    Failed(&'a Error),
}

/// Reports a generation that ended, in the log and in its span.
pub(crate) fn generation(
    identity: &Identity,
    request_id: Option<&str>,
    span: &tracing::Span,
    metrics: &Metrics,
    outcome: Outcome<'_>,
) {
    trace::end(span, metrics, outcome);
    let _entered = span.enter();
    let metrics = serde_json::to_string(metrics).expect("plain numbers have a JSON form");
    let model_version = identity.model_version.as_deref();
    let checksum = identity.checksum.as_deref();
    let policy_hash = identity.policy_hash.as_deref();
    let finish_reason = match outcome {
        Outcome::Finished(reason) => Ok(reason.to_string()),
        Outcome::Dropped => Ok("dropped".to_owned()),
        Outcome::Failed(error) => Err(chain(error)),
    };
    match finish_reason {
        Ok(finish_reason) => tracing::info!(
            target: "powerinfer::generation",
            event = "generation",
            request_id,
            model = identity.model,
            model_version,
            checksum,
            engine_version = ENGINE_VERSION,
            commit = commit(),
            policy_hash,
            metrics,
            success = true,
            finish_reason,
        ),
        Err(error) => tracing::error!(
            target: "powerinfer::generation",
            event = "generation",
            request_id,
            model = identity.model,
            model_version,
            checksum,
            engine_version = ENGINE_VERSION,
            commit = commit(),
            policy_hash,
            metrics,
            success = false,
            error,
        ),
    }
}

/// An error with all its causes in one line, for logs and answers.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
