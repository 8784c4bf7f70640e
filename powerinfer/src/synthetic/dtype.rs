//! Element types that a written file may hold: their ids, block sizes and names.

use std::fmt;

/// Element type of a weight matrix. The discriminant is the type id in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum DType {
    /// 32-bit float.
    F32 = 0,
    /// IEEE half.
    F16 = 1,
    /// 4 bits and a scale per 32 elements.
    Q4_0 = 2,
    /// 5 bits and a scale per 32 elements.
    Q5_0 = 6,
    /// 8 bits and a scale per 32 elements.
    Q8_0 = 8,
    /// 4 bits in super-blocks of 256 elements.
    Q4K = 12,
    /// 5 bits in super-blocks of 256 elements.
    Q5K = 13,
    /// 6 bits in super-blocks of 256 elements.
    Q6K = 14,
    /// The upper half of a 32-bit float.
    Bf16 = 30,
}

impl DType {
    /// Id of the type in a file and in the C interface.
    pub const fn id(self) -> u32 {
        self as u32
    }

    /// Consecutive elements of a row that share one block.
    pub const fn block_elements(self) -> u64 {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => 1,
            Self::Q4_0 | Self::Q5_0 | Self::Q8_0 => 32,
            Self::Q4K | Self::Q5K | Self::Q6K => 256,
        }
    }

    /// Bytes of one block.
    pub const fn block_bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Q4_0 => 18,
            Self::Q5_0 => 22,
            Self::Q8_0 => 34,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
        }
    }

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

    /// Whether the type stores plain floats.
    pub const fn is_float(self) -> bool {
        self.block_elements() == 1
    }

    /// Bytes of a row of `n` elements, `None` when blocks do not fill it or the size overflows.
    pub(crate) fn row_bytes(self, n: u64) -> Option<u64> {
        if n.is_multiple_of(self.block_elements()) {
            (n / self.block_elements()).checked_mul(self.block_bytes())
        } else {
            None
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
