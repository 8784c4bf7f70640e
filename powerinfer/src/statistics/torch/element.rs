//! The element types of storages, by the names of their classes.

use half::{bf16, f16};

/// Which byte of a number comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

/// What a storage is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U8,
    Bool,
}

impl Element {
    /// The type of a class in the module `torch`.
    pub(super) fn of_storage(class: &str) -> Option<Self> {
        Some(match class {
            "DoubleStorage" => Self::F64,
            "FloatStorage" => Self::F32,
            "HalfStorage" => Self::F16,
            "BFloat16Storage" => Self::Bf16,
            "LongStorage" => Self::I64,
            "IntStorage" => Self::I32,
            "ShortStorage" => Self::I16,
            "CharStorage" => Self::I8,
            "ByteStorage" => Self::U8,
            "BoolStorage" => Self::Bool,
            _ => return None,
        })
    }

    /// Bytes of an element.
    pub(super) fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// The number in `bytes`, of which there are [`size`](Self::size).
    #[expect(clippy::cast_precision_loss, reason = "counts are below 2^53")]
    pub(super) fn number(self, bytes: &[u8], order: ByteOrder) -> f64 {
        let mut little = [0; 8];
        let little = &mut little[..bytes.len()];
        little.copy_from_slice(bytes);
        if order == ByteOrder::Big {
            little.reverse();
        }
        match self {
            Self::F64 => f64::from_le_bytes(array(little)),
            Self::F32 => f32::from_le_bytes(array(little)).into(),
            Self::F16 => f16::from_le_bytes(array(little)).into(),
            Self::Bf16 => bf16::from_le_bytes(array(little)).into(),
            Self::I64 => i64::from_le_bytes(array(little)) as f64,
            Self::I32 => i32::from_le_bytes(array(little)).into(),
            Self::I16 => i16::from_le_bytes(array(little)).into(),
            Self::I8 => i8::from_le_bytes(array(little)).into(),
            Self::U8 => array::<1>(little)[0].into(),
            Self::Bool => u8::from(array::<1>(little)[0] != 0).into(),
        }
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the caller gives as many bytes as the element has")
}
