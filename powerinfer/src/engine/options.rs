//! What a generation is to do differently, by the names that policies use.

use serde_json::{Map, Value};

use super::EngineError;
use crate::error::Error;
use crate::policy::{Generation, nearest};
use crate::text::StopMatcher;

/// Options that were given: sampling, `max_tokens` and `stop`, by their names in the section
/// `generation` of policies. Unlike [`GenerationSection`](crate::GenerationSection) it knows what was said and what
/// was not, so that an engine without a certain option can refuse it.
///
/// # Examples
///
/// ```
/// use powerinfer::engine::Options;
///
/// let mut options = Options::default();
/// options.set("temperature", 0.5)?;
/// assert!(options.set("temprature", 0.5).is_err());
/// assert_eq!(options.iter().count(), 1);
/// # Ok::<(), powerinfer::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    given: Map<String, Value>,
}

impl Options {
    /// Sets one option.
    ///
    /// # Errors
    ///
    /// [`EngineError::UnknownOption`] or [`EngineError::WrongOption`] as [`Error::Engine`];
    /// [`Error::Sampling`] for a value out of range, [`Error::StopString`]. Nothing changes then.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) -> Result<(), Error> {
        let value = shortest(value.into());
        check(key, &value)?;
        self.given.insert(key.to_owned(), value);
        Ok(())
    }

    /// Sets one option from text, as it would stand in a policy: `0.5`, `[a, b]`, `{15: -1}`.
    ///
    /// # Errors
    ///
    /// As for [`set`](Self::set).
    pub fn set_text(&mut self, key: &str, text: &str) -> Result<(), Error> {
        let value = serde_yaml::from_str(text).map_err(|error| EngineError::WrongOption {
            key: key.to_owned(),
            message: error.to_string(),
        })?;
        self.set(key, keys_as_text(value))
    }

    /// What the section `generation` of a policy says, without what it leaves to the defaults.
    ///
    /// # Errors
    ///
    /// [`Error::Policy`] if `text` is no policy.
    pub fn from_policy(text: &str) -> Result<Self, Error> {
        crate::policy::Policy::from_yaml(text)?;
        let written: serde_yaml::Value = serde_yaml::from_str(text).unwrap_or_default();
        let mut options = Self::default();
        if let Some(serde_yaml::Value::Mapping(generation)) = written.get("generation") {
            for (key, value) in generation {
                let key = key.as_str().unwrap_or_default();
                options.set(key, keys_as_text(value.clone()))?;
            }
        }
        Ok(options)
    }

    /// The options that were given.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.given.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The names of all options that there are.
    pub fn names() -> Vec<String> {
        section(&Generation::default()).into_iter().map(|(key, _)| key).collect()
    }

    /// Puts what was given in the place of what is there; biases of tokens are added.
    #[expect(clippy::missing_panics_doc, reason = "cannot: each option was checked alone")]
    pub fn apply(&self, generation: &mut Generation) {
        let mut all = section(generation);
        for (key, value) in &self.given {
            match (all.get_mut(key), value) {
                (Some(Value::Object(there)), Value::Object(more)) => there.extend(more.clone()),
                (Some(there), value) => *there = value.clone(),
                (None, _) => unreachable!("set() knows all names"),
            }
        }
        *generation = serde_json::from_value(Value::Object(all)).expect("each value was checked");
    }
}

impl<'a> Extend<(&'a str, &'a Value)> for Options {
    fn extend<T: IntoIterator<Item = (&'a str, &'a Value)>>(&mut self, more: T) {
        self.given.extend(more.into_iter().map(|(key, value)| (key.to_owned(), value.clone())));
    }
}

fn section(generation: &Generation) -> Map<String, Value> {
    match serde_json::to_value(generation) {
        Ok(Value::Object(keys)) => keys,
        other => unreachable!("a section is a map: {other:?}"),
    }
}

