//! The server as its clients see it, in one binary.

#![expect(
    clippy::unwrap_used,
    clippy::missing_assert_message,
    reason = "helpers of tests fail like tests: by panicking where the fault is"
)]

mod chat;
mod client;
mod completions;
mod embeddings;
mod load;
mod refusals;
mod status;
mod stopping;
mod support;
