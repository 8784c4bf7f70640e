//! The server as its clients see it, in one binary.

#![expect(
    clippy::unwrap_used,
    clippy::missing_assert_message,
    clippy::needless_pass_by_value,
    clippy::cast_possible_truncation,
    reason = "helpers of tests fail like tests: by panicking where the fault is; values are small"
)]

mod chat;
mod client;
mod completions;
mod embeddings;
mod formats;
mod load;
mod page;
mod refusals;
mod status;
mod stopping;
mod support;
