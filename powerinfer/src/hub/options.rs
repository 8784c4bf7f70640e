//! How a hub is used: which one, where models are kept, and how patient downloads are.

use std::env;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::HubError;
use super::url;
use crate::cache_folder::cache_folder;

/// The hub that is asked where no other is named.
const HUGGING_FACE: &str = "https://huggingface.co";

/// How a hub is used.
#[derive(Clone)]
pub struct HubOptions {
    pub(super) folder: PathBuf,
    pub(super) endpoint: String,
    pub(super) token: Option<String>,
    pub(super) offline: bool,
    pub(super) patience: Patience,
}

/// How often a failed download is tried again, and how long it waits before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Tries in a row that may fail without any progress.
    pub tries: u32,
    /// Wait after the first failure; each further one waits twice as long.
    pub first_delay: Duration,
    /// No wait is longer, unless the server asks for it.
    pub longest_delay: Duration,
    /// A connection on which nothing comes for so long is given up.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            tries: 5,
            first_delay: Duration::from_millis(500),
            longest_delay: Duration::from_secs(30),
            silence: Duration::from_secs(60),
        }
    }
}

impl Patience {
    /// The wait after so many failures in a row.
    pub(super) fn delay(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        self.first_delay.saturating_mul(1 << doublings).min(self.longest_delay)
    }
}

impl HubOptions {
    /// Keeps models in this folder and fetches them from Hugging Face without a token.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            endpoint: HUGGING_FACE.to_owned(),
            token: None,
            offline: false,
            patience: Patience::default(),
        }
    }

    /// Takes what the environment says: `POWERINFER_MODELS` (else `powerinfer/models` in the
    /// user's folder for caches), `HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE`.
    ///
    /// # Errors
    ///
    /// [`HubError::NoFolder`], or [`HubError::Variable`] for a value that cannot be used.
    pub fn from_env() -> Result<Self, HubError> {
        let folder = env::var_os("POWERINFER_MODELS").filter(|value| !value.is_empty());
        let folder = folder.map(PathBuf::from).or_else(|| cache_folder("models"));
        let mut options = Self::new(folder.ok_or(HubError::NoFolder)?);
        if let Some(endpoint) = variable("HF_ENDPOINT", "an address")? {
            options.endpoint = checked_endpoint(&endpoint)?;
        }
        let token = variable("HF_TOKEN", "a token")?;
        options.token = token.map(checked_token).transpose()?;
        options.offline = match variable("HF_HUB_OFFLINE", "1 or 0")?.as_deref() {
            None => false,
            Some(value) => truth(value).ok_or_else(|| HubError::Variable {
                variable: "HF_HUB_OFFLINE",
                wanted: "1 or 0",
                found: value.to_owned(),
            })?,
        };
        Ok(options)
    }

    /// Fetches from this hub, a mirror perhaps.
    #[must_use]
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        url.into().trim_end_matches('/').clone_into(&mut self.endpoint);
        self
    }

    /// Sends this token to the hub, and to nobody else.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Fetches nothing.
    #[must_use]
    pub fn offline(mut self, offline: bool) -> Self {
        self.offline = offline;
        self
    }

    /// Tries failed downloads again like this.
    #[must_use]
    pub fn patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }
}

impl fmt::Debug for HubOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { folder, endpoint, token, offline, patience } = self;
        f.debug_struct("HubOptions")
            .field("folder", folder)
            .field("endpoint", endpoint)
            .field("token", &token.as_ref().map(|_| "(secret)"))
            .field("offline", offline)
            .field("patience", patience)
            .finish()
    }
}

/// The text of a variable; none where it is empty.
fn variable(name: &'static str, wanted: &'static str) -> Result<Option<String>, HubError> {
    let Some(value) = env::var_os(name) else { return Ok(None) };
    let value = value.into_string().map_err(|_| HubError::Variable {
        variable: name,
        wanted,
        found: "no UTF-8 text".to_owned(),
    })?;
    Ok(Some(value.trim().to_owned()).filter(|value| !value.is_empty()))
}

fn checked_endpoint(text: &str) -> Result<String, HubError> {
    let endpoint = text.trim_end_matches('/');
    if url::is_http(endpoint) && !endpoint.contains(char::is_whitespace) {
        return Ok(endpoint.to_owned());
    }
    let wanted = "an address such as https://huggingface.co";
    Err(HubError::Variable { variable: "HF_ENDPOINT", wanted, found: text.to_owned() })
}

fn checked_token(token: String) -> Result<String, HubError> {
    if token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(token);
    }
    let found = "other characters".to_owned();
    Err(HubError::Variable { variable: "HF_TOKEN", wanted: "letters, digits and signs", found })
}

fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_limit() {
        let patience = Patience::default();
        let seconds: Vec<f32> = (1..9).map(|n| patience.delay(n).as_secs_f32()).collect();
        assert_eq!(seconds, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]);
        assert_eq!(patience.delay(u32::MAX), patience.longest_delay);
    }

    #[test]
    fn the_token_is_never_shown() {
        let options = HubOptions::new("models").token("hf_abc");
        assert!(!format!("{options:?}").contains("hf_abc"));
        let error = checked_token("hf abc".to_owned()).unwrap_err().to_string();
        assert!(!error.contains("abc"), "{error}");
    }

    #[test]
    fn endpoints_are_addresses() {
        assert_eq!(checked_endpoint("https://h/x/").unwrap(), "https://h/x");
        for text in ["huggingface.co", "ftp://h", "https://h x"] {
            assert!(checked_endpoint(text).is_err(), "{text}");
        }
        assert_eq!([truth("1"), truth("No"), truth("2")], [Some(true), Some(false), None]);
    }
}
