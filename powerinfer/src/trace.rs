//! The spans of texts and embeddings. Names and attributes are those of OpenTelemetry's conventions
//! for generative AI; a subscriber that exports spans needs to know nothing of this crate. None of them
//! holds a prompt or a text.

use tracing::Span;
use tracing::field::Empty;

#[cfg(feature = "openai")]
use crate::engine::{EngineError, Options, Reply};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::report::{ENGINE_VERSION, Identity, Outcome, commit};
use crate::sampling::Sampling;

/// What a text is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// It answers a conversation.
    Chat,
    /// It continues a prompt.
    Completion,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completion => "text_completion",
        }
    }
}

/// A span with what all have, and fields of its own.
macro_rules! span {
    ($name:literal, $operation:expr, $identity:expr, $($own:tt)+) => {{
        let (operation, identity): (&str, &Identity) = ($operation, $identity);
        tracing::info_span!(
            $name,
            otel.name = %format_args!("{operation} {}", identity.model),
            otel.status_description = Empty,
            "error.type" = Empty,
            gen_ai.operation.name = operation,
            gen_ai.provider.name = "powerinfer",
            gen_ai.request.model = identity.model,
            gen_ai.response.model = identity.model,
            powerinfer.request_id = Empty,
            powerinfer.model_version = identity.model_version,
            powerinfer.checksum = identity.checksum,
            powerinfer.policy_hash = identity.policy_hash,
            powerinfer.engine_version = ENGINE_VERSION,
            powerinfer.commit = commit(),
            $($own)+
        )
    }};
}

/// Opens the span of a text, in the span that is entered on this thread.
pub(crate) fn generation(
    operation: Operation,
    identity: &Identity,
    sampling: &Sampling,
    seed: u64,
    max_tokens: Option<u32>,
) -> Span {
    span!(
        "generation",
        operation.name(),
        identity,
        gen_ai.request.max_tokens = max_tokens.map(i64::from),
        gen_ai.request.seed = seed.cast_signed(),
        gen_ai.request.temperature = decimal(sampling.temperature),
        gen_ai.request.top_p = decimal(sampling.top_p),
        gen_ai.request.top_k = f64::from(sampling.top_k),
        gen_ai.request.frequency_penalty = decimal(sampling.frequency_penalty),
        gen_ai.request.presence_penalty = decimal(sampling.presence_penalty),
        gen_ai.response.finish_reasons = Empty,
        gen_ai.response.time_to_first_chunk = Empty,
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.cache_read.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
        powerinfer.finish_reason = Empty,
        powerinfer.prefill_seconds = Empty,
        powerinfer.decode_seconds = Empty,
        powerinfer.decode_tokens_per_second = Empty,
        powerinfer.gigabytes_per_second = Empty,
        powerinfer.active_share = Empty,
        powerinfer.hot_hit_ratio = Empty,
    )
}

/// Opens the span of an embedding of so many tokens, in the span that is entered on this thread.
pub(crate) fn embedding(identity: &Identity, tokens: usize, dim: u32) -> Span {
    span!(
        "embedding",
        "embeddings",
        identity,
        gen_ai.embeddings.dimension.count = i64::from(dim),
        gen_ai.usage.input_tokens = int(tokens as u64),
    )
}

/// Whom a request to a remote engine goes to.
#[cfg(feature = "openai")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Remote<'a> {
    pub(crate) model: &'a str,
    pub(crate) address: &'a str,
    pub(crate) port: u16,
}

