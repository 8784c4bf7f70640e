//! The log on stderr: warnings by default, generations too where a service logs JSON, more by
//! `RUST_LOG`.

use anyhow::Context as _;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt};

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// One readable line an event.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// How much is logged unless `RUST_LOG` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Volume {
    /// Nothing: the command's errors say enough.
    Quiet,
    /// Warnings; how a generation went is told by the command itself.
    Command,
    /// Warnings, and in JSON every generation: nobody sits in front of a service.
    #[cfg_attr(not(feature = "server"), expect(dead_code, reason = "there is no service"))]
    Service,
}

impl Volume {
    fn filter(self, format: LogFormat) -> &'static str {
        match (self, format) {
            (Self::Quiet, _) => "off",
            (Self::Service, LogFormat::Json) => "warn,powerinfer::generation=info",
            (Self::Command | Self::Service, _) => "warn,powerinfer::generation=off",
        }
    }
}

/// Something else that is made of spans and events.
pub(super) type Also = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts logging to stderr. What `RUST_LOG` says wins over `volume`.
pub(super) fn start(format: LogFormat, volume: Volume, also: Option<Also>) -> anyhow::Result<()> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(directives) if !directives.is_empty() => EnvFilter::try_new(&directives)
            .map_err(|error| super::exit::usage(format!("RUST_LOG: {error}")))?,
        _ => EnvFilter::new(volume.filter(format)),
    };
    // Where stderr is closed, there is no place to say so.
    let lines = fmt::layer().with_writer(std::io::stderr).log_internal_errors(false);
    let lines = match format {
        LogFormat::Text => {
            let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            lines.with_ansi(is_terminal).without_time().with_target(false).boxed()
        }
        LogFormat::Json => lines.json().boxed(),
    };
    let all = tracing_subscriber::registry().with(also).with(lines.with_filter(filter));
    all.try_init().context("cannot start the log")
}
