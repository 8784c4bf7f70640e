//! A time limit: seconds, or a number with a unit.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest time limit, a year in seconds; more is a typing error.
const MAX_SECONDS: f64 = 31_536_000.0;

const EXPECTED: &str = "a time above 0, at most a year: seconds, or a number with ms, s, m or h";

/// The time after which a generation ends with an error. Written `30`, `"500ms"`, `"30s"`,
/// `"5m"` or `"1h"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timeout(Duration);

impl Timeout {
    /// The limit as a duration.
    pub fn duration(self) -> Duration {
        self.0
    }

    fn from_seconds(seconds: f64) -> Option<Self> {
        let duration = Duration::try_from_secs_f64(seconds).ok()?;
        // Whole milliseconds, so that equal limits are equal however they are written.
        let milliseconds = u64::try_from(duration.as_micros().div_ceil(1000)).ok()?;
        let fits = seconds > 0.0 && seconds <= MAX_SECONDS;
        fits.then_some(Self(Duration::from_millis(milliseconds)))
    }
}

impl FromStr for Timeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let unit = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
        let (number, unit) = text.split_at(unit);
        let scale = match unit {
            "ms" => 0.001,
            "" | "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(format!("wanted {EXPECTED}, found {text:?}")),
        };
        let number: Option<f64> = number.trim().parse().ok();
        number
            .and_then(|number| Self::from_seconds(number * scale))
            .ok_or_else(|| format!("wanted {EXPECTED}, found {text:?}"))
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.subsec_millis() == 0 {
            write!(f, "{}s", self.0.as_secs())
        } else {
            write!(f, "{}ms", self.0.as_millis())
        }
    }
}

impl Serialize for Timeout {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timeout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TimeoutVisitor)
    }
}

struct TimeoutVisitor;

impl de::Visitor<'_> for TimeoutVisitor {
    type Value = Timeout;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Timeout, E> {
        #[expect(clippy::cast_precision_loss, reason = "the limit is far below 2^52")]
        let limit = Timeout::from_seconds(seconds as f64);
        limit.ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(seconds), &self))
    }

    fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Timeout, E> {
        let limit = Timeout::from_seconds(seconds);
        limit.ok_or_else(|| E::invalid_value(de::Unexpected::Float(seconds), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Timeout, E> {
        text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Timeout {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timeout".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Seconds, or a number with ms, s, m or h.",
            "anyOf": [
                { "type": "number", "exclusiveMinimum": 0, "maximum": MAX_SECONDS },
                { "type": "string", "pattern": "^[0-9]+(\\.[0-9]+)? *(ms|s|m|h)?$" }
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_seconds_or_have_a_unit() {
        for (text, milliseconds) in [
            ("30", 30_000),
            ("0.5", 500),
            ("30s", 30_000),
            ("\"5m\"", 300_000),
            ("1h", 3_600_000),
            ("250ms", 250),
            ("1.5 s", 1500),
        ] {
            let timeout: Timeout = serde_yaml::from_str(text).unwrap();
            assert_eq!(timeout.duration(), Duration::from_millis(milliseconds), "{text}");
            let written = serde_yaml::to_string(&timeout).unwrap();
            assert_eq!(serde_yaml::from_str::<Timeout>(&written).unwrap(), timeout, "{written}");
        }
    }

    #[test]
    fn other_limits_are_errors() {
        for text in ["0", "-1", "-1.0", ".nan", ".inf", "1e300", "5 parsecs", "s", "''", "[1]", "~"]
        {
            let error = serde_yaml::from_str::<Timeout>(text).unwrap_err().to_string();
            assert!(error.contains("a time above 0"), "{text}: {error}");
        }
    }
}
