//! `powerinfer tokenize`: text to tokens and back.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use powerinfer::{EncodeOptions, Model, ModelOptions, Repack, Token, Tokenizer};
use serde_json::{Value, json};

use super::exit::{self, Exit};
use super::model_file::model_file;
use super::output::Out;
use super::prompt;

/// Arguments of `powerinfer tokenize`.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each one is a switch of the command line")]
pub(super) struct Args {
    /// The model file whose tokenizer is used, or the name of a pulled model.
    #[arg(short, long, value_name = "MODEL", help_heading = "Model")]
    model: PathBuf,
    /// The text [default: what is piped in].
    #[arg(conflicts_with = "file")]
    text: Option<String>,
    /// Reads the text from a file, all of it.
    #[arg(short, long, value_name = "FILE", help_heading = "Text")]
    file: Option<PathBuf>,
    /// Turns token ids, separated by commas, into text instead.
    #[arg(long, value_name = "IDS", help_heading = "Text")]
    #[arg(conflicts_with_all = ["text", "file", "no_bos", "special", "ids"])]
    decode: Option<String>,
    /// Leaves out the begin-of-text token [default: as the model file says].
    #[arg(long, help_heading = "Text")]
    no_bos: bool,
    /// Reads control tokens such as `<|im_end|>` in the text as tokens [default: off].
    #[arg(long, help_heading = "Text")]
    special: bool,
    /// Prints the ids alone, separated by commas [default: a line for each token].
    #[arg(long, help_heading = "Output", conflicts_with = "json")]
    ids: bool,
    /// Prints one JSON object [default: off].
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// Encodes or decodes.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let path = model_file(&args.model)?;
    let model = Model::load_with(path, &ModelOptions::default().repack(Repack::Never))?;
    let tokenizer = model.tokenizer()?;
    match &args.decode {
        Some(ids) => decode(args, tokenizer, &parse_ids(ids)?)?,
        None => encode(args, tokenizer)?,
    }
    Ok(Exit::Success)
}

/// Reads token ids that are separated by commas or blanks.
pub(super) fn parse_ids(text: &str) -> anyhow::Result<Vec<Token>> {
    let words = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
    let ids = words.map(|word| {
        word.parse().map_err(|_| {
            exit::usage(format!("wanted token ids, separated by commas, found {word:?}"))
        })
    });
    ids.collect()
}

fn decode(args: &Args, tokenizer: &Tokenizer, ids: &[Token]) -> anyhow::Result<()> {
    let text = tokenizer.decode(ids)?;
    let mut out = Out::lock();
    if args.json {
        return out.json(&json!({ "text": text }));
    }
    out.text(&text)?;
    // Elsewhere the text is exactly what the tokens say.
    if std::io::stdout().is_terminal() {
        out.text("\n")?;
    }
    Ok(())
}

fn encode(args: &Args, tokenizer: &Tokenizer) -> anyhow::Result<()> {
    let options = EncodeOptions::default()
        .add_bos(tokenizer.wants_bos() && !args.no_bos)
        .parse_special(args.special);
    let ids = tokenizer.encode(&text(args)?, options)?;
    let mut out = Out::lock();
    if args.json {
        let tokens: Vec<Value> = ids.iter().map(|&id| token_json(tokenizer, id)).collect();
        return out.json(&json!({ "count": ids.len(), "tokens": tokens }));
    }
    if args.ids {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        return out.text(&format!("{}\n", ids.join(",")));
    }
    let mut lines = String::new();
    for &id in &ids {
        writeln!(lines, "{id:>7}  {}", spelled(tokenizer, id))?;
    }
    out.text(&lines)
}

fn text(args: &Args) -> anyhow::Result<String> {
    match (&args.text, &args.file) {
        (Some(text), _) => Ok(text.clone()),
        (None, Some(file)) => prompt::read_file(file),
        (None, None) => prompt::piped()?.ok_or_else(|| {
            exit::usage("no text: give it as an argument, with --file, or pipe it in")
        }),
    }
}

/// A token as the vocabulary spells it, with its bytes where they are no text.
fn spelled(tokenizer: &Tokenizer, id: Token) -> String {
    let bytes = tokenizer.token_text(id).unwrap_or_default();
    match std::str::from_utf8(bytes) {
        Ok(text) => format!("{text:?}"),
        Err(_) => format!("\"{}\"", bytes.escape_ascii()),
    }
}

fn token_json(tokenizer: &Tokenizer, id: Token) -> Value {
    let text = String::from_utf8_lossy(tokenizer.token_text(id).unwrap_or_default());
    let bytes = tokenizer.token_bytes(id).unwrap_or_default();
    json!({ "id": id, "text": text, "bytes": bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_separated_by_commas_or_blanks() {
        assert_eq!(parse_ids("1, 40\n77,").unwrap(), [1, 40, 77]);
        assert!(parse_ids("").unwrap().is_empty(), "nothing is no id");
        for text in ["-1", "1;2", "x", "4294967296"] {
            assert_eq!(Exit::of(&parse_ids(text).unwrap_err()), Exit::Usage, "{text}");
        }
    }
}
