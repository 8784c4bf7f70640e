//! The first pass over a policy's text: its keys, with the places of those that are wrong.
//!
//! The typed pass that follows could find unknown keys too, but neither twice given keys with their
//! place, nor values hidden behind aliases that expand without end.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{self, DeserializeSeed};

use super::audit::{Audit, Metadata, SparsityFacts};
use super::fields::fields_of;
use super::generation::Generation;
use super::nearest::nearest;
use super::runtime::Runtime;
use super::sparsity;
use super::{Place, Policy, PolicyError};

/// Levels of lists and maps that a policy may nest.
const MAX_DEPTH: usize = 32;

/// Values that a policy may hold once its aliases are expanded.
const MAX_VALUES: usize = 100_000;

/// Checks nesting, keys and amount of a policy's text and returns the paths of its keys.
pub(super) fn check(text: &str) -> Result<Vec<String>, PolicyError> {
    check_brackets(text)?;
    let walk = Walk::new(None);
    match walk.over(text) {
        Ok(()) => Ok(walk.paths.into_inner()),
        Err(error) => Err(walk.explain(&error)),
    }
}

/// Where the value with this path, such as `runtime.threads`, is in a text that passed [`check`].
pub(super) fn locate(text: &str, path: &str) -> Option<Place> {
    let walk = Walk::new(Some(path));
    place(&walk.over(text).err()?)
}

/// The place that an error of the parser carries.
pub(super) fn place(error: &serde_yaml::Error) -> Option<Place> {
    error.location().map(|at| Place { line: at.line(), column: at.column() })
}

/// What the parser said, without the place that it appends.
pub(super) fn message(error: &serde_yaml::Error) -> String {
    let text = error.to_string();
    let Some(Place { line, column }) = place(error) else { return text };
    text.replacen(&format!(" at line {line} column {column}"), "", 1)
}

/// Refuses text with many brackets left open, on which the parser would spend quadratic time.
///
/// Brackets in quotes count too: a rule that needs no parser is worth refusing such a policy.
fn check_brackets(text: &str) -> Result<(), PolicyError> {
    let mut open = 0usize;
    for (line, content) in text.lines().enumerate() {
        for byte in content.bytes() {
            match byte {
                b'[' | b'{' => open += 1,
                b']' | b'}' => open = open.saturating_sub(1),
                _ => {}
            }
            if open > MAX_DEPTH {
                return Err(PolicyError::TooDeep { limit: MAX_DEPTH, line: line + 1 });
            }
        }
    }
    Ok(())
}

/// The keys of a section, or none if any key may stand there.
fn known_keys(section: &str) -> Option<&'static [&'static str]> {
    match section {
        "" => Some(fields_of::<Policy>()),
        "generation" => Some(fields_of::<Generation>()),
        "runtime" => Some(fields_of::<Runtime>()),
        "runtime.sparsity" => Some(fields_of::<sparsity::Map>()),
        "audit" => Some(fields_of::<Audit>()),
        "audit.sparsity" => Some(fields_of::<SparsityFacts>()),
        "metadata" => Some(fields_of::<Metadata>()),
        _ => None,
    }
}

/// What the pass has to say that the parser's error cannot carry.
enum Fault {
    Unknown { section: String, key: String },
    Duplicate { section: String, key: String },
    Empty,
    TooDeep,
    TooMany,
    Found,
}

struct Walk<'a> {
    target: Option<&'a str>,
    fault: RefCell<Option<Fault>>,
    paths: RefCell<Vec<String>>,
    values: Cell<usize>,
}

impl<'a> Walk<'a> {
    fn new(target: Option<&'a str>) -> Self {
        let (fault, paths, values) = (RefCell::new(None), RefCell::default(), Cell::new(0));
        Self { target, fault, paths, values }
    }

    fn over(&self, text: &str) -> Result<(), serde_yaml::Error> {
        let root = Value { walk: self, path: String::new(), depth: 0 };
        root.deserialize(serde_yaml::Deserializer::from_str(text))
    }

    /// Ends the pass for `fault`; the parser adds the place to the error.
    fn stop<E: de::Error>(&self, fault: Fault) -> E {
        *self.fault.borrow_mut() = Some(fault);
        E::custom("stopped")
    }

    fn explain(&self, error: &serde_yaml::Error) -> PolicyError {
        let place = place(error);
        let (line, column) = place.map_or((1, 1), |at| (at.line, at.column));
        match self.fault.borrow_mut().take() {
            Some(Fault::Unknown { section, key }) => {
                let nearest = known_keys(&section).and_then(|known| nearest(&key, known));
                PolicyError::UnknownKey { key, section, line, column, nearest }
            }
            Some(Fault::Duplicate { section, key }) => {
                PolicyError::DuplicateKey { key, section, line, column }
            }
            Some(Fault::TooDeep) => PolicyError::TooDeep { limit: MAX_DEPTH, line },
            Some(Fault::TooMany) => PolicyError::TooManyValues { limit: MAX_VALUES },
            Some(Fault::Empty) => PolicyError::Empty,
            // A target is a known path; without one nothing is found.
            Some(Fault::Found) | None => from_parser(error),
        }
    }
}

