//! Runs the `powerinfer` binary and looks at exit code, stdout and stderr; one test binary.

#![expect(clippy::print_stdout, reason = "tests say what they skip")]
#![cfg_attr(
    any(feature = "openai", all(unix, feature = "server")),
    expect(clippy::unwrap_used, reason = "helpers of tests may fail")
)]

#[cfg(all(unix, feature = "server"))]
mod browser;
#[cfg(feature = "openai")]
mod chat;
#[cfg(all(unix, feature = "openai"))]
mod chat_terminal;
#[cfg(all(unix, feature = "otel", feature = "server"))]
mod collector;
mod docs;
mod failures;
#[cfg(feature = "openai")]
#[path = "../../powerinfer/tests/it/fake_server.rs"]
mod fake_server;
mod gpu;
#[cfg(feature = "hub")]
mod hub;
#[cfg(all(unix, feature = "server"))]
mod page;
mod plan;
mod profile;
mod replies;
#[cfg(unix)]
mod scripts;
#[cfg(all(unix, feature = "server"))]
mod service;
#[cfg(all(unix, feature = "server"))]
mod service_states;
mod support;
mod tools;
#[cfg(all(unix, feature = "otel", feature = "server"))]
mod traces;
