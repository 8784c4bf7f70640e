//! `powerinfer list`, `show` and `rm`: the models that were pulled, and those that could be.

use std::fmt::Write as _;

use anyhow::Context as _;
use powerinfer::Policy;
use powerinfer::hub::{CatalogueEntry, Hub, HubError, HubOptions, StoredModel, catalogue};
use serde_json::{Value, json};

use super::exit::Exit;
use super::output::{Out, note};
use super::pull_progress::size;

/// Arguments of `powerinfer list`.
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Lists the models that can be pulled by name instead [default: those that were pulled].
    #[arg(long)]
    known: bool,
    /// Prints one JSON object [default: off].
    #[arg(long)]
    json: bool,
}

/// Arguments of `powerinfer show`.
#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// The model.
    name: String,
    /// Prints one JSON object [default: off].
    #[arg(long)]
    json: bool,
}

/// Arguments of `powerinfer rm`.
#[derive(Debug, clap::Args)]
pub(super) struct RmArgs {
    /// The models.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Lists models.
pub(super) fn list(args: &ListArgs) -> anyhow::Result<Exit> {
    let hub = Hub::new(HubOptions::from_env()?);
    let models = hub.list()?;
    let mut out = Out::lock();
    if args.known {
        let known = catalogue().iter().map(|entry| known_json(entry, &models));
        let known = known.collect::<anyhow::Result<Vec<Value>>>()?;
        if args.json {
            out.json(&json!({ "models": known }))?;
        } else {
            out.text(&known_text(&known)?)?;
        }
    } else if args.json {
        out.json(&json!({ "folder": hub.folder(), "models": models }))?;
    } else {
        out.text(&models_text(&models)?)?;
        if models.is_empty() {
            note("no model was pulled yet: `powerinfer list --known` shows which could be");
        }
    }
    Ok(Exit::Success)
}

/// Tells what is known about a model, pulled or not.
pub(super) fn show(args: &ShowArgs) -> anyhow::Result<Exit> {
    let hub = Hub::new(HubOptions::from_env()?);
    let (stored, policy) = match (hub.find(&args.name), CatalogueEntry::find(&args.name)) {
        (Ok(stored), _) => {
            let policy = Policy::from_file(&stored.policy).ok();
            (Some(stored), policy)
        }
        (Err(HubError::NotPulled { .. }), Some(entry)) => (None, Some(entry.policy()?)),
        (Err(error), _) => return Err(error.into()),
    };
    let mut out = Out::lock();
    if args.json {
        out.json(&json!({ "stored": stored, "policy": policy }))?;
    } else {
        out.text(&details(&args.name, stored.as_ref(), policy.as_ref())?)?;
    }
    Ok(Exit::Success)
}

/// Removes models.
pub(super) fn rm(args: &RmArgs) -> anyhow::Result<Exit> {
    let hub = Hub::new(HubOptions::from_env()?);
    for name in &args.names {
        let model = hub.remove(name).with_context(|| format!("cannot remove {name}"))?;
        note(&format!("removed {}: {}", model.name, size(model.bytes)));
    }
    Ok(Exit::Success)
}

fn models_text(models: &[StoredModel]) -> anyhow::Result<String> {
    let mut text = String::new();
    let width = models.iter().map(|model| model.name.len()).max().unwrap_or(0);
    for model in models {
        let what = match (&model.problem, &model.source) {
            (Some(problem), _) => format!("not whole: {problem}"),
            (None, source) => source.clone().unwrap_or_default(),
        };
        writeln!(text, "{:<width$}  {:>9}  {what}", model.name, size(model.bytes))?;
    }
    Ok(text)
}

fn known_json(entry: &CatalogueEntry, models: &[StoredModel]) -> anyhow::Result<Value> {
    let policy = entry.policy()?;
    let is_here = models.iter().any(|model| model.name == entry.name && model.problem.is_none());
    Ok(json!({
        "name": entry.name,
        "aliases": entry.aliases,
        "source": policy.audit.source_repo,
        "description": policy.metadata.description,
        "pulled": is_here,
    }))
}

fn known_text(known: &[Value]) -> anyhow::Result<String> {
    let mut text = String::new();
    let field = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let width = known.iter().map(|row| field(row, "name").len()).max().unwrap_or(0);
    for row in known {
        let state = match (&row["pulled"], &row["source"]) {
            (Value::Bool(true), _) => "pulled",
            (_, Value::Null) => "no repository",
            _ => "",
        };
        let (name, description) = (field(row, "name"), field(row, "description"));
        writeln!(text, "{name:<width$}  {state:<13}  {description}")?;
    }
    Ok(text)
}

fn details(
    name: &str,
    stored: Option<&StoredModel>,
    policy: Option<&Policy>,
) -> anyhow::Result<String> {
    let mut text = String::new();
    let mut line = |what: &str, value: &dyn std::fmt::Display| {
        writeln!(text, "{what:<12} {value}").context("cannot write")
    };
    if let Some(stored) = stored {
        line("name", &stored.name)?;
        line("state", stored.problem.as_ref().map_or(&"whole", |problem| problem))?;
        line("size", &format!("{} bytes, {}", stored.bytes, size(stored.bytes)))?;
        line("policy", &stored.policy.display())?;
        if let Some(model) = &stored.model {
            line("model", &model.display())?;
        }
    } else {
        line("name", &CatalogueEntry::find(name).map_or(name, |entry| entry.name))?;
        line("state", &"not pulled")?;
    }
    let Some(policy) = policy else { return Ok(text) };
    let audit = &policy.audit;
    let facts = [
        ("source", &audit.source_repo),
        ("version", &audit.model_version),
        ("checksum", &audit.checksum),
        ("description", &policy.metadata.description),
    ];
    for (what, value) in facts {
        if let Some(value) = value {
            line(what, value)?;
        }
    }
    Ok(text)
}
