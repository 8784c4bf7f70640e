//! The names of the samplers in the chain and of the Mirostat versions.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::SamplingError;

/// One step of the chain that narrows or reshapes the candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SamplerKind {
    /// Keeps the `top_k` most likely candidates.
    TopK,
    /// Cuts the tail where the distribution stops bending (`tfs_z`).
    TailFree,
    /// Keeps the candidates whose surprise is closest to the entropy (`typical_p`).
    Typical,
    /// Keeps the smallest set of candidates that holds `top_p` of the probability.
    TopP,
    /// Keeps the candidates at least `min_p` times as likely as the best.
    MinP,
    /// Divides the logits by `temperature`.
    Temperature,
}

impl SamplerKind {
    /// The order of the chain when none is given.
    pub const DEFAULT_ORDER: [Self; 6] =
        [Self::TopK, Self::TailFree, Self::Typical, Self::TopP, Self::MinP, Self::Temperature];

    /// The names of all samplers, in default order.
    pub const NAMES: [&'static str; 6] =
        ["top_k", "tail_free", "typical", "top_p", "min_p", "temperature"];

    /// The name used in policies.
    pub fn name(self) -> &'static str {
        match self {
            Self::TopK => "top_k",
            Self::TailFree => "tail_free",
            Self::Typical => "typical",
            Self::TopP => "top_p",
            Self::MinP => "min_p",
            Self::Temperature => "temperature",
        }
    }
}

impl fmt::Display for SamplerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SamplerKind {
    type Err = SamplingError;

    fn from_str(name: &str) -> Result<Self, SamplingError> {
        Self::DEFAULT_ORDER
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| SamplingError::UnknownSampler { found: name.to_owned() })
    }
}

/// Whether a Mirostat controller takes the place of the filters.
///
/// Written `off`, `1` or `2` in policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mirostat {
    /// The filters of the chain choose the candidates.
    #[default]
    Off,
    /// Version 1: estimates the exponent of a Zipf distribution and sets k from it.
    V1,
    /// Version 2: drops candidates that would surprise more than the controller allows.
    V2,
}

impl Serialize for Mirostat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::V1 => serializer.serialize_u8(1),
            Self::V2 => serializer.serialize_u8(2),
        }
    }
}

impl<'de> Deserialize<'de> for Mirostat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MirostatVisitor)
    }
}

struct MirostatVisitor;

impl de::Visitor<'_> for MirostatVisitor {
    type Value = Mirostat;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("off, 1 or 2")
    }

    fn visit_u64<E: de::Error>(self, version: u64) -> Result<Mirostat, E> {
        match version {
            0 => Ok(Mirostat::Off),
            1 => Ok(Mirostat::V1),
            2 => Ok(Mirostat::V2),
            _ => Err(E::invalid_value(de::Unexpected::Unsigned(version), &self)),
        }
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Mirostat, E> {
        match name {
            "off" => Ok(Mirostat::Off),
            _ => Err(E::invalid_value(de::Unexpected::Str(name), &self)),
        }
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Mirostat {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Mirostat".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Whether a Mirostat controller takes the place of the filters.",
            "enum": ["off", 0, 1, 2]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_to_its_sampler() {
        for (kind, name) in SamplerKind::DEFAULT_ORDER.into_iter().zip(SamplerKind::NAMES) {
            assert_eq!(kind.name(), name);
            assert_eq!(name.parse(), Ok(kind));
            assert_eq!(serde_yaml::to_string(&kind).unwrap().trim(), name);
        }
        let error = "top-k".parse::<SamplerKind>().unwrap_err();
        assert_eq!(error, SamplingError::UnknownSampler { found: "top-k".to_owned() });
        assert!(error.to_string().contains("top_k, tail_free"), "{error}");
    }

    #[test]
    fn mirostat_is_off_one_or_two() {
        for (text, wanted) in
            [("off", Mirostat::Off), ("0", Mirostat::Off), ("1", Mirostat::V1), ("2", Mirostat::V2)]
        {
            assert_eq!(serde_yaml::from_str::<Mirostat>(text).unwrap(), wanted, "{text}");
        }
        for text in ["3", "-1", "on", "1.5", "[]"] {
            let error = serde_yaml::from_str::<Mirostat>(text).unwrap_err().to_string();
            assert!(error.contains("off, 1 or 2"), "{text}: {error}");
        }
        for mode in [Mirostat::Off, Mirostat::V1, Mirostat::V2] {
            let text = serde_yaml::to_string(&mode).unwrap();
            assert_eq!(serde_yaml::from_str::<Mirostat>(&text).unwrap(), mode);
        }
    }
}
