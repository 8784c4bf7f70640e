//! Models by name: fetched from a hub, verified, and kept in a folder.
//!
//! A [`Hub`] knows a folder of models and a server that has them. [`pull`](Hub::pull) fetches a
//! model by its [name](catalogue), its repository or its address, and writes a policy beside it;
//! [`find`](Hub::find), [`list`](Hub::list) and [`remove`](Hub::remove) are about what is there.
//!
//! ```text
//! <folder>/<name>/model.powerinfer.gguf    the model; model.gguf where it is not sparse
//! <folder>/<name>/activation/              its statistics, where the repository has them
//! <folder>/<name>/policy.yaml              how it is run; written last, so that what has it is whole
//! ```
//!
//! Whatever interrupts a pull, the next one goes on where it ended: bytes are kept in a `.part`
//! with a record of the file they belong to, and a file gets its name only when its size and its
//! digest are right.

mod catalogue;
mod client;
mod download;
mod error;
mod event;
mod job;
mod listing;
mod lock;
mod options;
mod part;
mod pull;
mod retry;
mod source;
mod space;
mod store;
#[cfg(test)]
mod tests;
mod url;

use std::path::Path;

pub use catalogue::{CatalogueEntry, catalogue};
pub use error::HubError;
pub use event::PullEvent;
pub use options::{HubOptions, Patience};
pub use pull::PullOptions;
pub use source::{ModelSource, Repository};
pub use store::StoredModel;

use space::Space;

/// A folder of models, and the server that has more.
///
/// # Examples
///
/// ```no_run
/// use std::ops::ControlFlow;
///
/// use powerinfer::{CacheMode, Model, Policy};
/// use powerinfer::hub::{Hub, HubOptions, PullOptions};
///
/// let hub = Hub::new(HubOptions::from_env()?);
/// let pulled = hub.pull(&"bamboo-7b-dpo".parse()?, &PullOptions::default(), &mut |event| {
///     println!("{event:?}");
///     ControlFlow::Continue(())
/// })?;
/// let model = Model::open(&Policy::from_file(pulled.policy)?, CacheMode::Use)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Hub {
    options: HubOptions,
    /// Replaced in tests, which fill no disk.
    space: fn(&Path) -> Space,
}

impl Hub {
    /// Uses a folder and a server.
    pub fn new(options: HubOptions) -> Self {
        Self { options, space: Space::of_system }
    }

    /// The folder of models.
    pub fn folder(&self) -> &Path {
        &self.options.folder
    }
}
