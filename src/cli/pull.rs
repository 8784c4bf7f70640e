//! `powerinfer pull`: fetches a model by its name, its repository or its address.

use std::ops::ControlFlow;

use anyhow::Context as _;
use powerinfer::Checksum;
use powerinfer::hub::{Hub, HubOptions, ModelSource, PullOptions, StoredModel};
use serde_json::json;

use super::exit::{self, Exit};
use super::output::{Out, note};
use super::pull_progress::Progress;

/// Arguments of `powerinfer pull`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Models are kept in the folder POWERINFER_MODELS [default: powerinfer/models in the user's folder for \
caches]. HF_ENDPOINT names a mirror, HF_TOKEN a token for private and gated repositories. What an \
interruption leaves is gone on with by the same command; a file is kept only if its size and its \
digest are right. Proxies are taken from HTTPS_PROXY and ALL_PROXY.")]
pub(super) struct Args {
    /// A name of `powerinfer list --known`, `hf://ORG/REPO[@REVISION][/FILE]`, or `https://...`
    source: String,
    /// Calls the model so [default: as its source does].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Keeps the model file only if it has this digest: 64 hexadecimal digits, with or without
    /// `sha256:` [default: the one that the hub tells].
    #[arg(long, value_name = "DIGEST", value_parser = digest)]
    sha256: Option<Checksum>,
    /// Fetches nothing: the model is here or the command fails [default: off, or
    /// `HF_HUB_OFFLINE`].
    #[arg(long)]
    offline: bool,
    /// Prints events as JSON, one a line [default: a progress bar on stderr].
    #[arg(long)]
    json: bool,
    /// Prints errors only [default: off].
    #[arg(long, conflicts_with = "json")]
    quiet: bool,
}

/// Pulls; in JSON, an error is an event too.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let result = pull(args);
    if !args.json {
        let stored = result?;
        if !args.quiet {
            note(&format!("{} is ready: powerinfer run -m {}", stored.name, stored.name));
        }
        return Ok(Exit::Success);
    }
    let (exit, last) = match result {
        Ok(stored) => (Exit::Success, json!({ "event": "ready", "model": stored })),
        Err(error) => {
            (Exit::of(&error), json!({ "event": "error", "error": exit::to_json(&error) }))
        }
    };
    Out::lock().json_line(&last)?;
    Ok(exit)
}

fn pull(args: &Args) -> anyhow::Result<StoredModel> {
    let source: ModelSource = args.source.parse()?;
    let options = HubOptions::from_env()?;
    let options = if args.offline { options.offline(true) } else { options };
    let mut pull = PullOptions::default();
    if let Some(name) = &args.name {
        pull = pull.name(name);
    }
    if let Some(digest) = args.sha256 {
        pull = pull.checksum(digest);
    }
    listen()?;
    let mut progress = Progress::new(args.json, args.quiet)?;
    let mut told = Ok(());
    let stored = Hub::new(options).pull(&source, &pull, &mut |event| {
        told = progress.tell(event);
        if told.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    progress.end();
    told?;
    Ok(stored?)
}

/// Ends the program at Ctrl-C at once: what was fetched is kept whatever happens.
fn listen() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        note("interrupted: the same command goes on from here");
        std::process::exit(Exit::Interrupted.code().into());
    })
    .context("cannot listen for Ctrl-C")
}

fn digest(text: &str) -> Result<Checksum, String> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let digest = Checksum::parse(Some(&format!("sha256:{digits}")));
    let wanted = || "wanted 64 hexadecimal digits".to_owned();
    digest.map_err(|_| wanted())?.ok_or_else(wanted)
}
