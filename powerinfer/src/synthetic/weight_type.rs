//! Element types that a synthetic file can be made of.

use std::fmt;
use std::str::FromStr;

use super::error::SyntheticError;
use crate::dtype::DType;

/// Type of the weight matrices of a synthetic model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WeightType {
    /// 32-bit float.
    F32,
    /// IEEE half.
    F16,
    /// The upper half of a 32-bit float.
    Bf16,
    /// 4 bits and a scale per 32 elements.
    Q4_0,
    /// 5 bits and a scale per 32 elements.
    Q5_0,
    /// 8 bits and a scale per 32 elements.
    Q8_0,
    /// 4 bits in super-blocks of 256 elements.
    Q4K,
    /// 5 bits in super-blocks of 256 elements.
    Q5K,
    /// 6 bits in super-blocks of 256 elements.
    Q6K,
}

impl WeightType {
    /// All types.
    pub const ALL: [Self; 9] = [
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::Q4_0,
        Self::Q5_0,
        Self::Q8_0,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
    ];

    /// Name on the command line and in messages: `q4_0`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Q4_0 => "q4_0",
            Self::Q5_0 => "q5_0",
            Self::Q8_0 => "q8_0",
            Self::Q4K => "q4_k",
            Self::Q5K => "q5_k",
            Self::Q6K => "q6_k",
        }
    }

    /// What the core says about the type.
    #[expect(clippy::missing_panics_doc, reason = "the core knows the types of the format")]
    pub fn dtype(self) -> DType {
        let id = match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q5_0 => 6,
            Self::Q8_0 => 8,
            Self::Q4K => 12,
            Self::Q5K => 13,
            Self::Q6K => 14,
            Self::Bf16 => 30,
        };
        DType::from_id(id).expect("the core knows all of these, which a test checks")
    }

    /// `general.file_type` of a model of this type; the format's list has no id for `bf16`.
    pub(super) const fn file_type(self) -> Option<u32> {
        match self {
            Self::F32 => Some(0),
            Self::F16 => Some(1),
            Self::Q4_0 => Some(2),
            Self::Q8_0 => Some(7),
            Self::Q5_0 => Some(8),
            Self::Q4K => Some(14),
            Self::Q5K => Some(16),
            Self::Q6K => Some(18),
            Self::Bf16 => None,
        }
    }

    /// Whether the type stores plain floats.
    pub(super) const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::Bf16)
    }

    /// Whether rows of `n` elements are whole blocks.
    pub(super) fn fits(self, n: u32) -> bool {
        n.is_multiple_of(self.dtype().block_elements())
    }
}

impl fmt::Display for WeightType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for WeightType {
    type Err = SyntheticError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            SyntheticError::UnknownName { what: "weight type", name: name.to_owned(), known }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_knows_all_types_by_these_names_as_weights() {
        for kind in WeightType::ALL {
            assert_eq!(kind.dtype().name(), kind.name(), "name of {kind}");
            assert!(kind.dtype().is_weight(), "{kind} is a weight type");
            assert_eq!(kind.name().parse::<WeightType>().unwrap(), kind, "parsing {kind}");
        }
        let error = "q3_k".parse::<WeightType>().unwrap_err().to_string();
        assert!(error.contains("weight type \"q3_k\"") && error.contains("q4_k"), "{error}");
    }
}
