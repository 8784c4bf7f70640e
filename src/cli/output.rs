//! Where results go: stdout through one locked, flushed writer; files beside and renamed.

use std::fs::File;
use std::io::{self, BufWriter, StdoutLock, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Standard output, ours until dropped.
#[derive(Debug)]
pub(super) struct Out {
    stdout: StdoutLock<'static>,
}

impl Out {
    /// Takes standard output.
    pub(super) fn lock() -> Self {
        Self { stdout: io::stdout().lock() }
    }

    /// Writes a text so that it is seen at once.
    pub(super) fn text(&mut self, text: &str) -> anyhow::Result<()> {
        self.bytes(text.as_bytes())
    }

    /// Writes bytes so that they are seen at once.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let written = self.stdout.write_all(bytes).and_then(|()| self.stdout.flush());
        written.context("cannot write to the standard output")
    }

    /// Writes a value as one line of JSON.
    #[cfg(any(feature = "hub", feature = "server"))]
    pub(super) fn json_line(&mut self, value: &impl serde::Serialize) -> anyhow::Result<()> {
        let mut text = serde_json::to_string(value).context("cannot write JSON")?;
        text.push('\n');
        self.text(&text)
    }

    /// Writes a value as one readable JSON document.
    pub(super) fn json(&mut self, value: &impl serde::Serialize) -> anyhow::Result<()> {
        let mut text = serde_json::to_string_pretty(value).context("cannot write JSON")?;
        text.push('\n');
        self.text(&text)
    }
}

/// Writes a line to stderr; where that fails, nobody is left to tell.
pub(super) fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Whether an error is only that the reader of our output went away.
pub(super) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Writes a file that appears under its name only when it is whole.
pub(super) fn write_file(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> anyhow::Result<()> {
    let beside = beside(path);
    let written = File::create(&beside).and_then(|file| {
        let mut writer = BufWriter::new(file);
        write(&mut writer)?;
        writer.flush()?;
        std::fs::rename(&beside, path)
    });
    if written.is_err() {
        // Only ours, and its removal is a courtesy.
        let _ = std::fs::remove_file(&beside);
    }
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    name.into()
}
