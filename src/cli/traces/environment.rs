//! What the environment says about traces, by the names that OpenTelemetry gives it. Its own readers
//! pass over what they do not know; here that is an error.

use std::time::Duration;
use std::{env, fmt};

use super::super::exit;

/// How long the collector may take for a batch, unless it is said.
const TIMEOUT: Duration = Duration::from_secs(10);

const PROTOCOLS: &[&str] = &["http/protobuf"];
const SAMPLERS: &[&str] = &[
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];
/// What variables may say, where OpenTelemetry's own readers pass over what they do not know.
const WANTED: [(&str, Wanted); 9] = [
    ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", Wanted::OneOf(PROTOCOLS)),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", Wanted::OneOf(PROTOCOLS)),
    ("OTEL_TRACES_SAMPLER", Wanted::OneOf(SAMPLERS)),
    ("OTEL_TRACES_SAMPLER_ARG", Wanted::Share),
    ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", Wanted::Number),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", Wanted::Number),
    ("OTEL_BSP_SCHEDULE_DELAY", Wanted::Number),
    ("OTEL_BSP_MAX_QUEUE_SIZE", Wanted::Number),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", Wanted::Number),
];

/// What a variable may say.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    OneOf(&'static [&'static str]),
    Number,
    Share,
}

impl Wanted {
    fn takes(self, value: &str) -> bool {
        match self {
            Self::OneOf(names) => names.contains(&value),
            Self::Number => value.parse::<u32>().is_ok(),
            Self::Share => value.parse().is_ok_and(|share| (0.0..=1.0).contains(&share)),
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneOf(names) => f.write_str(&names.join(" or ")),
            Self::Number => f.write_str("a whole number"),
            Self::Share => f.write_str("a number from 0 to 1"),
        }
    }
}

/// Where spans are sent, if they are: to `endpoint` if there is one.
pub(super) fn url(endpoint: Option<&str>) -> anyhow::Result<Option<String>> {
    let below = |url: &str| format!("{}/v1/traces", url.trim_end_matches('/'));
    let url = endpoint
        .map(below)
        .or_else(|| variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))
        .or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT").as_deref().map(below));
    let is_disabled =
        variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let Some(url) = url.filter(|_| !is_disabled) else { return Ok(None) };
    if !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(exit::usage(format!(
            "the endpoint for traces is {url}, wanted a URL such as http://127.0.0.1:4318"
        )));
    }
    for (name, wanted) in WANTED {
        if let Some(found) = variable(name).filter(|found| !wanted.takes(found)) {
            return Err(exit::usage(format!("{name} is {found}, wanted {wanted}")));
        }
    }
    Ok(Some(url))
}

/// How long the collector may take for a batch.
pub(super) fn timeout() -> Duration {
    let names = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
    let said = names.into_iter().find_map(|name| variable(name)?.parse().ok());
    said.map_or(TIMEOUT, Duration::from_millis)
}

/// A variable; an empty one is none.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
