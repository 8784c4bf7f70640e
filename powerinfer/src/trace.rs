//! The spans of texts and embeddings. Names and attributes are those of OpenTelemetry's conventions
//! for generative AI; a subscriber that exports spans needs to know nothing of this crate. None of them
//! holds a prompt or a text.

use tracing::Span;
use tracing::field::Empty;

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
    span.record("gen_ai.response.time_to_first_chunk", metrics.time_to_first_token_seconds);
    span.record("gen_ai.usage.input_tokens", int(metrics.prompt_tokens));
    span.record("gen_ai.usage.cache_read.input_tokens", int(metrics.cached_tokens));
    span.record("gen_ai.usage.output_tokens", int(metrics.completion_tokens));
    span.record("powerinfer.prefill_seconds", metrics.prefill_seconds);
    span.record("powerinfer.decode_seconds", metrics.decode_seconds);
    span.record("powerinfer.decode_tokens_per_second", metrics.decode_tokens_per_second);
    span.record("powerinfer.gigabytes_per_second", metrics.gigabytes_per_second);
    span.record("powerinfer.active_share", metrics.active_share);
    span.record("powerinfer.hot_hit_ratio", metrics.hot_hit_ratio);
}

/// Records what went wrong: the kind of the error, and its first sentence, in which no part of a text
/// stands.
pub(crate) fn fail(span: &Span, error: &Error) {
    let debug = format!("{error:?}");
    let kind = debug.split(|c: char| !c.is_alphanumeric()).next();
    span.record("error.type", kind);
    span.record("otel.status_description", tracing::field::display(error));
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
