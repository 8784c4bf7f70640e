//! A text that goes through a model in windows: where it comes from, and how long they are.

use std::path::PathBuf;

use powerinfer::{Batch, EncodeOptions, KvType, Model, Output, Session, SessionOptions, Token};

use super::exit;
use super::output::note;
use super::prompt;
use super::session_args::{MachineArgs, kv_type};

/// Window length where none is given, unless the model is shorter.
const DEFAULT_WINDOW: u32 = 512;

/// The text.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Text")]
pub(super) struct TextArgs {
    /// The text [default: what is piped in].
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Tokens in a window [default: 512, or the length that the model was trained with if that is
    /// less].
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(4..))]
    ctx_size: Option<u32>,
}

/// What computes the windows.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Machine")]
pub(super) struct WindowArgs {
    #[command(flatten)]
    machine: MachineArgs,
    /// Tokens that are computed together [default: 512].
    #[arg(long, value_name = "N")]
    batch: Option<u32>,
    /// Element type of the attention cache: f16 or f32 [default: f16].
    #[arg(long, value_name = "TYPE", value_parser = kv_type())]
    kv_type: Option<KvType>,
}

impl TextArgs {
    /// Reads the text.
    pub(super) fn read(&self) -> anyhow::Result<String> {
        match &self.file {
            Some(file) => prompt::read_file(file),
            None => prompt::piped()?
                .ok_or_else(|| exit::usage("no text: give it with --file, or pipe it in")),
        }
    }

    /// Tokens in a window.
    pub(super) fn window(&self, model: &Model) -> anyhow::Result<usize> {
        let trained = model.info().context_length;
        let window = self.ctx_size.unwrap_or(DEFAULT_WINDOW.min(trained));
        if window > trained {
            note(&format!(
                "warning: --ctx-size {window}, but the model was trained with {trained}"
            ));
        }
        Ok(usize::try_from(window)?)
    }
}

impl WindowArgs {
    /// The options of a session for windows of such a length.
    pub(super) fn options(&self, window: usize) -> anyhow::Result<SessionOptions> {
        let options = SessionOptions::default()
            .context(u32::try_from(window)?)
            .threads(self.machine.threads.unwrap_or(0))
            .activation_bits(self.machine.activation_bits.unwrap_or(16))
            .kv_type(self.kv_type.unwrap_or_default());
        Ok(self.batch.map_or(options, |batch| options.batch(batch)))
    }
}

/// The tokens of a text, after a begin-of-text token if the model wants one.
pub(super) fn tokens(model: &Model, text: &str) -> anyhow::Result<Vec<Token>> {
    let tokenizer = model.tokenizer()?;
    let options = EncodeOptions::default().add_bos(tokenizer.wants_bos());
    Ok(tokenizer.encode(text, options)?)
}

/// The token that takes the place of the first token of a window, if the model wants one.
pub(super) fn bos(model: &Model) -> anyhow::Result<Option<Token>> {
    let tokenizer = model.tokenizer()?;
    Ok(tokenizer.bos().filter(|_| tokenizer.wants_bos()))
}

/// Computes one window and nothing before it.
pub(super) fn decode(
    session: &mut Session,
    window: &[Token],
    output: impl Fn(usize) -> Output,
) -> anyhow::Result<()> {
    let mut batch = Batch::new();
    for (position, &token) in window.iter().enumerate() {
        batch.push(token, u32::try_from(position)?, 0, output(position));
    }
    session.truncate(0, 0)?;
    Ok(session.decode(&batch)?)
}
