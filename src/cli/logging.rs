//! The log on stderr: warnings by default, more by `RUST_LOG`.

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// One readable line an event.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Warnings only; how a generation went is told by the command itself.
const DEFAULT_FILTER: &str = "warn,powerinfer::generation=off";
const QUIET_FILTER: &str = "off";

/// Starts logging to stderr. What `RUST_LOG` says wins over `is_quiet`.
pub(super) fn start(format: LogFormat, is_quiet: bool) -> anyhow::Result<()> {
    let default = if is_quiet { QUIET_FILTER } else { DEFAULT_FILTER };
    let filter = match std::env::var("RUST_LOG") {
        Ok(directives) if !directives.is_empty() => EnvFilter::try_new(&directives)
            .map_err(|error| super::exit::usage(format!("RUST_LOG: {error}")))?,
        _ => EnvFilter::new(default),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false); // where stderr is closed, there is no place to say so
    let started = match format {
        LogFormat::Text => {
            let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            builder.with_ansi(is_terminal).without_time().with_target(false).try_init()
        }
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!(error)).context("cannot start the log")
}
