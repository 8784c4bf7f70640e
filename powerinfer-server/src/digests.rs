//! The settings of a server by their names, each told by a digest: whoever may ask can compare them
//! with others, but reads none.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Bytes of a digest that are told: enough to tell any two values apart.
const TOLD: usize = 8;

/// Settings by name, each as the first 16 hexadecimal digits of a SHA-256.
///
/// # Examples
///
/// ```
/// use powerinfer_server::Digests;
///
/// let [mut ours, mut theirs] = [Digests::default(), Digests::default()];
/// ours.set("runtime", &serde_json::json!({"threads": 2, "batch_size": 8}));
/// theirs.set("runtime", &serde_json::json!({"threads": 4, "batch_size": 8}));
/// assert_eq!(ours.differences(&theirs), ["runtime.threads"]);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digests(BTreeMap<String, String>);

impl Digests {
    /// Adds a setting. Of an object each value is one, named by its path; null is none.
    pub fn set(&mut self, name: &str, value: &Value) {
        match value {
            Value::Null => {}
            Value::Object(values) => {
                for (key, value) in values {
                    self.set(&format!("{name}.{key}"), value);
                }
            }
            value => {
                let digest = hexadecimal(&Sha256::digest(value.to_string())[..TOLD]);
                self.0.insert(name.to_owned(), digest);
            }
        }
    }

    /// The names of those settings that are not the same, sorted.
    pub fn differences<'a>(&'a self, other: &'a Self) -> Vec<&'a str> {
        let missing = other.0.keys().filter(|name| !self.0.contains_key(*name));
        let changed = self.0.iter().filter(|(name, digest)| other.0.get(*name) != Some(digest));
        let mut names: Vec<&str> =
            changed.map(|(name, _)| name).chain(missing).map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// The digest of them all, `sha256:` and 64 hexadecimal digits.
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        for (name, digest) in &self.0 {
            hash.update(format!("{name}={digest}\n"));
        }
        format!("sha256:{}", hexadecimal(&hash.finalize()))
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // cannot fail
        text
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn digests(value: &Value) -> Digests {
        let mut digests = Digests::default();
        digests.set("all", value);
        digests
    }

    #[test]
    fn what_differs_is_named_whichever_side_has_it() {
        let ours = digests(&json!({"same": "x", "a": {"b": 1}, "ours": [true], "none": null}));
        let theirs = digests(&json!({"theirs": 0.5, "a": {"b": 2}, "same": "x"}));
        let wanted = ["all.a.b", "all.ours", "all.theirs"];
        assert_eq!(ours.differences(&theirs), wanted);
        assert_eq!(theirs.differences(&ours), wanted);
        assert!(ours.differences(&ours).is_empty());
        assert_ne!(ours.hash(), theirs.hash());
        let turned = digests(&json!({"ours": [true], "a": {"b": 1}, "same": "x"}));
        assert_eq!((turned.hash(), &turned), (ours.hash(), &ours), "whatever the order");
    }

    #[test]
    fn no_value_is_told() {
        let digests = digests(&json!({"key": "secret"}));
        let told = serde_json::to_string(&digests).unwrap();
        assert_eq!(told, r#"{"all.key":"c1980264fc223a89"}"#);
    }
}
