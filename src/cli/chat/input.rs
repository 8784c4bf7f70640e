//! What the user says: lines of a terminal, or of a pipe, put together to turns.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use super::super::exit;
use super::super::output::note;
use super::super::state_folder::state_folder;

/// Begins and ends a text of many lines.
const QUOTES: &str = "\"\"\"";
/// Turns that are remembered.
const HISTORY: usize = 1000;

/// Something that the user entered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A turn or a command.
    Text {
        text: String,
        /// It was written between quotes and is no command.
        is_plain: bool,
    },
    /// Ctrl-C at the prompt.
    Interrupted,
    /// Nothing more comes.
    End,
}

/// Where entries come from.
#[derive(Debug)]
pub(super) enum Source {
    Terminal { editor: Box<DefaultEditor>, history: Option<PathBuf> },
    Pipe,
}

impl Source {
    /// A terminal with line editing if there is one, for input and output.
    pub(super) fn open() -> anyhow::Result<Self> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Ok(Self::Pipe);
        }
        let config = rustyline::Config::builder().max_history_size(HISTORY)?.build();
        let mut editor = DefaultEditor::with_config(config).context("cannot edit lines here")?;
        let history = history_file();
        if let Some(path) = history.as_deref().filter(|path| path.exists())
            && let Err(error) = editor.load_history(path)
        {
            note(&format!("[no history: {}: {error}]", path.display()));
        }
        Ok(Self::Terminal { editor: Box::new(editor), history })
    }

    pub(super) fn is_terminal(&self) -> bool {
        matches!(self, Self::Terminal { .. })
    }

    /// Waits for the next entry.
    pub(super) fn read(&mut self) -> anyhow::Result<Entry> {
        let mut lines = Lines::default();
        loop {
            let line = match self {
                Self::Pipe => piped_line()?,
                Self::Terminal { editor, .. } => {
                    let prompt = if lines.is_empty() { "> " } else { "| " };
                    match editor.readline(prompt) {
                        Ok(line) => Some(line),
                        Err(ReadlineError::Interrupted) if lines.is_empty() => {
                            return Ok(Entry::Interrupted);
                        }
                        Err(ReadlineError::Interrupted) => {
                            lines = Lines::default();
                            continue;
                        }
                        Err(ReadlineError::Eof) => None,
                        Err(error) => return Err(error).context("cannot read from the terminal"),
                    }
                }
            };
            let Some(line) = line else { return lines.end() };
            if let Some(entry) = lines.push(&line) {
                self.remember(&entry)?;
                return Ok(entry);
            }
        }
    }

    fn remember(&mut self, entry: &Entry) -> anyhow::Result<()> {
        let (Self::Terminal { editor, history }, Entry::Text { text, is_plain }) = (self, entry)
        else {
            return Ok(());
        };
        if text.trim().is_empty() {
            return Ok(());
        }
        let typed = if *is_plain { format!("{QUOTES}{text}{QUOTES}") } else { text.clone() };
        let is_new = editor.add_history_entry(typed).context("cannot remember what was typed")?;
        let Some(path) = history.as_deref().filter(|_| is_new) else { return Ok(()) };
        if let Err(error) = append(editor, path) {
            note(&format!("[no history from here on: {}: {error}]", path.display()));
            *history = None;
        }
        Ok(())
    }
}

fn append(editor: &mut DefaultEditor, path: &Path) -> rustyline::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    editor.append_history(path)
}

/// A line of a pipe without its end; none after the last one.
fn piped_line() -> anyhow::Result<Option<String>> {
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line).context("cannot read what is piped in")?;
    if line.ends_with('\n') {
        line.pop();
        if line.ends_with('\r') {
            line.pop();
        }
    }
    Ok((read > 0).then_some(line))
}

/// The file of what was typed in earlier chats; none where the user has no folder.
fn history_file() -> Option<PathBuf> {
    Some(state_folder()?.join("chat_history"))
}

/// Lines on the way to an entry.
#[derive(Debug, Default)]
struct Lines {
    lines: Vec<String>,
    /// Quotes are open.
    is_quoted: bool,
}

impl Lines {
    fn is_empty(&self) -> bool {
        self.lines.is_empty() && !self.is_quoted
    }

    /// Takes a line; gives the entry that it completes.
    fn push(&mut self, line: &str) -> Option<Entry> {
        let mut line = line;
        if self.is_empty()
            && let Some(rest) = line.trim_start().strip_prefix(QUOTES)
        {
            self.is_quoted = true;
            line = rest;
            if line.trim().is_empty() {
                return None; // the text begins on the next line
            }
        }
        if self.is_quoted {
            let Some(last) = line.trim_end().strip_suffix(QUOTES) else {
                self.lines.push(line.to_owned());
                return None;
            };
            if !last.is_empty() {
                self.lines.push(last.to_owned());
            }
            return Some(self.take(true));
        }
        if let Some(start) = line.strip_suffix('\\') {
            self.lines.push(start.to_owned());
            return None;
        }
        self.lines.push(line.to_owned());
        Some(self.take(false))
    }

    fn take(&mut self, is_plain: bool) -> Entry {
        let text = std::mem::take(self).lines.join("\n");
        Entry::Text { text, is_plain }
    }

    /// What is there when nothing more comes.
    fn end(mut self) -> anyhow::Result<Entry> {
        if self.is_quoted {
            return Err(exit::usage(format!("the text after {QUOTES} has no {QUOTES} at its end")));
        }
        Ok(if self.lines.is_empty() { Entry::End } else { self.take(false) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<Entry> {
        let mut lines = Lines::default();
        text.lines().filter_map(|line| lines.push(line)).collect()
    }

    fn text(text: &str, is_plain: bool) -> Entry {
        Entry::Text { text: text.to_owned(), is_plain }
    }

    #[test]
    fn a_line_is_an_entry_unless_it_is_continued() {
        assert_eq!(entries("a\nb"), [text("a", false), text("b", false)]);
        assert_eq!(entries("a\\\nb\\\nc\nd"), [text("a\nb\nc", false), text("d", false)]);
        assert_eq!(entries("\\\n"), []);
    }

    #[test]
    fn quotes_hold_many_lines_and_no_command() {
        assert_eq!(
            entries("\"\"\"\n/help\n\nb\\\n\"\"\"\nc"),
            [text("/help\n\nb\\", true), text("c", false),]
        );
        assert_eq!(entries("\"\"\"a\nb\"\"\""), [text("a\nb", true)]);
        assert_eq!(entries("\"\"\"a\"\"\""), [text("a", true)]);
        assert_eq!(entries("say \"\"\"a\"\"\""), [text("say \"\"\"a\"\"\"", false)]);
    }

    #[test]
    fn the_end_completes_a_continued_line_but_no_quotes() {
        let mut lines = Lines::default();
        assert_eq!(lines.push("a\\"), None);
        assert_eq!(lines.end().unwrap(), text("a", false));
        assert_eq!(Lines::default().end().unwrap(), Entry::End);
        let mut lines = Lines::default();
        assert_eq!(lines.push("\"\"\"a"), None);
        assert!(lines.end().is_err());
    }
}
