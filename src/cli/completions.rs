//! `powerinfer completions`: scripts that let a shell complete our options.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Cli;
use super::exit::Exit;
use super::output::Out;

/// Arguments of `powerinfer completions`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell to complete in.
    shell: Shell,
}

/// Prints the script.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    // Made in memory first: the generator panics where writing fails.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "powerinfer", &mut script);
    Out::lock().bytes(&script)?;
    Ok(Exit::Success)
}
