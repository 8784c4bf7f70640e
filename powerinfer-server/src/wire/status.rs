//! What the server says of itself.

use serde::Serialize;
use utoipa::ToSchema;

use crate::digests::Digests;
use crate::engine::Snapshot;

/// Whether the server can serve.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`.
    pub(crate) status: &'static str,
}

/// What runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Version {
    /// `powerinfer`.
    pub(crate) engine: &'static str,
    /// Version of the engine.
    #[serde(rename = "version")]
    pub(crate) number: &'static str,
    /// Commit that it was built from.
    pub(crate) commit: Option<&'static str>,
    /// Features that it was built with.
    pub(crate) features: Option<&'static str>,
    /// Operators of the processor in use.
    pub(crate) cpu: &'static str,
    /// Process id.
    pub(crate) pid: u32,
    /// Name of the model, once it is loaded.
    pub(crate) model: Option<String>,
    /// Checksum that the policy gives the model file.
    pub(crate) checksum: Option<String>,
    /// Hash of the policy.
    pub(crate) policy_hash: Option<String>,
    /// Hash of all settings, those of the command line and the API keys included.
    pub(crate) settings_hash: String,
    /// A digest of each of them, by its name.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub(crate) settings: Digests,
}

/// What the engine does.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Statistics {
    /// Seconds since the server started.
    pub(crate) uptime_seconds: f64,
    /// Requests in the queue.
    pub(crate) waiting: usize,
    /// What the engine did lately.
    #[serde(flatten)]
    pub(crate) engine: Snapshot,
}
