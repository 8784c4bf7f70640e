//! Policies: YAML files that say what to run, how, and where it came from.

mod audit;
mod cache;
mod checks;
mod checksum;
mod error;
mod fields;
mod generation;
mod hash;
mod lock;
mod nearest;
mod outline;
#[expect(clippy::module_inception, reason = "the file holds the type of that name")]
mod policy;
mod runtime;
mod sparsity;
#[cfg(test)]
mod tests;
mod timeout;
mod values;

pub use audit::{Audit, Fact, Metadata, OnDrift, SparsityFacts};
pub use checks::{HostInfo, ModelFacts, PolicyNote};
pub use checksum::{CacheMode, Checksum, ChecksumOutcome, verify_checksum};
pub use error::{Place, PolicyError};
pub use generation::Generation;
pub use lock::{Drift, Lock};
pub(crate) use nearest::nearest;
pub use policy::{Engine, Policy};
pub use runtime::{GpuMode, KvType, PlacementMode, Repack, Runtime};
pub use sparsity::Sparsity;
pub use timeout::Timeout;