/// Tells what the parser itself refused: broken YAML, or a value that no policy can have.
fn from_parser(error: &serde_yaml::Error) -> PolicyError {
    let (message, place) = (message(error), place(error));
    if message.contains("EOF while parsing a value") {
        return PolicyError::Empty;
    }
    if message.contains("invalid type") {
        return PolicyError::WrongType { message, place };
    }
    PolicyError::Syntax { message, place }
}

/// Reads any value below a path.
struct Value<'w> {
    walk: &'w Walk<'w>,
    path: String,
    depth: usize,
}

impl<'w> Value<'w> {
    fn child(&self, path: String) -> Value<'w> {
        Value { walk: self.walk, path, depth: self.depth + 1 }
    }

    /// Counts one more value.
    fn count<E: de::Error>(&self) -> Result<(), E> {
        let values = self.walk.values.get() + 1;
        self.walk.values.set(values);
        if values > MAX_VALUES {
            return Err(self.walk.stop(Fault::TooMany));
        }
        if self.depth > MAX_DEPTH {
            return Err(self.walk.stop(Fault::TooDeep));
        }
        Ok(())
    }

    /// Accepts a scalar, unless it is what is looked for or stands where the sections belong.
    fn scalar<E: de::Error>(&self, found: de::Unexpected<'_>) -> Result<(), E> {
        self.count()?;
        if self.walk.target == Some(&self.path) && !self.path.is_empty() {
            return Err(self.walk.stop(Fault::Found));
        }
        if self.path.is_empty() {
            return Err(E::invalid_type(found, self));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> de::Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.path.is_empty() { "a map of sections" } else { "a value" })
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        self.scalar(de::Unexpected::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.scalar(de::Unexpected::Signed(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        self.scalar(de::Unexpected::Unsigned(value))
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<(), E> {
        self.scalar(de::Unexpected::Other("a large integer"))
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<(), E> {
        self.scalar(de::Unexpected::Other("a large integer"))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        self.scalar(de::Unexpected::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        self.scalar(de::Unexpected::Str(value))
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        if self.path.is_empty() {
            return Err(self.walk.stop(Fault::Empty));
        }
        self.scalar(de::Unexpected::Unit)
    }

    fn visit_none<E: de::Error>(self) -> Result<(), E> {
        self.visit_unit()
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if self.path.is_empty() || self.walk.target == Some(&self.path) {
            return self.scalar(de::Unexpected::Seq);
        }
        self.count()?;
        while list.next_element_seed(self.child(format!("{}[]", self.path)))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.count()?;
        if self.walk.target == Some(&self.path) {
            return Err(self.walk.stop(Fault::Found));
        }
        let mut seen = BTreeSet::new();
        while let Some(key) = map.next_key_seed(Key { section: &self, seen: &seen })? {
            // Free keys may be long and many, so they do not enter paths.
            let free = known_keys(&self.path).is_none();
            let path = join(&self.path, if free { "*" } else { &key });
            if !free {
                self.walk.paths.borrow_mut().push(path.clone());
            }
            seen.insert(key);
            map.next_value_seed(self.child(path))?;
        }
        Ok(())
    }
}

/// Reads a key of a section; an error raised here carries the place of the key.
struct Key<'w> {
    section: &'w Value<'w>,
    seen: &'w BTreeSet<String>,
}

impl Key<'_> {
    fn accept<E: de::Error>(&self, key: String) -> Result<String, E> {
        let section = self.section.path.clone();
        if self.seen.contains(&key) {
            return Err(self.section.walk.stop(Fault::Duplicate { section, key }));
        }
        match known_keys(&section) {
            Some(known) if !known.contains(&key.as_str()) => {
                Err(self.section.walk.stop(Fault::Unknown { section, key }))
            }
            _ => Ok(key),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = String;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl de::Visitor<'_> for Key<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key: text or a number")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<String, E> {
        self.accept(key.to_owned())
    }

    fn visit_bool<E: de::Error>(self, key: bool) -> Result<String, E> {
        self.accept(key.to_string())
    }

    fn visit_u64<E: de::Error>(self, key: u64) -> Result<String, E> {
        self.accept(key.to_string())
    }

    fn visit_i64<E: de::Error>(self, key: i64) -> Result<String, E> {
        self.accept(key.to_string())
    }

    fn visit_f64<E: de::Error>(self, key: f64) -> Result<String, E> {
        self.accept(key.to_string())
    }
}

fn join(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_of_the_yaml() {
        assert!(known_keys("").unwrap().contains(&"model_path"));
        assert!(known_keys("generation").unwrap().contains(&"max_tokens"));
        assert!(known_keys("generation").unwrap().contains(&"top_p"));
        assert!(known_keys("runtime.sparsity").unwrap().contains(&"threshold"));
        assert!(known_keys("metadata.performance").is_none());
    }

    #[test]
    fn values_are_found_by_their_path() {
        let text = "model_path: x\nruntime:\n  threads: 3\n  sparsity:\n    threshold: 1\n";
        assert_eq!(locate(text, "runtime.threads"), Some(Place { line: 3, column: 12 }));
        assert_eq!(locate(text, "runtime.sparsity.threshold").unwrap().line, 5);
        assert_eq!(locate(text, "model_path"), Some(Place { line: 1, column: 13 }));
        assert_eq!(locate(text, "runtime.gpu"), None);
    }
}
