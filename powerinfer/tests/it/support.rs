//! The demo model and sessions on it, shared by the tests of this binary.

use std::path::PathBuf;
use std::sync::OnceLock;

use powerinfer::{GenerateOptions, Model, Sampling, Session, SessionOptions};

/// The demo model, from the root of the repository.
const DEMO: &str = "models/stories-relu.q4_0.powerinfer.gguf";

pub(crate) const PROMPT: &str = "Once upon a time";

pub(crate) fn demo_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(DEMO)
}

pub(crate) fn demo_bytes() -> Vec<u8> {
    std::fs::read(demo_path()).unwrap()
}

/// The demo model, loaded once.
pub(crate) fn demo() -> Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| Model::load(demo_path()).unwrap()).clone()
}

/// A session on the demo model. One thread: the tests run beside each other.
pub(crate) fn session(options: SessionOptions) -> Session {
    demo().session(options.threads(1)).unwrap()
}

pub(crate) fn greedy(max_tokens: u32) -> GenerateOptions {
    GenerateOptions::from(Sampling::greedy()).max_tokens(max_tokens)
}

/// The greedy continuation of `prompt` in a session of its own.
pub(crate) fn fresh(prompt: &str, options: GenerateOptions) -> powerinfer::Completion {
    session(SessionOptions::default()).generate(prompt, options).unwrap().complete().unwrap()
}
