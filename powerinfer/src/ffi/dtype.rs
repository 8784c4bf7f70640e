//! Element types and the measuring calls of the core: stateless functions.

use std::ffi::CStr;

use powerinfer_sys as sys;

use super::error::check;
use super::{CoreError, out_struct};

/// Facts of an element type and its name.
pub(crate) fn dtype_info(dtype: u32) -> Result<(sys::pi_dtype_info, &'static str), CoreError> {
    let mut info = out_struct::<sys::pi_dtype_info>();
    // SAFETY: `info` names its own size and outlives the call.
    check(unsafe { sys::pi_dtype_get_info(dtype, &raw mut info) })?;
    // SAFETY: the name of a known type is a terminated string constant of the library.
    let name = unsafe { CStr::from_ptr(info.name) };
    Ok((info, name.to_str().unwrap_or("unknown")))
}

/// Bytes that `n` elements of `dtype` take, if they fill whole blocks.
fn row_bytes(dtype: u32, n: usize) -> Result<usize, CoreError> {
    let (info, name) = dtype_info(dtype)?;
    let refuse = |what: &str| {
        CoreError::invalid_argument(format!(
            "{what}: a row of {name} has a multiple of {} elements, found {n}",
            info.block_elements
        ))
    };
    let block = usize::try_from(info.block_elements).map_err(|_| refuse("block too large"))?;
    let bytes = usize::try_from(info.block_bytes).map_err(|_| refuse("block too large"))?;
    if block == 0 || !n.is_multiple_of(block) {
        return Err(refuse("partial block"));
    }
    (n / block).checked_mul(bytes).ok_or_else(|| refuse("row too long"))
}

/// Rounds floats to blocks of `dtype`.
pub(crate) fn quantize_row(dtype: u32, x: &[f32]) -> Result<Vec<u8>, CoreError> {
    let mut row = vec![0u8; row_bytes(dtype, x.len())?];
    // SAFETY: `x` has x.len() floats, a multiple of the block, and `row` the bytes of their blocks.
    check(unsafe { sys::pi_quantize_row(dtype, x.as_ptr(), x.len(), row.as_mut_ptr().cast()) })?;
    Ok(row)
}

/// The inverse of [`quantize_row`]: `n` floats.
pub(crate) fn dequantize_row(dtype: u32, row: &[u8], n: usize) -> Result<Vec<f32>, CoreError> {
    let wanted = row_bytes(dtype, n)?;
    if row.len() != wanted {
        return Err(CoreError::invalid_argument(format!(
            "a row of {n} elements has {wanted} bytes, found {}",
            row.len()
        )));
    }
    let mut x = vec![0.0f32; n];
    // SAFETY: `row` has the bytes of n elements, checked above, and `x` room for n floats.
    check(unsafe { sys::pi_dequantize_row(dtype, row.as_ptr().cast(), n, x.as_mut_ptr()) })?;
    Ok(x)
}

/// Read bandwidth of this machine in bytes a second.
pub(crate) fn measure_read_bandwidth(n_threads: u32, n_bytes: usize) -> Result<f64, CoreError> {
    let mut out = 0.0;
    // SAFETY: `out` outlives the call.
    check(unsafe { sys::pi_measure_read_bandwidth(n_threads, n_bytes, &raw mut out) })?;
    Ok(out)
}

/// Bytes of weights a second that one thread multiplies.
pub(crate) fn measure_kernel(
    dtype: u32,
    axpy: bool,
    n_rows: u32,
    n_cols: u32,
) -> Result<f64, CoreError> {
    let mut out = 0.0;
    let axpy = u32::from(axpy);
    // SAFETY: `out` outlives the call.
    check(unsafe { sys::pi_measure_kernel(dtype, axpy, n_rows, n_cols, &raw mut out) })?;
    Ok(out)
}
