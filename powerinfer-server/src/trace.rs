//! The span of a request that computes something, from its head to the end of its answer. Texts and
//! embeddings have spans of their own, inside of it.

use std::fmt;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{MatchedPath, Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use futures_util::{Stream, StreamExt as _};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::request_id::RequestId;
use crate::state::App;

type Join = dyn Fn(&Span, &HeaderMap) + Send + Sync;

/// How a request becomes part of the trace that its client names in its headers. This crate only
/// makes spans of `tracing`; whoever exports them knows what makes one the child of another.
#[derive(Clone)]
pub struct Propagation(Arc<Join>);

impl Propagation {
    /// Calls `join` with the new span of each request that computes something, and its headers.
    pub fn new(join: impl Fn(&Span, &HeaderMap) + Send + Sync + 'static) -> Self {
        Self(Arc::new(join))
    }
}

impl fmt::Debug for Propagation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Propagation")
    }
}

/// Answers a request in a span with the names of OpenTelemetry's conventions for HTTP.
pub(crate) async fn request(
    State(app): State<App>,
    Extension(RequestId(id)): Extension<RequestId>,
    path: MatchedPath,
    request: Request,
    next: Next,
) -> Response {
    let (method, path) = (request.method().as_str(), path.as_str());
    let address = app.options().address;
    let span = tracing::info_span!(
        "request",
        otel.name = %format_args!("{method} {path}"),
        otel.kind = "server",
        otel.status_code = Empty,
        "error.type" = Empty,
        http.request.method = method,
        http.route = path,
        http.response.status_code = Empty,
        server.address = %address.ip(),
        server.port = i64::from(address.port()),
        url.path = path,
        url.scheme = "http",
        powerinfer.request_id = id,
    );
    if let Some(Propagation(join)) = &app.options().propagation {
        join(&span, request.headers());
    }
    let response = next.run(request).instrument(span.clone()).await;
    let status = response.status();
    span.record("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.record("error.type", status.as_str());
        span.record("otel.status_code", "ERROR");
    }
    response
}

/// Makes the span of this request last until a stream that answers it has ended or is dropped.
pub(crate) fn whole<S: Stream>(events: S) -> impl Stream<Item = S::Item> {
    let end = End(Span::current());
    events.inspect(move |_| _ = &end)
}

/// Leaves a span when it is dropped: exporters take that for the span's end.
struct End(Span);

impl Drop for End {
    fn drop(&mut self) {
        self.0.in_scope(|| ());
    }
}
