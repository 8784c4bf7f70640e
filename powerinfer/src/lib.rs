//! Safe API for sparse large-language-model inference.

pub mod synthetic;