fn check(key: &str, value: &Value) -> Result<(), Error> {
    let names = Options::names();
    if !names.iter().any(|name| name == key) {
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        let nearest = nearest(key, &known);
        let known = known.join(", ");
        return Err(EngineError::UnknownOption { key: key.to_owned(), known, nearest }.into());
    }
    let alone = Map::from_iter([(key.to_owned(), value.clone())]);
    let generation: Generation = serde_json::from_value(Value::Object(alone)).map_err(|error| {
        EngineError::WrongOption { key: key.to_owned(), message: error.to_string() }
    })?;
    generation.sampling.validate_ranges()?;
    StopMatcher::new(&generation.stop)?;
    if generation.max_tokens == 0 {
        let message = "wanted 1 or more, found 0".to_owned();
        return Err(EngineError::WrongOption { key: key.to_owned(), message }.into());
    }
    Ok(())
}

/// A number of single precision as the shortest one that means the same: 0.7, not 0.699999988.
fn shortest(value: Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => {
            let wide = number.as_f64().unwrap_or_default();
            #[expect(clippy::cast_possible_truncation, reason = "tried, and compared")]
            let single = wide as f32;
            let same = f64::from(single).to_bits() == wide.to_bits();
            let short = single.to_string().parse::<f64>().ok().filter(|_| same);
            short.map_or(Value::Number(number), Value::from)
        }
        Value::Array(values) => values.into_iter().map(shortest).collect(),
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, shortest(value))).collect(),
        other => other,
    }
}

/// YAML in the form of JSON, where the keys of a map are text.
fn keys_as_text(value: serde_yaml::Value) -> Value {
    match value {
        serde_yaml::Value::Mapping(map) => map
            .into_iter()
            .map(|(key, value)| {
                let key = match key {
                    serde_yaml::Value::String(text) => text,
                    serde_yaml::Value::Number(number) => number.to_string(),
                    other => format!("{other:?}"),
                };
                (key, keys_as_text(value))
            })
            .collect(),
        serde_yaml::Value::Sequence(values) => values.into_iter().map(keys_as_text).collect(),
        other => serde_json::to_value(other).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_given_wins_and_the_rest_stays() {
        let mut options = Options::default();
        options.set("temperature", 0.5_f32).unwrap();
        options.set_text("logit_bias", "{2: -1}").unwrap();
        options.set_text("stop", "[a, b]").unwrap();
        options.set_text("seed", "7").unwrap();
        let mut generation = Generation::default();
        generation.sampling = generation.sampling.logit_bias(1, 3.0).top_k(9);
        options.apply(&mut generation);
        let wanted = crate::Sampling::default().temperature(0.5).top_k(9).seed(7);
        assert_eq!(generation.sampling, wanted.logit_bias(1, 3.0).logit_bias(2, -1.0));
        assert_eq!((generation.stop, generation.max_tokens), (vec!["a".into(), "b".into()], 512));
    }

    #[test]
    fn what_cannot_be_set_is_refused_by_name() {
        let mut options = Options::default();
        for (key, value, wanted) in [
            ("temprature", json!(1), "did you mean temperature?"),
            ("temperature", json!("hot"), "option `temperature`"),
            ("temperature", json!(-1), "temperature"),
            ("stop", json!([""]), "stop"),
            ("max_tokens", json!(0), "max_tokens"),
            ("max_tokens", json!(-3), "max_tokens"),
        ] {
            let error = options.set(key, value).unwrap_err();
            let text = format!("{error}: {:?}", std::error::Error::source(&error));
            assert!(text.contains(wanted), "{text}");
        }
        assert_eq!(options, Options::default());
    }

    #[test]
    fn numbers_of_single_precision_stay_short() {
        let mut options = Options::default();
        options.set("top_p", 0.7_f32).unwrap();
        assert_eq!(options.iter().next().unwrap().1.to_string(), "0.7");
    }

    #[test]
    fn a_policy_gives_only_what_it_says() {
        let policy = "model_path: x\ngeneration: {temperature: 0.8, logit_bias: {3: 1}}\n";
        let options = Options::from_policy(policy).unwrap();
        let given: Vec<_> = options.iter().map(|(key, value)| (key, value.clone())).collect();
        assert_eq!(given, [("temperature", json!(0.8)), ("logit_bias", json!({"3": 1}))]);
        assert!(Options::from_policy("generation: {}\n").is_err(), "no model_path");
    }
}
