//! Which pages of other origins may use the server.

use axum::http::{HeaderName, HeaderValue, Method, header};
use serde::Serialize;
use tower_http::cors::{AllowOrigin, CorsLayer};

/// Which pages of other origins may use the server. Programs that are no browsers are not asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cors {
    /// Pages of this machine: `localhost`, `127.0.0.1` and `[::1]`, on any port.
    Local,
    /// All pages.
    Any,
    /// Pages of these origins, such as `https://chat.example.org`.
    Origins(Vec<String>),
}

impl Cors {
    pub(crate) fn layer(&self) -> CorsLayer {
        let origins = match self {
            Self::Local => AllowOrigin::predicate(|origin, _| is_local(origin)),
            Self::Any => AllowOrigin::any(),
            Self::Origins(origins) => {
                let origins = origins.clone();
                AllowOrigin::predicate(move |origin, _| {
                    origins.iter().any(|known| known.trim_end_matches('/').as_bytes() == origin)
                })
            }
        };
        CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::GET, Method::POST])
            .allow_headers([
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                HeaderName::from_static("x-request-id"),
            ])
            .expose_headers([HeaderName::from_static("x-request-id")])
    }
}

fn is_local(origin: &HeaderValue) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    let host = ["http://", "https://"].iter().find_map(|scheme| origin.strip_prefix(scheme));
    let Some(host) = host else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    ["localhost", "127.0.0.1", "[::1]"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_local() {
        let local = |origin| is_local(&HeaderValue::from_static(origin));
        for origin in
            ["http://localhost", "http://localhost:3000", "https://127.0.0.1:1", "http://[::1]:8"]
        {
            assert!(local(origin), "{origin}");
        }
        for origin in [
            "http://localhost.evil.org",
            "http://evil.org:8081",
            "http://127.0.0.1.evil.org",
            "null",
            "http://evil.org/localhost",
            "ftp://localhost",
        ] {
            assert!(!local(origin), "{origin}");
        }
    }
}
