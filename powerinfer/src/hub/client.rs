//! One request: redirects, the token, and what a status means.

use std::io::Read;
use std::time::Duration;

use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::{Agent, Body};

use super::HubError;
use super::options::HubOptions;
use super::retry::Failure;
use super::url;
use crate::policy::Checksum;

/// Redirects of one request.
const MAX_REDIRECTS: usize = 10;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Asks servers, and shows the token to the hub alone.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    /// Scheme, host and port that the token is for.
    origin: String,
    token: Option<String>,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) url: &'a str,
    /// The first byte that is wanted.
    pub(super) from: u64,
    /// What the file must still be for a part of it to be of use.
    pub(super) validator: Option<&'a str>,
}

/// What was answered: a success, or that the wanted range is not there.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// The digest that the hub says the file has.
    pub(super) linked_digest: Option<Checksum>,
    /// The size that the hub says the file has.
    pub(super) linked_size: Option<u64>,
    pub(super) body: Box<dyn Read>,
}

impl Client {
    pub(super) fn new(options: &HubOptions) -> Self {
        let config = Agent::config_builder()
            .tls_config(crate::tls::config())
            .http_status_as_error(false)
            .max_redirects(0) // followed here, where the token is
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(options.patience.silence))
            .timeout_per_read(Some(options.patience.silence))
            .user_agent(concat!("powerinfer/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity") // ranges and digests are of the file itself
            .build();
        Self {
            agent: config.new_agent(),
            origin: url::origin(&options.endpoint).to_owned(),
            token: options.token.clone(),
        }
    }

    /// Asks, and follows redirects.
    pub(super) fn get(&self, ask: Ask<'_>) -> Result<Reply, Failure> {
        let mut address = ask.url.to_owned();
        let mut token = self.token.as_deref();
        let (mut linked_digest, mut linked_size) = (None, None);
        for _ in 0..=MAX_REDIRECTS {
            // Whoever is redirected to elsewhere does not get the token, nor does who comes after.
            token = token.filter(|_| self.may_know_token(&address));
            let response = self.send(&address, ask, token)?;
            if url::origin(&address) == url::origin(ask.url) {
                linked_digest = linked_digest.or_else(|| digest(response.headers()));
                linked_size = linked_size.or_else(|| number(response.headers(), "x-linked-size"));
            }
            if !response.status().is_redirection() {
                check(&response, &address, token.is_some())?;
                let (head, body) = response.into_parts();
                let body = Box::new(body.into_reader());
                let (status, headers) = (head.status, head.headers);
                return Ok(Reply { status, headers, linked_digest, linked_size, body });
            }
            address = target(&address, response.headers())?;
        }
        let reason = "there are too many";
        Err(redirect(ask.url, &address, reason).into())
    }

    fn may_know_token(&self, address: &str) -> bool {
        url::origin(address) == self.origin && url::is_private_enough(address)
    }

    fn send(
        &self,
        address: &str,
        ask: Ask<'_>,
        token: Option<&str>,
    ) -> Result<Response<Body>, Failure> {
        let mut request = self.agent.get(address);
        if ask.from > 0 {
            request = request.header("Range", format!("bytes={}-", ask.from));
            if let Some(validator) = ask.validator {
                request = request.header("If-Range", validator);
            }
        }
        if let Some(token) = token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if url::is_this_machine(address) {
            request = request.config().proxy(None).build();
        }
        request.call().map_err(|error| failure(&error, address))
    }
}

/// A header's text.
pub(super) fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// A header's number.
pub(super) fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    header(headers, name)?.parse().ok()
}

/// The digest of `X-Linked-Etag`; small files have another kind of tag there, which is no digest.
fn digest(headers: &HeaderMap) -> Option<Checksum> {
    let tag = header(headers, "x-linked-etag")?;
    let digits = tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"');
    Checksum::parse(Some(&format!("sha256:{digits}"))).ok()?
}

