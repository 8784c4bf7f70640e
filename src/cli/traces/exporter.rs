//! The way of spans to the collector.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use opentelemetry::{Array, Value};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{self, SpanData};
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};

/// How often it is said that the collector takes nothing.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Exports spans with lists where the conventions want them: fields of `tracing` are never lists.
#[derive(Debug)]
pub(super) struct Exporter(pub(super) SpanExporter);

impl trace::SpanExporter for Exporter {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        let attributes = batch.iter_mut().flat_map(|span| &mut span.attributes);
        for attribute in attributes.filter(|it| it.key.as_str() == "gen_ai.response.finish_reasons")
        {
            if let Value::String(reason) = &attribute.value {
                attribute.value = Value::Array(Array::String(vec![reason.clone()]));
            }
        }
        self.0.export(batch).await
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

/// Sends batches, and says in the log where that fails.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    warned: Mutex<Option<Instant>>,
}

impl Client {
    pub(super) fn new(timeout: Duration) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(timeout))
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build());
        Self { agent: config.build().new_agent(), warned: Mutex::default() }
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ureq::Error> {
        let (parts, mut body) = self.agent.run(request.map(Vec::from))?.into_parts();
        Ok(Response::from_parts(parts, body.read_to_vec()?.into()))
    }

    fn warn(&self, url: &str, reason: &str) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|last| last.elapsed() >= WARN_EVERY) {
            *warned = Some(Instant::now());
            tracing::warn!("traces are dropped: {url} does not take them: {reason}");
        }
    }
}

#[async_trait]
impl HttpClient for Client {
    /// Blocks: it is called on the exporter's own thread.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let url = request.uri().to_string();
        let result = self.send(request);
        match &result {
            Ok(response) if response.status().is_success() => {}
            Ok(response) => self.warn(&url, &format!("status {}", response.status())),
            Err(error) => self.warn(&url, &powerinfer::error_chain(error)),
        }
        Ok(result?)
    }
}
