//! Integration tests of the safe crate, one binary.

mod data;
mod gguf_meta;
mod tokenizer;
