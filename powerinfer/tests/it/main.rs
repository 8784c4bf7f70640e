//! Integration tests of the safe crate, one binary.

#![expect(clippy::print_stdout, reason = "tests say what they skip and how long loading takes")]

mod chat;
mod data;
mod gguf_meta;
mod tokenizer;
