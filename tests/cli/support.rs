//! How the binary is run, and where its input comes from.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use powerinfer::synthetic::{Preset, Shape, SyntheticSpec};
use serde_json::Value;
use tempfile::TempDir;

pub(super) const DEMO: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/models/stories-relu.q4_0.powerinfer.gguf");

/// The binary with nothing piped in, and no settings or caches of the user.
pub(super) fn powerinfer(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_powerinfer"));
    command.args(arguments).stdin(Stdio::null()).env_remove("RUST_LOG");
    for name in ["THREADS", "SPARSE_THRESHOLD", "LOG_FORMAT"] {
        command.env_remove(format!("POWERINFER_{name}"));
    }
    let ours = ["POWERINFER_MODELS", "HF_ENDPOINT", "HF_TOKEN", "HF_HUB_OFFLINE"];
    for name in ours.into_iter().chain(["OPENAI_API_KEY", "XDG_STATE_HOME"]) {
        command.env_remove(name);
    }
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"OTEL_") {
            command.env_remove(name);
        }
    }
    command.env("XDG_CACHE_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"));
    command
}

pub(super) fn run(arguments: &[&str]) -> Output {
    powerinfer(arguments).output().expect("the binary runs")
}

pub(super) fn code(output: &Output) -> i32 {
    output.status.code().expect("the program ended by itself")
}

pub(super) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("stdout is text")
}

pub(super) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("stderr is text")
}

/// A model whose texts are longer than a pipe holds, so that they do not end while nobody reads.
pub(super) fn long_model(folder: &TempDir) -> PathBuf {
    let tiny = SyntheticSpec::preset(Preset::Tiny);
    let shape = Shape { context_length: 60_000, ..tiny.shape };
    let path = folder.path().join("long.gguf");
    SyntheticSpec { shape, ..tiny }.write(&path).expect("the folder is ours");
    path
}

/// What a run that has to succeed prints.
pub(super) fn printed(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(code(&output), 0, "{arguments:?}: {}", stderr(&output));
    stdout(&output)
}

pub(super) fn json(output: &Output) -> Value {
    let text = stdout(output);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

pub(super) fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

pub(super) fn file(folder: &TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, content).expect("the folder is ours");
    path
}

pub(super) fn policy(folder: &TempDir, content: &str) -> PathBuf {
    file(folder, "policy.yaml", content)
}

/// A file of the reference data; none, and a line about it, where there is no such data.
pub(super) fn reference(name: &str) -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("POWERINFER_TEST_DATA") {
        return Some(PathBuf::from(folder).join(name));
    }
    assert!(
        std::env::var_os("POWERINFER_REQUIRE_TEST_DATA").is_none(),
        "POWERINFER_TEST_DATA is not set"
    );
    println!("skipped: POWERINFER_TEST_DATA is not set");
    None
}
