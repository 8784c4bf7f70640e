//! Integration tests of the safe crate, one binary.

#![expect(clippy::print_stdout, reason = "tests say what they skip and how long loading takes")]

mod cancel;
mod chat;
mod data;
mod embed;
mod errors;
mod events;
mod file;
mod generation;
mod gguf_meta;
mod ownership;
mod parallel;
mod reuse;
mod support;
mod tokenizer;
mod tokenizer_rules;
mod tokens;
