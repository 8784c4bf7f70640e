//! What whoever starts a server may choose.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::json;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use crate::cors::Cors;
use crate::digests::Digests;
use crate::trace::Propagation;
use crate::wire::generation::Allowed;

/// What whoever starts a server may choose.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerOptions {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// Keys of which a request must name one; none means that none is asked for.
    pub keys: ApiKeys,
    /// Which pages of other origins may use the server.
    pub cors: Cors,
    /// Requests that may wait for a sequence; further ones are refused with 429.
    pub queue: usize,
    /// Bytes that the body of a request may have.
    pub body_limit: usize,
    /// Connections at a time; further ones wait to be accepted.
    pub connections: usize,
    /// How long a client may take for the head of a request, and again for its body.
    pub receive_timeout: Duration,
    /// How long a request may take, the queue included; none takes the session's limit.
    pub request_timeout: Option<Duration>,
    /// How long running requests may go on after the server was told to stop.
    pub drain_timeout: Duration,
    /// Tokens of prompts in a step while texts are running.
    pub prefill_chunk: Option<usize>,
    /// Forgets the older half of a context that is full; off, texts end there, and longer prompts
    /// are refused.
    pub context_shift: bool,
    /// Takes grammars from requests. Following one may take long for each token, and all texts wait
    /// for it; schemas and regular expressions are always taken.
    pub allow_lark: bool,
    /// What was built, for `/version` and log events.
    pub build: Build,
    /// What is going to be served, for `/version`, so that it is told while the model loads.
    pub origin: Origin,
    /// How requests become part of the traces of their clients; without it, each begins its own.
    pub propagation: Option<Propagation>,
}

impl ServerOptions {
    /// What texts are allowed.
    pub(crate) fn allowed(&self) -> Allowed {
        Allowed { context_shift: self.context_shift, lark: self.allow_lark }
    }

    /// All settings that clients notice, those of the [`Origin`] included, as `/version` tells them:
    /// two servers that serve the same in the same way have the same.
    pub fn settings(&self) -> Digests {
        // Without a rest, so that no option is forgotten here.
        let Self {
            address: _,
            keys,
            cors,
            queue,
            body_limit,
            connections,
            receive_timeout,
            request_timeout,
            drain_timeout,
            prefill_chunk,
            context_shift,
            allow_lark,
            build: _,
            origin,
            propagation: _,
        } = self;
        let mut settings = origin.settings.clone();
        for (name, value) in [
            ("api_keys", json!(keys.sorted())),
            ("cors", json!(cors)),
            ("queue", json!(queue)),
            ("body_limit", json!(body_limit)),
            ("connections", json!(connections)),
            ("receive_timeout", json!(receive_timeout.as_secs_f64())),
            ("request_timeout", json!(request_timeout.as_ref().map(Duration::as_secs_f64))),
            ("drain_timeout", json!(drain_timeout.as_secs_f64())),
            ("prefill_chunk", json!(prefill_chunk)),
            ("context_shift", json!(context_shift)),
            ("allow_lark", json!(allow_lark)),
        ] {
            settings.set(name, &value);
        }
        settings
    }
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            address: (Ipv4Addr::LOCALHOST, 8081).into(),
            keys: ApiKeys::default(),
            cors: Cors::Local,
            queue: 64,
            body_limit: 4 << 20,
            connections: 1024,
            receive_timeout: Duration::from_secs(30),
            request_timeout: None,
            drain_timeout: Duration::from_secs(30),
            prefill_chunk: None,
            context_shift: false,
            allow_lark: false,
            build: Build::default(),
            origin: Origin::default(),
            propagation: None,
        }
    }
}

/// Names what is served, by digests as policies have them.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Origin {
    /// The checksum that the policy gives the model file.
    pub checksum: Option<String>,
    /// The hash of the policy as it was written.
    pub policy_hash: Option<String>,
    /// What is served and how, as far as these options do not say it: [`ServerOptions::settings`]
    /// adds those.
    pub settings: Digests,
}

impl Origin {
    /// Names what is served.
    #[must_use]
    pub fn new(checksum: Option<String>, policy_hash: Option<String>, settings: Digests) -> Self {
        Self { checksum, policy_hash, settings }
    }
}

/// Names the program that serves.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Build {
    /// The commit that it was built from.
    pub commit: Option<&'static str>,
    /// Its features.
    pub features: Option<&'static str>,
}

impl Build {
    /// Names commit and features.
    #[must_use]
    pub fn new(commit: &'static str, features: &'static str) -> Self {
        Self { commit: Some(commit), features: Some(features) }
    }
}

/// Keys of the API. Only their digests are kept, so that comparing takes the same time for all.
#[derive(Clone, Default)]
pub struct ApiKeys {
    digests: Vec<[u8; 32]>,
}

impl ApiKeys {
    /// Takes keys; empty ones are left out.
    pub fn new<K: AsRef<str>>(keys: impl IntoIterator<Item = K>) -> Self {
        let keys = keys.into_iter();
        let digests = keys.filter_map(|key| {
            let key = key.as_ref().trim();
            (!key.is_empty()).then(|| digest(key))
        });
        Self { digests: digests.collect() }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// Their digests, the same for the same keys in any order.
    fn sorted(&self) -> Vec<[u8; 32]> {
        let mut digests = self.digests.clone();
        digests.sort_unstable();
        digests.dedup();
        digests
    }

    /// Whether `key` is one of them.
    pub(crate) fn has(&self, key: &str) -> bool {
        let key = digest(key);
        let none = Choice::from(0);
        self.digests.iter().fold(none, |found, known| found | known.ct_eq(&key)).into()
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKeys({})", self.digests.len())
    }
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}
