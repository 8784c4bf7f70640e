//! `powerinfer inspect`: what is in a model file.

use std::fmt::Write as _;
use std::path::PathBuf;

use powerinfer::{GgufFile, TensorInfo};
use serde_json::{Map, Value, json};

use super::exit::Exit;
use super::inspect_facts::{Class, Facts, Tally, metadata_value};
use super::model_file::model_file;
use super::output::Out;

/// Characters of a metadata text that are shown.
const SHOWN_CHARACTERS: usize = 100;

/// Arguments of `powerinfer inspect`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The model file, GGUF or PWRI, or the name of a pulled model.
    #[arg(value_name = "MODEL")]
    file: PathBuf,
    /// Lists every tensor [default: sums only].
    #[arg(long)]
    tensors: bool,
    /// Prints one JSON object [default: off].
    #[arg(long)]
    json: bool,
}

/// What is told about a file.
struct Report {
    file: GgufFile,
    metadata: Map<String, Value>,
    tensors: Vec<TensorInfo>,
    facts: Facts,
}

/// Reads and prints the facts.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let report = Report::new(GgufFile::open(model_file(&args.file)?)?)?;
    let mut out = Out::lock();
    if args.json {
        out.json(&report.to_json(args.tensors))?;
    } else {
        out.text(&report.to_text(args.tensors)?)?;
    }
    Ok(Exit::Success)
}

impl Report {
    fn new(file: GgufFile) -> anyhow::Result<Self> {
        let mut metadata = Map::new();
        for entry in file.metadata().entries() {
            let entry = entry?;
            metadata.insert(entry.key().into_owned(), metadata_value(&entry)?);
        }
        let tensors = file.tensors().collect::<Result<Vec<_>, _>>()?;
        let facts = Facts::new(&file, &tensors);
        Ok(Self { file, metadata, tensors, facts })
    }

    fn to_json(&self, lists_tensors: bool) -> Value {
        let mut json = json!({
            "path": self.file.path(),
            "file": self.file.info(),
            "metadata": self.metadata,
            "types": self.facts.types,
            "classes": self.facts.classes,
            "model": self.facts.model,
            "problem": self.facts.problem,
            "sparsity": self.facts.sparsity,
        });
        if lists_tensors {
            json["tensors"] = json!(self.tensors);
        }
        json
    }

    fn to_text(&self, lists_tensors: bool) -> anyhow::Result<String> {
        let mut text = String::new();
        self.write_file(&mut text)?;
        self.write_model(&mut text)?;
        self.write_sizes(&mut text)?;
        self.write_sparsity(&mut text)?;
        self.write_metadata(&mut text)?;
        if lists_tensors {
            self.write_tensors(&mut text)?;
        }
        Ok(text)
    }

    fn write_file(&self, text: &mut String) -> anyhow::Result<()> {
        let info = self.file.info();
        let kind = if info.is_sparse { "PWRI" } else { "GGUF" };
        writeln!(text, "file")?;
        line(text, "container", &format!("{kind} version {}", info.version))?;
        line(text, "size", &bytes(info.file_bytes))?;
        line(text, "tensors", &info.n_tensors.to_string())?;
        line(text, "alignment", &info.alignment.to_string())
    }

    fn write_model(&self, text: &mut String) -> anyhow::Result<()> {
        writeln!(text, "\nmodel")?;
        let Some(model) = &self.facts.model else {
            let problem = self.facts.problem.as_deref().unwrap_or("unknown");
            return line(text, "does not run", problem);
        };
        line(text, "name", &model.name)?;
        line(text, "family", &model.architecture)?;
        let gate = if model.is_gated { "gated" } else { "not gated" };
        line(text, "activation", &format!("{}, {gate}", model.activation))?;
        line(text, "strategy", &format!("{} (by default)", model.strategy))?;
        let shape = format!(
            "{} layers of {} with {} neurons, {} heads ({} for keys and values) of {}",
            model.n_layers,
            model.dim,
            model.hidden_dim,
            model.n_heads,
            model.n_kv_heads,
            model.head_dim
        );
        line(text, "shape", &shape)?;
        line(text, "vocabulary", &model.vocab_size.to_string())?;
        line(text, "trained context", &model.context_length.to_string())
    }

