//! The one structured log event of a generation.

use std::sync::OnceLock;

use crate::metrics::Metrics;

/// Version of this crate, which builds its engine from source.
const ENGINE_VERSION: &str = env!("CARGO_PKG_VERSION");

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

/// Reports a generation that ended, for its reason or with an error.
pub(crate) fn generation(
    identity: &Identity,
    request_id: Option<&str>,
    metrics: &Metrics,
    outcome: Result<&str, &str>,
) {
    let commit = COMMIT.get().copied();
    let metrics = serde_json::to_string(metrics).expect("plain numbers have a JSON form");
    let model_version = identity.model_version.as_deref();
    let checksum = identity.checksum.as_deref();
    let policy_hash = identity.policy_hash.as_deref();
    match outcome {
        Ok(finish_reason) => tracing::info!(
            target: "powerinfer::generation",
            event = "generation",
            request_id,
            model = identity.model,
            model_version,
            checksum,
            engine_version = ENGINE_VERSION,
            commit,
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
            commit,
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
