//! Runs the `powerinfer` binary and looks at exit code, stdout and stderr; one test binary.

#![expect(clippy::print_stdout, reason = "tests say what they skip")]

mod failures;
mod gpu;
#[cfg(feature = "hub")]
mod hub;
mod plan;
mod profile;
mod replies;
#[cfg(unix)]
mod scripts;
mod support;
mod tools;