/// A span of a client, with what all of those have, and fields of its own.
#[cfg(feature = "openai")]
macro_rules! remote_span {
    ($name:literal, $operation:expr, $remote:expr, $($own:tt)*) => {{
        let (operation, remote): (&str, &Remote<'_>) = ($operation, $remote);
        tracing::info_span!(
            $name,
            otel.name = %format_args!("{operation} {}", remote.model),
            otel.kind = "client",
            otel.status_code = Empty,
            "error.type" = Empty,
            gen_ai.operation.name = operation,
            gen_ai.provider.name = "openai",
            gen_ai.request.model = remote.model,
            server.address = remote.address,
            server.port = i64::from(remote.port),
            $($own)*
        )
    }};
}

/// Opens the span of a text that a remote engine makes.
#[cfg(feature = "openai")]
pub(crate) fn remote_generation(
    operation: Operation,
    remote: &Remote<'_>,
    options: &Options,
) -> Span {
    let given = |name: &str| options.iter().find(|(key, _)| *key == name).map(|(_, value)| value);
    let whole = |name| given(name).and_then(serde_json::Value::as_i64);
    let number = |name| given(name).and_then(serde_json::Value::as_f64);
    remote_span!(
        "remote_generation",
        operation.name(),
        remote,
        gen_ai.response.model = Empty,
        gen_ai.request.max_tokens = whole("max_tokens"),
        gen_ai.request.seed = whole("seed"),
        gen_ai.request.temperature = number("temperature"),
        gen_ai.request.top_p = number("top_p"),
        gen_ai.request.frequency_penalty = number("frequency_penalty"),
        gen_ai.request.presence_penalty = number("presence_penalty"),
        gen_ai.response.finish_reasons = Empty,
        gen_ai.response.time_to_first_chunk = Empty,
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.cache_read.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
    )
}

/// Opens the span of an embedding that a remote engine makes.
#[cfg(feature = "openai")]
pub(crate) fn remote_embedding(remote: &Remote<'_>) -> Span {
    remote_span!("remote_embedding", "embeddings", remote,)
}

/// Records how a remote text ended and what it cost, as far as the endpoint tells.
#[cfg(feature = "openai")]
pub(crate) fn remote_end(span: &Span, model: Option<&str>, reply: &Result<Reply, Error>) {
    span.record("gen_ai.response.model", model);
    match reply {
        Ok(reply) => {
            span.record("gen_ai.response.finish_reasons", &*reply.finish_reason);
            if let Some(metrics) = &reply.metrics {
                usage(span, metrics);
            }
        }
        Err(error) => remote_fail(span, error),
    }
}

/// Records what went wrong with a remote request: the status of a refusal, or the kind of the error. What
/// an endpoint says may hold a part of a text.
#[cfg(feature = "openai")]
pub(crate) fn remote_fail(span: &Span, error: &Error) {
    let Error::Engine(engine) = error else { return fail(span, error) };
    let kind = match engine {
        EngineError::Refused { status, .. } => status.to_string(),
        other => kind(other),
    };
    span.record("error.type", kind);
    span.record("otel.status_code", "ERROR");
}

/// Names the request that the span is for.
pub(crate) fn label(span: &Span, request_id: &str) {
    span.record("powerinfer.request_id", request_id);
}

/// Records how a text ended and what it cost.
pub(crate) fn end(span: &Span, metrics: &Metrics, outcome: Outcome<'_>) {
    match outcome {
        Outcome::Finished(reason) => {
            // The conventions give no name to what was cancelled.
            let name = reason.as_openai().unwrap_or("cancelled");
            span.record("gen_ai.response.finish_reasons", name);
            span.record("powerinfer.finish_reason", tracing::field::display(reason));
        }
        Outcome::Dropped => {
            span.record("gen_ai.response.finish_reasons", "cancelled");
            span.record("powerinfer.finish_reason", "dropped");
        }
        Outcome::Failed(error) => fail(span, error),
    }
    usage(span, metrics);
    span.record("powerinfer.prefill_seconds", metrics.prefill_seconds);
    span.record("powerinfer.decode_seconds", metrics.decode_seconds);
    span.record("powerinfer.decode_tokens_per_second", metrics.decode_tokens_per_second);
    span.record("powerinfer.gigabytes_per_second", metrics.gigabytes_per_second);
    span.record("powerinfer.active_share", metrics.active_share);
    span.record("powerinfer.hot_hit_ratio", metrics.hot_hit_ratio);
}

fn usage(span: &Span, metrics: &Metrics) {
    span.record("gen_ai.response.time_to_first_chunk", metrics.time_to_first_token_seconds);
    span.record("gen_ai.usage.input_tokens", int(metrics.prompt_tokens));
    span.record("gen_ai.usage.cache_read.input_tokens", int(metrics.cached_tokens));
    span.record("gen_ai.usage.output_tokens", int(metrics.completion_tokens));
}

/// Records what went wrong: the kind of the error, and its first sentence, in which no part of a text
/// stands.
pub(crate) fn fail(span: &Span, error: &Error) {
    span.record("error.type", kind(error));
    span.record("otel.status_description", tracing::field::display(error));
}

/// The name of an error's variant.
fn kind(error: &dyn std::fmt::Debug) -> String {
    let debug = format!("{error:?}");
    debug.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

/// Records that nothing is computed for a request, and why: a kind of error, and a sentence.
pub(crate) fn refuse(span: &Span, kind: &str, reason: &str) {
    span.record("error.type", kind);
    span.record("otel.status_description", reason);
}

/// Exporters know no unsigned numbers, and would make them texts.
fn int(number: u64) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// The number that was meant: 0.7 and not 0.699999988079071.
fn decimal(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_else(|_| number.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_keep_the_digits_that_they_were_given_in() {
        for (number, wanted) in [(0.7_f32, 0.7_f64), (0.0, 0.0), (1.05, 1.05), (-2.0, -2.0)] {
            assert!((decimal(number) - wanted).abs() < 1e-15, "{number}");
        }
        assert!(decimal(f32::INFINITY).is_infinite());
    }
}
