//! How requests to remote engines become part of the trace of their spans.

use std::fmt;
use std::sync::Arc;

use tracing::Span;

type Headers = dyn Fn(&Span) -> Vec<(String, String)> + Send + Sync;

/// Names the trace that a request to a remote engine belongs to, in headers of the request. This crate
/// only makes spans of `tracing`; whoever exports them knows the ids that they have.
#[derive(Clone)]
pub struct Propagation(
    #[cfg_attr(not(feature = "openai"), expect(dead_code, reason = "nothing is remote"))]
    Arc<Headers>,
);

impl Propagation {
    /// Calls `headers` with the span of each text and embedding, for names and values of headers such
    /// as `traceparent`.
    pub fn new(headers: impl Fn(&Span) -> Vec<(String, String)> + Send + Sync + 'static) -> Self {
        Self(Arc::new(headers))
    }

    #[cfg(feature = "openai")]
    pub(super) fn headers(&self, span: &Span) -> Vec<(String, String)> {
        self.0(span)
    }
}

impl fmt::Debug for Propagation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Propagation")
    }
}
