//! Traces for a collector of OpenTelemetry: the spans of requests, texts and embeddings.

mod environment;
mod exporter;

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;

use super::exit;
use super::logging::Also;
use exporter::{Client, Exporter};

/// How long the end of the program waits for the collector.
const FLUSH: Duration = Duration::from_secs(5);

/// The export, which is ended when this is dropped: what is pending is sent then, or given up.
#[derive(Debug)]
pub(super) struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Starts to export if there is a collector: at `endpoint`, or where the environment says.
    pub(super) fn start(endpoint: Option<&str>) -> anyhow::Result<Option<Self>> {
        let Some(url) = environment::url(endpoint)? else { return Ok(None) };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(url)
            .with_http_client(Client::new(environment::timeout()))
            .build()
            .map_err(|error| exit::usage(error.to_string()))?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(Exporter(exporter))
            .with_resource(resource())
            .build();
        Ok(Some(Self { provider }))
    }

    /// What takes the spans, and nothing else.
    pub(super) fn layer(&self) -> Also {
        let ours = Targets::new()
            .with_target("powerinfer::trace", LevelFilter::INFO)
            .with_target("powerinfer_server::trace", LevelFilter::INFO);
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("powerinfer"))
            .with_context_activation(false) // nobody asks for it
            .with_location(false)
            .with_target(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(ours)
            .boxed()
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if self.provider.shutdown_with_timeout(FLUSH).is_err() {
            let seconds = FLUSH.as_secs();
            tracing::warn!("traces are dropped: nobody has taken them within {seconds} s");
        }
    }
}

/// Makes requests part of the traces that their headers `traceparent` and `tracestate` name.
#[cfg(feature = "server")]
pub(super) fn propagation() -> powerinfer_server::Propagation {
    use opentelemetry::propagation::TextMapPropagator as _;
    use opentelemetry_sdk::propagation::TraceContextPropagator;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;
    powerinfer_server::Propagation::new(|span, headers| {
        let headers = opentelemetry_http::HeaderExtractor(headers);
        // Fails where nothing is exported.
        let _ = span.set_parent(TraceContextPropagator::new().extract(&headers));
    })
}

/// Makes requests to other engines part of the traces of their spans.
#[cfg(feature = "openai")]
pub(super) fn injection() -> powerinfer::engine::Propagation {
    use opentelemetry::propagation::TextMapPropagator as _;
    use opentelemetry_sdk::propagation::TraceContextPropagator;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;
    powerinfer::engine::Propagation::new(|span| {
        let mut headers = std::collections::HashMap::new();
        // Nothing where nothing is exported.
        TraceContextPropagator::new().inject_context(&span.context(), &mut headers);
        headers.into_iter().filter(|(_, value)| !value.is_empty()).collect()
    })
}

/// What sends the spans, as the environment names it.
fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_attribute(version);
    let found = Resource::builder().build();
    match found.get(&"service.name".into()) {
        Some(name) if !name.as_str().starts_with("unknown_service") => resource.build(),
        _ => resource.with_service_name("powerinfer").build(),
    }
}
