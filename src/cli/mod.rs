//! The command line: what there is to say, and what each command does with it.

mod bench;
mod chat;
mod completions;
mod engine_args;
mod exit;
mod gpu_args;
mod grammar_args;
mod inspect;
mod inspect_facts;
mod interrupt;
mod lock;
mod logging;
mod logits;
mod model_args;
mod model_file;
mod npy;
mod output;
mod perplexity;
mod plan;
mod process_memory;
mod profile;
mod prompt;
#[cfg(feature = "hub")]
mod pull;
#[cfg(feature = "hub")]
mod pull_progress;
mod reply;
mod run;
mod sampling_args;
mod schema;
#[cfg(feature = "server")]
mod serve;
#[cfg(feature = "server")]
mod service;
mod session_args;
mod settings;
mod state_folder;
#[cfg(feature = "hub")]
mod stored;
mod tokenize;
#[cfg(feature = "otel")]
mod traces;
mod validate;
mod version;
mod windows;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use exit::Exit;
use logging::{LogFormat, Volume};

/// Runs ReLU-sparse large language models fast on one ordinary machine.
///
/// Without a command, `run` is meant; without any argument, the built-in demo model tells a story.
#[derive(Debug, Parser)]
#[command(name = "powerinfer", version, long_version = version::long(), after_help = exit::help())]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Form of the log on stderr; `RUST_LOG` says how much of it there is [default: text].
    #[arg(long, global = true, value_name = "FORMAT", env = "POWERINFER_LOG_FORMAT")]
    log_format: Option<LogFormat>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Continues a text or answers a question.
    Run(Box<run::Args>),
    /// Talks with a model, here or behind an OpenAI-compatible API.
    Chat(Box<chat::Args>),
    /// Tells what is in a model file.
    Inspect(inspect::Args),
    /// Plans what of a model goes to a GPU, without one.
    Plan(plan::Args),
    /// Checks a policy, its model file and whether both fit this machine.
    Validate(validate::Args),
    /// Turns text into tokens and back.
    Tokenize(tokenize::Args),
    /// Measures how well a model predicts a text.
    Perplexity(perplexity::Args),
    /// Counts which neurons a text needs, for their placement.
    Profile(profile::Args),
    /// Writes the logits of given tokens to an npy file.
    Logits(logits::Args),
    /// Measures speed, as a share of what the memory of this machine allows.
    Bench(bench::Args),
    /// Fetches a model by its name, its repository or its address.
    #[cfg(feature = "hub")]
    Pull(pull::Args),
    /// Lists the models that were pulled, or could be.
    #[cfg(feature = "hub")]
    List(stored::ListArgs),
    /// Tells what is known about a model, pulled or not.
    #[cfg(feature = "hub")]
    Show(stored::ShowArgs),
    /// Removes models that were pulled.
    #[cfg(feature = "hub")]
    Rm(stored::RmArgs),
    /// Serves a model over HTTP, in the form of OpenAI's API.
    #[cfg(feature = "server")]
    #[command(alias = "server")]
    Serve(Box<serve::Args>),
    /// Tells whether a server runs, in a line of JSON.
    #[cfg(feature = "server")]
    Status(service::StatusArgs),
    /// Ends a server when it has finished what it accepted.
    #[cfg(feature = "server")]
    Stop(service::StopArgs),
    /// Records model, policy and engine, so that a change is noticed.
    Lock(lock::Args),
    /// Prints the JSON schema of policies.
    Schema,
    /// Prints a completion script for a shell.
    Completions(completions::Args),
}

/// Parses the arguments, runs the command and reports how that went.
pub(crate) fn main() -> ExitCode {
    let cli = match parse(std::env::args_os().collect()) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    powerinfer::set_commit(env!("POWERINFER_COMMIT"));
    let result = cli.start().and_then(|_until_the_end| cli.run());
    match result {
        Ok(exit) => exit.into(),
        // Whoever read the output has seen enough.
        Err(error) if output::is_closed_pipe(&error) => Exit::Success.into(),
        Err(error) => {
            exit::report(&error);
            Exit::of(&error).into()
        }
    }
}

/// Parses arguments, which mean `run` where they name no command.
fn parse(arguments: Vec<OsString>) -> Result<Cli, clap::Error> {
    match try_parse(&arguments) {
        Ok(cli) if cli.command.is_some() => Ok(cli),
        Ok(_) => try_parse(&as_run(arguments)),
        Err(error) if error.kind() == ErrorKind::UnknownArgument => {
            // An option of `run`, unless the first argument is a command or a mistyped one.
            let is_option = |argument: &OsString| argument.as_encoded_bytes().starts_with(b"-");
            if arguments.get(1).is_some_and(is_option) {
                try_parse(&as_run(arguments))
            } else {
                Err(error)
            }
        }
        Err(error) => Err(error),
    }
}

