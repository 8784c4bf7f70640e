//! Engines by name: this crate's own, and others behind the same few calls.
//!
//! Programs that let their users choose an engine take one from the registry and then need not know
//! which it is:
//!
//! ```no_run
//! use std::ops::ControlFlow;
//!
//! use powerinfer::engine::{self, Input, LoadOptions, Options, Request};
//!
//! let url = LoadOptions::default().url("http://127.0.0.1:8080/v1");
//! let mut engine = engine::get("openai")?.load(url)?;
//! let mut options = Options::default();
//! options.set("max_tokens", 64)?;
//! let request = Request { input: Input::Text("Once upon a time"), options: &options };
//! let reply = engine.generate(&request, &mut |piece| {
//!     print!("{piece}");
//!     ControlFlow::Continue(())
//! })?;
//! println!("\n[{}]", reply.finish_reason);
//! # Ok::<(), powerinfer::Error>(())
//! ```

mod error;
mod local;
#[cfg(feature = "openai")]
mod openai;
mod options;
mod propagation;
mod registry;
mod stop;

use std::ops::ControlFlow;
use std::time::Duration;

use serde::Serialize;

pub use error::EngineError;
pub use local::LocalEngine;
#[cfg(feature = "openai")]
pub use openai::{OpenAiEngine, SseEvent, SseParser, SseTooLong};
pub use options::Options;
pub use propagation::Propagation;
pub use registry::{Registration, all, get};
pub use stop::StopHandle;

use crate::error::Error;
use crate::metrics::Metrics;
use crate::policy::Policy;
use crate::text::ChatMessage;

/// A model that is loaded, or a remote one that can be reached, whichever engine runs it.
///
/// Calls block. An engine may be moved to another thread, and is used by one at a time; only its
/// [`StopHandle`] may be used beside it.
pub trait TextEngine: Send {
    /// What is run, and by what.
    fn info(&self) -> EngineInfo;

    /// Checks options without running anything.
    ///
    /// # Errors
    ///
    /// [`Error::Engine`] for an option that this engine cannot honour, by name; [`Error::Sampling`]
    /// for values that do not fit the model.
    fn check(&self, options: &Options) -> Result<(), Error>;

    /// Continues a text or answers a conversation. Pieces are given to `on_piece` as they come, whole
    /// characters and never empty; together they are the text. Where it breaks, generation ends like
    /// one that was stopped.
    ///
    /// # Errors
    ///
    /// What [`check`](Self::check) returns, before anything else; [`Error::Timeout`];
    /// [`Error::Engine`] if a remote engine cannot be reached or refuses; and what
    /// [`Session::generate_chat`](crate::Session::generate_chat) returns. A stop is no error.
    fn generate(
        &mut self,
        request: &Request<'_>,
        on_piece: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Reply, Error>;

    /// Computes the embedding of a text.
    ///
    /// # Errors
    ///
    /// As for [`generate`](Self::generate), and [`Error::Cancelled`] if it was stopped.
    fn embed(&mut self, text: &str) -> Result<Vec<f32>, Error>;

    /// A handle that stops this engine from any thread.
    fn stop_handle(&self) -> StopHandle;

    /// Forgets a stop that came while nothing was generated.
    fn clear_stop(&mut self);
}

/// What an engine is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What is continued or answered.
    pub input: Input<'a>,
    /// What is to differ from the engine's defaults.
    pub options: &'a Options,
}

/// What is continued or answered.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// A text to continue.
    Text(&'a str),
    /// A conversation to answer, oldest message first.
    Chat(&'a [ChatMessage]),
}

/// How a generation ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Reply {
    /// Why it ended, in the words of the engine; `cancelled` if it was stopped.
    pub finish_reason: String,
    /// Whether it was stopped, by a handle or by who took the pieces.
    pub is_stopped: bool,
    /// What it cost; none where the engine does not tell. A remote engine knows nothing about
    /// neurons, bytes and memory.
    pub metrics: Option<Metrics>,
}

/// What is run, and by what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EngineInfo {
    /// Name of the engine.
    pub engine: &'static str,
    /// Name of the model.
    pub model: String,
    /// Where a remote engine is; none for one in this process.
    pub url: Option<String>,
    /// Tokens that prompt and reply may have together, if that is known.
    pub context: Option<usize>,
}

/// What an engine is loaded with. Each engine refuses what it cannot use, by name.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct LoadOptions {
    /// The policy of a local model.
    pub policy: Option<Policy>,
    /// Base of a remote API, such as `http://127.0.0.1:8080/v1`.
    pub url: Option<String>,
    /// Its key.
    pub api_key: Option<String>,
    /// The remote model's name; none takes the only one that there is.
    pub model: Option<String>,
    /// Ends a remote request that takes longer. Local ones have that in their policy.
    pub timeout: Option<Duration>,
    /// Makes remote requests part of the trace of their spans; without it, they begin their own.
    pub propagation: Option<Propagation>,
}

impl LoadOptions {
    /// Sets the policy of a local model.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Sets the base of a remote API.
    #[must_use]
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// Sets the key of a remote API.
    #[must_use]
    pub fn api_key(mut self, key: impl Into<Option<String>>) -> Self {
        self.api_key = key.into();
        self
    }

    /// Sets the name of a remote model.
    #[must_use]
    pub fn model(mut self, model: impl Into<Option<String>>) -> Self {
        self.model = model.into();
        self
    }

    /// Sets how long a remote request may take.
    #[must_use]
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// Sets how remote requests become part of the trace of their spans.
    #[must_use]
    pub fn propagation(mut self, propagation: impl Into<Option<Propagation>>) -> Self {
        self.propagation = propagation.into();
        self
    }
}

impl std::fmt::Debug for LoadOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadOptions")
            .field("policy", &self.policy)
            .field("url", &self.url)
            .field("api_key", &self.api_key.as_ref().map(|_| "hidden"))
            .field("model", &self.model)
            .field("timeout", &self.timeout)
            .field("propagation", &self.propagation)
            .finish()
    }
}

const _: () = {
    const fn send<T: Send + ?Sized>() {}
    const fn send_sync<T: Send + Sync>() {}
    send::<dyn TextEngine>();
    send_sync::<StopHandle>();
};
