//! The value `runtime.sparsity`: which neurons are read.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::model_options::Strategy;

/// A strategy with the threshold of its predictor. Written as the strategy's name, or as
/// `{strategy: predictor, threshold: 0.5}`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "Written"))]
pub struct Sparsity {
    /// How neurons are chosen.
    pub strategy: Strategy,
    /// Predictor scores from here on select a neuron; none uses the model file's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
}

impl From<Strategy> for Sparsity {
    fn from(strategy: Strategy) -> Self {
        Self { strategy, threshold: None }
    }
}

/// The long form.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "SparsityMap"))]
#[serde(deny_unknown_fields)]
pub(super) struct Map {
    /// How neurons are chosen.
    #[serde(default)]
    strategy: Strategy,
    /// Predictor scores from here on select a neuron; none uses the model file's.
    #[serde(default)]
    threshold: Option<f32>,
}

#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[schemars(untagged, rename = "Sparsity")]
#[expect(dead_code, reason = "describes the two written forms")]
enum Written {
    Name(Strategy),
    Map(Map),
}

impl<'de> Deserialize<'de> for Sparsity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SparsityVisitor)
    }
}

struct SparsityVisitor;

impl<'de> de::Visitor<'de> for SparsityVisitor {
    type Value = Sparsity;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "default, dense, exact, predictor or auto, or a map with `strategy` and `threshold`",
        )
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Sparsity, E> {
        let deserializer: de::value::StrDeserializer<'_, E> =
            de::IntoDeserializer::into_deserializer(name);
        Strategy::deserialize(deserializer).map(Sparsity::from)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Sparsity, A::Error> {
        let Map { strategy, threshold } = Map::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Sparsity { strategy, threshold })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let read = |text: &str| serde_yaml::from_str::<Sparsity>(text).unwrap();
        assert_eq!(read("exact"), Strategy::Exact.into());
        assert_eq!(read("{strategy: exact}"), Strategy::Exact.into());
        assert_eq!(read("{}"), Sparsity::default());
        let long = read("{strategy: predictor, threshold: 0.5}");
        assert_eq!(long, Sparsity { strategy: Strategy::Predictor, threshold: Some(0.5) });
        assert_eq!(read(&serde_yaml::to_string(&long).unwrap()), long);
    }

    #[test]
    fn other_forms_are_errors() {
        for (text, wanted) in [
            ("sparse", "unknown variant `sparse`"),
            ("3", "default, dense, exact, predictor or auto"),
            ("{strategy: exact, level: 2}", "unknown field `level`"),
        ] {
            let error = serde_yaml::from_str::<Sparsity>(text).unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
