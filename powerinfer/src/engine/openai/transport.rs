//! Requests to an endpoint: HTTP and its errors.

use std::io::{self, Read as _};
use std::ops::ControlFlow;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::{Response, Uri};
use ureq::{Agent, Body};

use super::super::EngineError;
use super::sse::{SseEvent, SseParser};
use super::stopper::Stopper;
use crate::error::Error;

/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long an endpoint may be silent: one without comments in between computes a long prompt.
const SILENCE: Duration = Duration::from_secs(600);
/// No answer that is not a stream is longer, in bytes.
const MAX_ANSWER: u64 = 64 << 20;
/// No message of an error is longer, in characters.
const MAX_MESSAGE: usize = 500;

/// Where requests go.
pub(super) struct Endpoint {
    url: String,
    uri: Uri,
    api_key: Option<String>,
    timeout: Option<Duration>,
    config: ureq::config::Config,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let api_key = self.api_key.as_ref().map(|_| "hidden");
        let mut debug = f.debug_struct("Endpoint");
        debug.field("url", &self.url).field("api_key", &api_key).field("timeout", &self.timeout);
        debug.finish_non_exhaustive()
    }
}

impl Endpoint {
    pub(super) fn new(
        url: &str,
        api_key: Option<String>,
        timeout: Option<Duration>,
    ) -> Result<Self, Error> {
        let url = url.trim().trim_end_matches('/').to_owned();
        let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        let Some(host) = host.filter(|host| !host.is_empty()) else {
            return Err(EngineError::WrongUrl { url }.into());
        };
        let Ok(uri) = url.parse() else { return Err(EngineError::WrongUrl { url }.into()) };
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("powerinfer/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(SILENCE))
            .timeout_global(timeout)
            // What the system trusts, as endpoints of one's own have certificates of one's own.
            .tls_config(crate::tls::config());
        if ["localhost", "127.", "[::1]"].iter().any(|local| host.starts_with(local)) {
            config = config.proxy(None); // what is on this machine is on no other
        }
        Ok(Self { url, uri, api_key, timeout, config: config.build() })
    }

    /// The URL without what a request adds.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The host of the URL, and its port.
    pub(super) fn server(&self) -> (&str, u16) {
        let usual = if self.uri.scheme_str() == Some("https") { 443 } else { 80 };
        (self.uri.host().unwrap_or_default(), self.uri.port_u16().unwrap_or(usual))
    }

    /// The URL of a request.
    pub(super) fn address(&self, path: &str) -> String {
        format!("{}/{path}", self.url)
    }

    /// Asks for a JSON document: by POST with a body, by GET without.
    pub(super) fn json<T: DeserializeOwned>(
        &self,
        stopper: &Stopper,
        path: &str,
        headers: &[(String, String)],
        body: Option<&Value>,
        wanted: &'static str,
    ) -> Result<T, Error> {
        let address = self.address(path);
        let agent = self.config.new_agent();
        stopper.run(&agent, || {
            let answer = self.send(&agent, &address, headers, body, "application/json")?;
            let text = self.text(&address, answer)?;
            serde_json::from_str(&text).map_err(|error| {
                let found = format!("{error} in {}", excerpt(&text));
                EngineError::Answer { url: address.clone(), wanted, found }.into()
            })
        })
    }

    /// Posts a body and gives each event of the answer to `on_event`, until it breaks.
    pub(super) fn events(
        &self,
        stopper: &Stopper,
        path: &str,
        headers: &[(String, String)],
        body: &Value,
        on_event: &mut dyn FnMut(&SseEvent) -> Result<ControlFlow<()>, Error>,
    ) -> Result<(), Error> {
        let address = self.address(path);
        let agent = self.config.new_agent();
        stopper.run(&agent, || {
            let answer = self.send(&agent, &address, headers, Some(body), "text/event-stream")?;
            let kind = answer.headers().get("content-type");
            let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
            if !kind.starts_with("text/event-stream") {
                let text = self.text(&address, answer)?;
                let found = format!("{kind:?}: {}", excerpt(&text));
                let wanted = "an event stream";
                return Err(EngineError::Answer { url: address.clone(), wanted, found }.into());
            }
            let mut reader = answer.into_body().into_reader();
            let mut parser = SseParser::default();
            let mut buffer = vec![0; 16 << 10];
            loop {
                let read = match reader.read(&mut buffer) {
                    Ok(0) => return Ok(()),
                    Ok(read) => read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(self.broken(&address, error.into())),
                };
                let events = parser.push(&buffer[..read]).map_err(|error| {
                    EngineError::Connection { url: address.clone(), source: error.into() }
                })?;
                for event in &events {
                    if on_event(event)?.is_break() {
                        return Ok(());
                    }
                }
            }
        })
    }

    fn send(
        &self,
        agent: &Agent,
        address: &str,
        more: &[(String, String)],
        body: Option<&Value>,
        accept: &str,
    ) -> Result<Response<Body>, Error> {
        let key = self.api_key.as_ref().map(|key| ("authorization", format!("Bearer {key}")));
        let headers = std::iter::once(("accept", accept.to_owned())).chain(key);
        let headers =
            headers.chain(more.iter().map(|(name, value)| (name.as_str(), value.clone())));
        let result = if let Some(body) = body {
            let request = agent.post(address).header("content-type", "application/json");
            headers
                .fold(request, |request, (name, value)| request.header(name, value))
                .send(body.to_string())
        } else {
            headers
                .fold(agent.get(address), |request, (name, value)| request.header(name, value))
                .call()
        };
        let answer = result.map_err(|error| self.broken(address, error))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        Err(self.refusal(address, answer))
    }

    /// What an endpoint says with a status that is no success.
    fn refusal(&self, address: &str, answer: Response<Body>) -> Error {
        let status = answer.status().as_u16();
        let header = |name| answer.headers().get(name)?.to_str().ok().map(str::to_owned);
        let more = match status {
            300..=399 => header("location").map(|url| format!("it has moved to {url}")),
            404 if !self.url.ends_with("/v1") => Some("most URLs end with /v1".to_owned()),
            401 if self.api_key.is_none() => Some("no API key was sent".to_owned()),
            _ => header("retry-after").map(|after| format!("retry after {after}")),
        };
        let mut message = match self.text(address, answer) {
            Ok(text) => message_of(&text),
            Err(error) => return error,
        };
        if let Some(more) = more {
            message = format!("{message} ({more})");
        }
        EngineError::Refused { url: address.to_owned(), status, message }.into()
    }

    fn text(&self, address: &str, answer: Response<Body>) -> Result<String, Error> {
        let bytes = answer.into_body().into_with_config().limit(MAX_ANSWER).read_to_vec();
        let bytes = bytes.map_err(|error| self.broken(address, error))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn broken(&self, address: &str, error: ureq::Error) -> Error {
        match (error, self.timeout) {
            (ureq::Error::Timeout(ureq::Timeout::Global), Some(limit)) => Error::Timeout { limit },
            (error, _) => {
                EngineError::Connection { url: address.to_owned(), source: error.into() }.into()
            }
        }
    }
}

/// What the body of an error says, in the forms that servers have for it.
pub(super) fn message_of(body: &str) -> String {
    let parsed: Value = serde_json::from_str(body).unwrap_or_default();
    let candidates =
        [&parsed["error"]["message"], &parsed["error"], &parsed["message"], &parsed["detail"]];
    let message = candidates.into_iter().find_map(|value| match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        _ => None,
    });
    excerpt(&message.unwrap_or_else(|| body.to_owned()))
}

/// The start of a text, in one line.
pub(super) fn excerpt(text: &str) -> String {
    let start: String = text.chars().take(MAX_MESSAGE).collect();
    let line = start.split_whitespace().collect::<Vec<_>>().join(" ");
    match (line.is_empty(), start.len() < text.len()) {
        (true, _) => "nothing".to_owned(),
        (false, true) => format!("{line}..."),
        (false, false) => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_in_the_forms_of_several_servers() {
        for (body, wanted) in [
            (r#"{"error": {"message": "no such model", "code": 404}}"#, "no such model"),
            (r#"{"error": "no such model"}"#, "no such model"),
            (r#"{"object": "error", "message": "no such model"}"#, "no such model"),
            (r#"{"detail": "Not Found"}"#, "Not Found"),
            ("<html>\n  Bad Gateway</html>", "<html> Bad Gateway</html>"),
            ("", "nothing"),
        ] {
            assert_eq!(message_of(body), wanted, "{body}");
        }
        let long = message_of(&"é".repeat(MAX_MESSAGE + 1));
        assert_eq!(long.chars().count(), MAX_MESSAGE + 3, "{long}");
    }

    #[test]
    fn a_url_without_scheme_or_host_is_refused() {
        for url in ["", "127.0.0.1:8080/v1", "ftp://x", "http://"] {
            let error = Endpoint::new(url, None, None).unwrap_err().to_string();
            assert!(error.contains("http://127.0.0.1:8080/v1"), "{error}");
        }
        assert_eq!(Endpoint::new("http://x/v1/", None, None).unwrap().url(), "http://x/v1");
    }

    #[test]
    fn the_server_of_a_url_is_told_without_its_user() {
        for (url, wanted) in [
            ("http://127.0.0.1:8080/v1", ("127.0.0.1", 8080)),
            ("https://me:secret@models.example.org/v1", ("models.example.org", 443)),
            ("http://[::1]:9/v1", ("[::1]", 9)),
            ("http://[::1]", ("[::1]", 80)),
        ] {
            assert_eq!(Endpoint::new(url, None, None).unwrap().server(), wanted, "{url}");
        }
    }

    #[test]
    fn a_key_is_not_printed() {
        let endpoint = Endpoint::new("http://x/v1", Some("secret".to_owned()), None).unwrap();
        assert!(!format!("{endpoint:?}").contains("secret"));
    }
}