    fn write_sizes(&self, text: &mut String) -> anyhow::Result<()> {
        writeln!(text, "\nsizes by type")?;
        for (name, tally) in &self.facts.types {
            line(text, name, &self.tally(*tally))?;
        }
        writeln!(text, "\nsizes by use")?;
        for (class, tally) in &self.facts.classes {
            line(text, Class::name(*class), &self.tally(*tally))?;
        }
        Ok(())
    }

    fn tally(&self, tally: Tally) -> String {
        let all: u64 = self.tensors.iter().map(|tensor| tensor.bytes).sum();
        let share = 100.0 * as_f64(tally.bytes) / as_f64(all.max(1));
        format!("{:>4} tensors, {} ({share:.1} %)", tally.tensors, bytes(tally.bytes))
    }

    fn write_sparsity(&self, text: &mut String) -> anyhow::Result<()> {
        let sparsity = &self.facts.sparsity;
        writeln!(text, "\nsparsity")?;
        let predictors = match sparsity.predictor_ranks {
            Some((low, high)) if low == high => {
                format!("in {} layers, rank {low}", sparsity.predictor_layers)
            }
            Some((low, high)) => {
                format!("in {} layers, ranks {low} to {high}", sparsity.predictor_layers)
            }
            None => "none".to_owned(),
        };
        line(text, "predictors", &predictors)?;
        if let Some(threshold) = sparsity.threshold {
            line(text, "threshold", &threshold.to_string())?;
        }
        let share = format!("{:.1} % of all bytes", 100.0 * sparsity.feed_forward_share);
        line(text, "feed-forward", &share)?;
        let per_token = &sparsity.bytes_per_token;
        let share = 100.0 * per_token.assumed_active_share;
        writeln!(text, "\nbytes per token, if {share:.0} % of the neurons are active")?;
        line(text, "dense", &megabytes(per_token.dense))?;
        if let Some(bytes) = per_token.exact {
            line(text, "exact", &megabytes(bytes))?;
        }
        if let Some(bytes) = per_token.predictor {
            line(text, "predictor", &megabytes(bytes))?;
        }
        Ok(())
    }

    fn write_metadata(&self, text: &mut String) -> anyhow::Result<()> {
        writeln!(text, "\nmetadata")?;
        for (key, value) in &self.metadata {
            writeln!(text, "  {key} = {}", shown(value))?;
        }
        Ok(())
    }

    fn write_tensors(&self, text: &mut String) -> anyhow::Result<()> {
        writeln!(text, "\ntensors")?;
        for TensorInfo { name, dtype, shape, offset, bytes, .. } in &self.tensors {
            let shape: Vec<String> = shape.iter().map(ToString::to_string).collect();
            let shape = shape.join(" x ");
            writeln!(text, "  {name:<32} {dtype:<5} {shape:<16} {bytes:>12} bytes at {offset}")?;
        }
        Ok(())
    }
}

fn line(text: &mut String, what: &str, value: &str) -> anyhow::Result<()> {
    Ok(writeln!(text, "  {what:<16} {value}")?)
}

/// A metadata value in one line.
fn shown(value: &Value) -> String {
    if let (Some(kind), Some(length), Some(Value::Array(first))) =
        (value.get("type").and_then(Value::as_str), value.get("length"), value.get("first"))
    {
        let first: Vec<String> = first.iter().map(shown).collect();
        let more = if length.as_u64() > Some(first.len() as u64) { ", ..." } else { "" };
        return format!("{length} x {kind}: [{}{more}]", first.join(", "));
    }
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn bytes(n: u64) -> String {
    format!("{n} bytes, {}", megabytes(as_f64(n)))
}

fn megabytes(bytes: f64) -> String {
    if bytes >= 1e9 { format!("{:.3} GB", bytes / 1e9) } else { format!("{:.3} MB", bytes / 1e6) }
}

#[expect(clippy::cast_precision_loss, reason = "sizes are shown with four digits")]
fn as_f64(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut() {
        let array = json!({ "type": "string", "length": 9, "first": ["a", "b"] });
        assert_eq!(shown(&array), "9 x string: [\"a\", \"b\", ...]");
        let whole = json!({ "type": "u32", "length": 2, "first": [1, 2] });
        assert_eq!(shown(&whole), "2 x u32: [1, 2]");
        let long = Value::from("é".repeat(200));
        assert!(shown(&long).ends_with("..."), "{}", shown(&long));
    }
}