/// Where a redirect leads.
fn target(address: &str, headers: &HeaderMap) -> Result<String, HubError> {
    let Some(location) = header(headers, "location") else {
        return Err(redirect(address, "", "it does not say where"));
    };
    let next = url::join(address, location);
    if !url::is_http(&next) {
        return Err(redirect(address, &next, "wanted https"));
    }
    if url::is_private_enough(address) && !url::is_private_enough(&next) {
        return Err(redirect(address, &next, "it leaves https"));
    }
    Ok(next)
}

fn redirect(from: &str, to: &str, reason: &'static str) -> HubError {
    let (url, to) = (url::shown(from).to_owned(), url::shown(to).to_owned());
    HubError::Redirect { url, to, reason }
}

/// What a status says, where it is no success.
fn check(response: &Response<Body>, address: &str, has_token: bool) -> Result<(), Failure> {
    let (status, headers) = (response.status(), response.headers());
    if status.is_success() || status == StatusCode::RANGE_NOT_SATISFIABLE {
        return Ok(());
    }
    let url = url::shown(address).to_owned();
    let passes = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status);
    if passes || status.is_server_error() {
        // A date in the place of seconds is not read: the usual wait will do.
        let after = number(headers, "retry-after").map(Duration::from_secs);
        return Err(Failure::Again { reason: format!("the server answered {status}"), after });
    }
    let code = header(headers, "x-error-code").unwrap_or("");
    Err(match (status.as_u16(), code) {
        (401 | 403, "GatedRepo") => {
            let page = url.split("/resolve/").next().unwrap_or(&url);
            HubError::Gated { repository: page.replacen("/api/models/", "/", 1), has_token }
        }
        (401 | 404, "RepoNotFound") => missing(url, "the hub has no such repository, or hides it"),
        (404, "RevisionNotFound") => missing(url, "the repository has no such revision"),
        (404, "EntryNotFound") => missing(url, "the repository has no such file"),
        (404 | 410, _) => missing(url, "the server has nothing there"),
        (401, _) => HubError::Unauthorised { url, has_token },
        (403, _) => HubError::Forbidden { url, has_token },
        (status, _) => HubError::Status { url, status },
    }
    .into())
}

fn missing(url: String, what: &str) -> HubError {
    HubError::NotFound { url, what: what.to_owned() }
}

/// Connections that break or hang may work the next time; names and certificates will not.
fn failure(error: &ureq::Error, address: &str) -> Failure {
    let passes = match error {
        ureq::Error::Io(error) => error.kind() != std::io::ErrorKind::InvalidData,
        ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed | ureq::Error::Protocol(_) => true,
        _ => false,
    };
    let reason = error.to_string();
    if passes {
        return Failure::again(reason);
    }
    Failure::Final(HubError::Connection { url: url::shown(address).to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|&(name, value)| {
                (ureq::http::HeaderName::from_static(name), value.parse().unwrap())
            })
            .collect()
    }

    #[test]
    fn only_a_digest_of_the_hub_is_a_digest() {
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for tag in [hex.to_owned(), format!("\"{hex}\""), format!("W/\"{hex}\"")] {
            let found = digest(&headers(&[("x-linked-etag", &tag)])).unwrap();
            assert_eq!(found.to_string(), format!("sha256:{hex}"));
        }
        let git = "\"7b2e21e16d8803ced5e632e2f654200194bd21fc\"";
        assert!(digest(&headers(&[("x-linked-etag", git)])).is_none());
        assert!(digest(&headers(&[("etag", hex)])).is_none(), "the tag of a CDN is no digest");
    }

    #[test]
    fn redirects_stay_with_https() {
        let to = |location| target("https://h/a", &headers(&[("location", location)]));
        assert_eq!(to("https://x/b").unwrap(), "https://x/b");
        assert_eq!(to("/b").unwrap(), "https://h/b");
        for location in ["http://x/b", "file:///etc/passwd"] {
            assert!(matches!(to(location), Err(HubError::Redirect { .. })), "{location}");
        }
        assert!(target("https://h/a", &HeaderMap::new()).is_err());
    }
}
