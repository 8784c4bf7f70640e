//! The page at `/`: a chat in the browser, in one answer that needs nothing else.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

const STYLE: &str = include_str!("style.css");
/// One script in parts.
const SCRIPT: &str = concat!(
    include_str!("base.js"),
    include_str!("api.js"),
    include_str!("connection.js"),
    include_str!("conversation.js"),
    include_str!("reply.js"),
    include_str!("meter.js"),
    include_str!("controls.js"),
);

static PAGE: LazyLock<Page> = LazyLock::new(Page::new);

struct Page {
    html: String,
    /// What the browser lets it do: run its own script, and speak with this server.
    policy: String,
}

impl Page {
    fn new() -> Self {
        let html = include_str!("index.html");
        let html = html.replace("{{style}}", STYLE).replace("{{script}}", SCRIPT);
        let policy = format!(
            "default-src 'none'; script-src '{}'; style-src '{}'; img-src data:; \
             connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
             require-trusted-types-for 'script'; trusted-types 'none'",
            digest(SCRIPT),
            digest(STYLE),
        );
        Self { html, policy }
    }
}

/// The name of an inline script or style in a policy.
fn digest(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(text)))
}

/// Answers with the page.
pub(crate) async fn page() -> Response {
    let Page { html, policy } = &*PAGE;
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"), // another version may be there tomorrow
    ];
    (headers, html.as_str()).into_response()
}
