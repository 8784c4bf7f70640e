//! Element types of tensors, rows of them, and how fast this machine computes with them.

use std::fmt;

use crate::error::Error;
use crate::ffi;

/// Type of the elements of a tensor, such as `q4_0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DType {
    id: u32,
    name: &'static str,
    block_elements: u32,
    block_bytes: u32,
    is_weight: bool,
}

impl DType {
    /// Looks up a type by the number that files use for it.
    ///
    /// # Errors
    ///
    /// [`Error::Core`] of kind `Unsupported` for an unknown number.
    pub fn from_id(id: u32) -> Result<Self, Error> {
        let (raw, name) = ffi::dtype_info(id)?;
        Ok(Self {
            id,
            name,
            block_elements: raw.block_elements,
            block_bytes: raw.block_bytes,
            is_weight: raw.is_weight != 0,
        })
    }

    /// The number that files use for the type.
    pub fn id(self) -> u32 {
        self.id
    }

    /// The name, in lower case.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Consecutive elements of a row that share one block.
    pub fn block_elements(self) -> u32 {
        self.block_elements
    }

    /// Size of a block.
    pub fn block_bytes(self) -> u32 {
        self.block_bytes
    }

    /// Whether the kernels can multiply by it.
    pub fn is_weight(self) -> bool {
        self.is_weight
    }

    /// Rounds a row of floats to this type.
    ///
    /// # Errors
    ///
    /// [`Error::Core`] if the row has no whole number of blocks.
    pub fn quantize_row(self, row: &[f32]) -> Result<Vec<u8>, Error> {
        Ok(ffi::quantize_row(self.id, row)?)
    }

    /// The inverse of [`quantize_row`](Self::quantize_row): `n` floats from their blocks.
    ///
    /// # Errors
    ///
    /// [`Error::Core`] if `row` has not the bytes of `n` elements.
    pub fn dequantize_row(self, row: &[u8], n: usize) -> Result<Vec<f32>, Error> {
        Ok(ffi::dequantize_row(self.id, row, n)?)
    }

    /// Measures how many bytes of weights of this type one thread multiplies in a second; `axpy`
    /// measures the transposed product.
    ///
    /// # Errors
    ///
    /// [`Error::Core`] if the kernels cannot multiply by the type or a size is out of range.
    pub fn measure_kernel(self, axpy: bool, n_rows: u32, n_cols: u32) -> Result<f64, Error> {
        Ok(ffi::measure_kernel(self.id, axpy, n_rows, n_cols)?)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}

impl serde::Serialize for DType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

/// Measures the plain read bandwidth of this machine in bytes a second, with `threads` threads
/// reading `bytes` of fresh memory: what decoding is bounded by.
///
/// # Errors
///
/// [`Error::Core`] if there is no memory to read or a size is out of range.
pub fn measure_read_bandwidth(threads: u32, bytes: usize) -> Result<f64, Error> {
    Ok(ffi::measure_read_bandwidth(threads, bytes)?)
}

/// Name of the CPU operators in use: `scalar`, `avx2`, `avx512`, `neon`, `neon-dotprod`.
pub fn cpu_name() -> &'static str {
    ffi::cpu_name()
}
