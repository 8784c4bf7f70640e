//! `powerinfer lock`: records which model, policy and engine are in use together.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use powerinfer::{Lock, Policy};

use super::exit::Exit;
use super::model_file::policy_file;
use super::output::{Out, write_file};

/// Arguments of `powerinfer lock`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The model file is read as a whole. `powerinfer validate --expect FILE` and `powerinfer serve --expect FILE` \
compare with the file, and so does everything that runs a policy whose `audit.lock` names it.")]
pub(super) struct Args {
    /// The policy, a YAML file, or the name of a pulled model.
    #[arg(short, long, value_name = "POLICY")]
    config: PathBuf,
    /// The lock file [default: standard output].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Writes the lock file.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let path = policy_file(&args.config)?;
    let policy = Policy::from_file(&path);
    let policy = policy.with_context(|| format!("policy {}", path.display()))?;
    let lock = Lock::of(&policy, Some(env!("POWERINFER_COMMIT")), &mut |_, _| {})?;
    match &args.output {
        None => Out::lock().json(&lock)?,
        Some(path) => write_file(path, |file| {
            serde_json::to_writer_pretty(&mut *file, &lock)?;
            file.write_all(b"\n")
        })?,
    }
    Ok(Exit::Success)
}
