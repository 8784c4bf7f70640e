//! Integration tests of the safe crate, one binary.

#![expect(clippy::print_stdout, reason = "tests say what they skip and how long loading takes")]
#![expect(
    clippy::unwrap_used,
    clippy::missing_assert_message,
    reason = "helpers of tests fail like tests: by panicking where the fault is"
)]

mod cancel;
mod chat;
mod data;
mod embed;
#[cfg(feature = "openai")]
mod engine_openai;
mod engines;
mod errors;
mod events;
#[cfg(feature = "openai")]
mod fake_server;
mod file;
mod generation;
mod gguf_meta;
mod golden;
#[cfg(feature = "grammar")]
mod grammar;
mod ownership;
mod parallel;
mod placement;
mod policy;
mod policy_fields;
mod reuse;
mod scheduler;
mod scheduler_room;
mod statistics;
mod support;
mod tokenizer;
mod tokenizer_rules;
mod tokens;
mod tools;
