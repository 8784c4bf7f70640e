//! Options about what a reply has to be.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use powerinfer::Grammar;

use super::exit;
use super::prompt::read_file;

/// What a reply has to be.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Text")]
pub(super) struct GrammarArgs {
    /// Makes the reply JSON that this schema accepts: a file, or the schema itself, which begins
    /// with a brace [default: none].
    #[arg(long, value_name = "FILE|JSON", conflicts_with_all = ["grammar", "ignore_eos"])]
    json_schema: Option<String>,
    /// Makes the reply what this grammar derives: a file in the variant of Lark that llguidance reads
    /// [default: none].
    #[arg(long, value_name = "FILE", conflicts_with = "ignore_eos")]
    grammar: Option<PathBuf>,
}

impl GrammarArgs {
    /// The grammar that is asked for, if one is.
    pub(super) fn read(&self) -> anyhow::Result<Option<Grammar>> {
        if let Some(schema) = &self.json_schema {
            return read_schema(schema).map(Some);
        }
        let Some(path) = &self.grammar else { return Ok(None) };
        let grammar = Grammar::lark(&read_file(path)?).map_err(powerinfer::Error::from);
        grammar.with_context(|| format!("{}", path.display())).map(Some)
    }
}

fn read_schema(schema: &str) -> anyhow::Result<Grammar> {
    let (text, name) = if schema.trim_start().starts_with('{') {
        (schema.to_owned(), "--json-schema".to_owned())
    } else {
        (read_file(Path::new(schema))?, schema.to_owned())
    };
    let schema = serde_json::from_str(&text)
        .map_err(|error| exit::usage(format!("{name} is no JSON: {error}")))?;
    let grammar = Grammar::json_schema(&schema).map_err(powerinfer::Error::from);
    grammar.with_context(|| format!("{name} cannot be used"))
}
