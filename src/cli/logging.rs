//! The log on stderr: warnings by default, generations too where a service logs JSON, more by
//! `RUST_LOG`.

use anyhow::Context as _;
use serde_json::Value;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
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
        // The innermost span is the last one of the list.
        LogFormat::Json => {
            lines.json().with_current_span(false).map_event_format(JsonLines).boxed()
        }
    };
    let all = tracing_subscriber::registry().with(also).with(lines.with_filter(filter));
    all.try_init().context("cannot start the log")
}

/// Lines of JSON in which the metrics of a generation are an object: fields of `tracing` are plain
/// values, so that they come as text. The fields of its spans are left out, as its own say the same.
#[derive(Debug)]
struct JsonLines(Format<Json>);

impl<S, N> FormatEvent<S, N> for JsonLines
where
    Format<Json>: FormatEvent<S, N>,
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        if event.metadata().target() != "powerinfer::generation" {
            return self.0.format_event(context, writer, event);
        }
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        let mut line: Value = serde_json::from_str(&line).map_err(|_| std::fmt::Error)?;
        let metrics = &mut line["fields"]["metrics"];
        *metrics = metrics
            .as_str()
            .map_or(Ok(Value::Null), serde_json::from_str)
            .map_err(|_| std::fmt::Error)?;
        if let Some(line) = line.as_object_mut() {
            line.remove("spans");
        }
        writeln!(writer, "{line}")
    }
}
