//! OpenAI-compatible HTTP server for sparse large language models.
//!
//! A [`Server`] is bound to an address first and then [run](Server::run): it answers `/health` with
//! 503 while the model loads, serves until it is told to stop, finishes what it has accepted, and
//! returns. All requests share one session: see [`powerinfer::Scheduler`].
//!
//! ```no_run
//! use powerinfer::{Model, SessionOptions};
//! use powerinfer_server::{Served, Server, ServerOptions};
//!
//! # async fn serve() -> Result<(), powerinfer_server::ServerError> {
//! let server = Server::bind(ServerOptions::default()).await?;
//! println!("http://{}", server.address());
//! let load = || {
//!     let model = Model::load("model.gguf")?;
//!     Ok(Served::new(model, |model| model.session(SessionOptions::default().sequences(8))))
//! };
//! server.run(load, std::future::pending()).await
//! # }
//! ```
//!
//! Every documented parameter of a request is honoured, or refused with its name. Errors have
//! OpenAI's form.

mod api;
mod auth;
mod connection;
mod cors;
mod digests;
mod engine;
mod error;
mod extract;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod metrics;
mod options;
mod page;
mod request_id;
mod routes;
mod server;
mod state;
mod trace;
mod wire;

pub use cors::Cors;
pub use digests::Digests;
pub use engine::{LoadError, Served};
pub use options::{ApiKeys, Build, Origin, ServerOptions};
pub use routes::openapi;
pub use server::{Server, ServerError};
pub use trace::Propagation;