/// Parses arguments, and tells those that choose an engine which options were given.
fn try_parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let command = Cli::command();
    let matches = command.clone().try_get_matches_from(arguments)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    let engine = match &mut cli.command {
        Some(Command::Run(args)) => &mut args.engine,
        Some(Command::Chat(args)) => &mut args.engine,
        _ => return Ok(cli),
    };
    if let Some((name, matches)) = matches.subcommand() {
        let options =
            command.find_subcommand(name).into_iter().flat_map(clap::Command::get_arguments);
        let options = options.filter(|option| option.get_help_heading() != Some("Sampling"));
        let given = options.filter(|option| {
            matches.value_source(option.get_id().as_str()) == Some(ValueSource::CommandLine)
        });
        engine.given =
            given.filter_map(|option| Some(format!("--{}", option.get_long()?))).collect();
    }
    Ok(cli)
}

/// Puts `run` in front of the arguments.
fn as_run(mut arguments: Vec<OsString>) -> Vec<OsString> {
    arguments.insert(1.min(arguments.len()), "run".into());
    arguments
}

/// Prints what is wrong with the arguments, or the help that they ask for.
fn refuse(error: &clap::Error) -> ExitCode {
    // Nobody is left to tell where printing fails.
    let _ = error.print();
    let _ = std::io::stdout().flush();
    if error.use_stderr() { Exit::Usage.into() } else { Exit::Success.into() }
}

impl Cli {
    /// Starts the log, and the export of traces, which ends when what this returns is dropped.
    #[cfg(feature = "otel")]
    fn start(&self) -> anyhow::Result<Option<traces::Traces>> {
        let args = match &self.command {
            Some(Command::Run(args)) => Some(&args.engine.local),
            Some(Command::Chat(args)) => Some(&args.engine.local),
            #[cfg(feature = "server")]
            Some(Command::Serve(args)) => Some(&args.engine),
            _ => None,
        };
        let endpoint = args.map(|args| args.otel_endpoint.as_deref());
        let traces = endpoint.and_then(|it| traces::Traces::start(it).transpose()).transpose()?;
        self.start_log(traces.as_ref().map(traces::Traces::layer))?;
        Ok(traces)
    }

    /// Starts the log.
    #[cfg(not(feature = "otel"))]
    fn start(&self) -> anyhow::Result<()> {
        self.start_log(None)
    }

    fn start_log(&self, also: Option<logging::Also>) -> anyhow::Result<()> {
        logging::start(self.log_format.unwrap_or_default(), self.volume(), also)
    }

    fn volume(&self) -> Volume {
        let is_quiet = match &self.command {
            Some(Command::Run(args)) => args.quiet,
            Some(Command::Chat(args)) => args.quiet,
            #[cfg(feature = "server")]
            Some(Command::Serve(_)) => return Volume::Service,
            _ => false,
        };
        if is_quiet { Volume::Quiet } else { Volume::Command }
    }

    fn run(self) -> anyhow::Result<Exit> {
        match self.command {
            Some(Command::Run(args)) => run::run(&args),
            Some(Command::Chat(args)) => chat::run(&args),
            Some(Command::Inspect(args)) => inspect::run(&args),
            Some(Command::Plan(args)) => plan::run(&args),
            Some(Command::Validate(args)) => validate::run(&args),
            Some(Command::Tokenize(args)) => tokenize::run(&args),
            Some(Command::Perplexity(args)) => perplexity::run(&args),
            Some(Command::Profile(args)) => profile::run(&args),
            Some(Command::Logits(args)) => logits::run(&args),
            Some(Command::Bench(args)) => bench::run(&args),
            #[cfg(feature = "hub")]
            Some(Command::Pull(args)) => pull::run(&args),
            #[cfg(feature = "hub")]
            Some(Command::List(args)) => stored::list(&args),
            #[cfg(feature = "hub")]
            Some(Command::Show(args)) => stored::show(&args),
            #[cfg(feature = "hub")]
            Some(Command::Rm(args)) => stored::rm(&args),
            #[cfg(feature = "server")]
            Some(Command::Serve(args)) => serve::run(*args),
            #[cfg(feature = "server")]
            Some(Command::Status(args)) => service::status(&args),
            #[cfg(feature = "server")]
            Some(Command::Stop(args)) => service::stop(&args),
            Some(Command::Lock(args)) => lock::run(&args),
            Some(Command::Schema) => schema::run(),
            Some(Command::Completions(args)) => completions::run(&args),
            None => Err(exit::usage("no command: see --help")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Cli, clap::Error> {
        let program = std::iter::once("powerinfer");
        parse(program.chain(arguments.iter().copied()).map(OsString::from).collect())
    }

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_is_meant_where_no_command_is_named() {
        for arguments in [&[][..], &["-p", "inspect"], &["--log-format", "json", "--top-k", "3"]] {
            let cli = parsed(arguments).unwrap();
            assert!(matches!(cli.command, Some(Command::Run(_))), "{arguments:?}");
        }
        let cli = parsed(&["--log-format", "json", "inspect", "x"]).unwrap();
        assert!(matches!(cli.command, Some(Command::Inspect(_))), "a global option comes first");
    }

    #[test]
    fn a_mistyped_command_is_not_a_prompt() {
        let error = parsed(&["inspct", "x"]).unwrap_err();
        assert!(error.to_string().contains("inspect"), "{error}");
        assert!(parsed(&["--no-such-option"]).is_err());
    }
}
