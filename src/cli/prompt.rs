//! What is to be continued: an argument, a file, or what is piped in.

use std::fs;
use std::io::{self, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Where a text comes from.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Text")]
pub(super) struct PromptArgs {
    /// The text to continue [default: what is piped in, else nothing].
    #[arg(short, long, value_name = "TEXT", conflicts_with = "file")]
    prompt: Option<String>,
    /// Reads the text from a file; a line break at its end does not count.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl PromptArgs {
    /// The text; `None` if there is none anywhere.
    pub(super) fn read(&self) -> anyhow::Result<Option<String>> {
        match (&self.prompt, &self.file) {
            (Some(prompt), _) => Ok(Some(prompt.clone())),
            (None, Some(file)) => read_file(file).map(without_line_break).map(Some),
            // Nothing was asked for: the demo does not wait for a pipe that nobody closes.
            (None, None) if std::env::args_os().len() <= 1 => Ok(None),
            (None, None) => {
                let piped = piped()?.map(without_line_break);
                Ok(piped.filter(|text| !text.is_empty()))
            }
        }
    }
}

/// Reads a text file.
pub(super) fn read_file(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// What is piped in; `None` at a terminal.
pub(super) fn piped() -> anyhow::Result<Option<String>> {
    let mut stdin = io::stdin().lock();
    if stdin.is_terminal() {
        return Ok(None);
    }
    let mut text = String::new();
    stdin.read_to_string(&mut text).context("cannot read the text that is piped in")?;
    Ok(Some(text))
}

/// Takes away the line break that editors and `echo` put at the end.
fn without_line_break(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_break_is_taken_away() {
        for (text, wanted) in [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a", "a"), ("", "")]
        {
            assert_eq!(without_line_break(text.to_owned()), wanted, "{text:?}");
        }
    }
}
